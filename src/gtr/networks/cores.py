"""Recurrent cores: what stands between a network's body and its head, and remembers an episode.

A memory is a pytree of arrays (e, ...), a row for each copy of the environment. All zeros is the
memory of an episode that has not begun.
"""

from typing import Any, NamedTuple, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from gtr.networks.layers import affine, orthogonal

Memory = Any


class Core(Protocol):
    """What a network needs of a core."""

    def memory(self, copies: int) -> Memory:
        """The memory of episodes that have not begun, as host arrays (copies, ...)."""
        ...

    def step(self, memory: Memory, x: Float[Array, "e i"]) -> tuple[Memory, Float[Array, "e o"]]:
        """One step of every copy."""
        ...

    def read(
        self, memory: Memory, x: Float[Array, "t e i"], begins: Bool[Array, "t e"]
    ) -> tuple[Memory, Float[Array, "t e o"]]:
        """What t steps give, the memory being forgotten before those that begin an episode."""
        ...


def forget(memory: Memory, which: Bool[Array, "..."] | Bool[np.ndarray, "..."]) -> Memory:
    """The memory with some copies' set to zero: `which` is (e,), or () for all or none.

    Arrays of NumPy stay so.
    """

    def of(x: Any) -> Any:
        library = np if isinstance(x, np.ndarray) and isinstance(which, np.ndarray) else jnp
        shape = (*which.shape, *[1] * (x.ndim - which.ndim))
        return library.where(which.reshape(shape), library.zeros_like(x), x)

    return jax.tree.map(of, memory)


class GRUCore(eqx.Module):
    """A gated recurrent unit (arXiv:1406.1078), in the form of cuDNN and PyTorch.

        r, z = sigmoid(of input and h)
        n = tanh(W_n x + b_n + r (U_n h + c))
        h' = (1 - z) n + z h

    The blocks of the matrices are r, z, n; each is orthogonal at the beginning, the biases are 0.
    PyTorch's second bias of r and of z would say nothing that the first does not.
    """

    input: Float[Array, "i 3w"]
    recurrent: Float[Array, "w 3w"]
    bias: Float[Array, " 3w"]
    candidate_bias: Float[Array, " w"]

    def __init__(self, rng: np.random.Generator, inputs: int, width: int) -> None:
        self.input = _blocks(rng, inputs, width, 3)
        self.recurrent = _blocks(rng, width, width, 3)
        bias: Any = np.zeros(3 * width, np.float32)
        self.bias, self.candidate_bias = bias, bias[:width]

    def memory(self, copies: int) -> Any:
        """The hidden state, (copies, width)."""
        return np.zeros((copies, len(self.candidate_bias)), np.float32)

    def step(self, memory: Array, x: Float[Array, "e i"]) -> tuple[Array, Float[Array, "e w"]]:
        """One step of every copy."""
        h = self._next(memory, affine(x, self.input, self.bias))
        return h, h

    def read(
        self, memory: Array, x: Float[Array, "t e i"], begins: Bool[Array, "t e"]
    ) -> tuple[Array, Float[Array, "t e w"]]:
        """All steps, one after another; what the inputs say of the gates is asked at once."""

        def step(h: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
            said, begins = given
            h = self._next(forget(h, begins), said)
            return h, h

        return lax.scan(step, memory, (_over_rows(x, self.input, self.bias), begins))

    def _next(self, h: Array, said: Float[Array, "e 3w"]) -> Float[Array, "e w"]:
        r, z, n = jnp.split(said, 3, -1)
        of_r, of_z, of_n = jnp.split(h @ self.recurrent, 3, -1)
        r, z = jax.nn.sigmoid(r + of_r), jax.nn.sigmoid(z + of_z)
        return (1 - z) * jnp.tanh(n + r * (of_n + self.candidate_bias)) + z * h


class Cell(NamedTuple):
    """The memory of an LSTM."""

    hidden: Float[Array, "e w"]
    cell: Float[Array, "e w"]


class LSTMCore(eqx.Module):
    """A long short-term memory with forget gates (Gers et al. 2000), in the form of PyTorch.

        i, f, o = sigmoid(of input and h), g = tanh(of input and h)
        c' = f c + i g
        h' = o tanh(c')

    The blocks of the matrices are i, f, g, o; each is orthogonal at the beginning, the biases are
    0 but for the forget gate's, which is 1 (Jozefowicz et al. 2015).
    """

    input: Float[Array, "i 4w"]
    recurrent: Float[Array, "w 4w"]
    bias: Float[Array, " 4w"]

    def __init__(self, rng: np.random.Generator, inputs: int, width: int) -> None:
        self.input = _blocks(rng, inputs, width, 4)
        self.recurrent = _blocks(rng, width, width, 4)
        bias: Any = np.repeat(np.array([0, 1, 0, 0], np.float32), width)
        self.bias = bias

    def memory(self, copies: int) -> Cell:
        """Hidden state and cell, each (copies, width)."""
        nothing: Any = np.zeros((copies, len(self.bias) // 4), np.float32)
        return Cell(nothing, nothing)

    def step(self, memory: Cell, x: Float[Array, "e i"]) -> tuple[Cell, Float[Array, "e w"]]:
        """One step of every copy."""
        after = self._next(memory, affine(x, self.input, self.bias))
        return after, after.hidden

    def read(
        self, memory: Cell, x: Float[Array, "t e i"], begins: Bool[Array, "t e"]
    ) -> tuple[Cell, Float[Array, "t e w"]]:
        """All steps, one after another; what the inputs say of the gates is asked at once."""

        def step(before: Cell, given: tuple[Array, Array]) -> tuple[Cell, Array]:
            said, begins = given
            after = self._next(forget(before, begins), said)
            return after, after.hidden

        return lax.scan(step, memory, (_over_rows(x, self.input, self.bias), begins))

    def _next(self, before: Cell, said: Float[Array, "e 4w"]) -> Cell:
        i, f, g, o = jnp.split(said + before.hidden @ self.recurrent, 4, -1)
        cell = jax.nn.sigmoid(f) * before.cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        return Cell(jax.nn.sigmoid(o) * jnp.tanh(cell), cell)


def _blocks(rng: np.random.Generator, inputs: int, width: int, gates: int) -> Any:
    """An orthogonal matrix for each gate, side by side."""
    return np.concatenate([orthogonal(rng, inputs, width, 1.0) for _ in range(gates)], 1)


def _over_rows(x: Float[Array, "t e i"], weight: Array, bias: Array) -> Float[Array, "t e o"]:
    """`affine` of all steps in one product."""
    t, e, inputs = x.shape
    return affine(x.reshape(t * e, inputs), weight, bias).reshape(t, e, -1)
