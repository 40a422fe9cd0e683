"""A gated transformer whose memory is what its layers saw in the last steps of the episode.

GTrXL (Parisotto et al. 2019, arXiv:1910.06764): Transformer-XL (Dai et al. 2019, arXiv:1901.02860)
with its norms before the sublayers, and with gates in place of sums. In a batch every step attends
to the steps before it as the present weights see them, with a gradient; what is older than the
batch is as it was seen when it was collected. PPO-TrXL, as in CleanRL, stores windows for all
steps and has a gradient through none of them.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gtr.networks.layers import Dense, LayerNorm, orthogonal

# The gates' bias at the beginning, with which a layer passes on most of what it is given.
_GATE_BIAS = 2.0
_UNSEEN = -1e9


class Window(NamedTuple):
    """The memory: each layer's inputs of the last w steps, the newest last; zeros before them."""

    inputs: Float[Array, "e l w d"]
    filled: Int[Array, " e"]


class Gate(eqx.Module):
    """In place of x + y: a gated recurrent unit, with x as the state and y as the input."""

    of_y: Dense
    of_x: Float[Array, "d 2d"]
    of_reset: Float[Array, "d d"]

    def __init__(self, rng: np.random.Generator, width: int) -> None:
        of_y = Dense(rng, width, 3 * width, scale=1.0)
        bias: Any = np.repeat(np.array([0, -_GATE_BIAS, 0], np.float32), width)
        self.of_y = eqx.tree_at(lambda one: one.bias, of_y, bias)
        self.of_x = orthogonal(rng, width, 2 * width, 1.0)
        self.of_reset = orthogonal(rng, width, width, 1.0)

    def __call__(self, x: Float[Array, "n d"], y: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Shape as they came."""
        r, z, n = jnp.split(self.of_y(y), 3, -1)
        of_r, of_z = jnp.split(x @ self.of_x, 2, -1)
        r, z = jax.nn.sigmoid(r + of_r), jax.nn.sigmoid(z + of_z)
        return (1 - z) * x + z * jnp.tanh(n + (r * x) @ self.of_reset)


class Attention(eqx.Module):
    """Attention to a window, with positions relative to the step that asks.

    The query's bias is shared by content and position, where Transformer-XL has one for each.
    """

    query: Dense
    key_value: Dense
    position: Float[Array, "d d"]
    output: Dense
    heads: int = eqx.field(static=True)

    def __init__(self, rng: np.random.Generator, width: int, heads: int) -> None:
        self.query = Dense(rng, width, width, scale=1.0)
        self.key_value = Dense(rng, width, 2 * width, scale=1.0)
        self.position = orthogonal(rng, width, width, 1.0)
        self.output = Dense(rng, width, width, scale=1.0)
        self.heads = heads

    def __call__(
        self,
        asking: Float[Array, "e t d"],
        seen: Float[Array, "e w+t d"],
        visible: Bool[Array, "e t w+t"],
    ) -> Float[Array, "e t d"]:
        """Shape as `asking`, whose step i is step w + i of `seen`.

        Args:
            asking: the steps that attend.
            seen: the window before them, and they themselves.
            visible: which of these each sees.
        """
        width = asking.shape[-1]
        query = self._in_heads(over(self.query, asking))
        key, value = map(self._in_heads, jnp.split(over(self.key_value, seen), 2, -1))
        window = seen.shape[1] - asking.shape[1]
        place = self._in_heads(jnp.asarray(sinusoids(window, width)) @ self.position)
        scores = jnp.einsum("ethk,eshk->ehts", query, key)
        scores = scores + shifted(jnp.einsum("ethk,whk->ehtw", query, place))
        scores = jnp.where(visible[:, None], scores / math.sqrt(width // self.heads), _UNSEEN)
        told = jnp.einsum("ehts,eshk->ethk", jax.nn.softmax(scores), value)
        return over(self.output, told.reshape(asking.shape))

    def _in_heads(self, x: Array) -> Array:
        return x.reshape(*x.shape[:-1], self.heads, -1)


class Layer(eqx.Module):
    """Attention and two affine maps with a ReLU, each behind a norm and before a gate."""

    first_norm: LayerNorm
    attention: Attention
    first_gate: Gate
    second_norm: LayerNorm
    wide: Dense
    narrow: Dense
    second_gate: Gate

    def __init__(self, rng: np.random.Generator, width: int, heads: int) -> None:
        self.first_norm, self.second_norm = LayerNorm(width), LayerNorm(width)
        self.attention = Attention(rng, width, heads)
        self.first_gate = Gate(rng, width)
        self.wide = Dense(rng, width, 2 * width, scale=math.sqrt(2))
        self.narrow = Dense(rng, 2 * width, width, scale=1.0)
        self.second_gate = Gate(rng, width)

    def __call__(
        self, x: Float[Array, "e t d"], seen: Float[Array, "e w+t d"], visible: Array
    ) -> Float[Array, "e t d"]:
        """Shape as `x`."""
        told = self.attention(self.first_norm(x), self.first_norm(seen), visible)
        x = self._gated(self.first_gate, x, told)
        told = over(self.narrow, jax.nn.relu(over(self.wide, self.second_norm(x))))
        return self._gated(self.second_gate, x, told)

    def _gated(self, gate: Gate, x: Array, told: Array) -> Array:
        rows = (-1, x.shape[-1])
        return gate(x.reshape(rows), jax.nn.relu(told).reshape(rows)).reshape(x.shape)


class TransformerCore(eqx.Module):
    """Layers behind an embedding; a step sees the last `window` steps of its own episode."""

    embedding: Dense
    layers: tuple[Layer, ...]
    window: int = eqx.field(static=True)

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        width: int,
        *,
        layers: int,
        heads: int,
        window: int,
    ) -> None:
        self.embedding = Dense(rng, inputs, width, scale=1.0)
        self.layers = tuple(Layer(rng, width, heads) for _ in range(layers))
        self.window = window

    def memory(self, copies: int) -> Window:
        """An empty window of each copy."""
        width = len(self.embedding.bias)
        inputs: Any = np.zeros((copies, len(self.layers), self.window, width), np.float32)
        filled: Any = np.zeros(copies, np.int32)
        return Window(inputs, filled)

    def step(self, memory: Window, x: Float[Array, "e i"]) -> tuple[Window, Float[Array, "e d"]]:
        """One step of every copy."""
        memory, outputs = self.read(memory, x[None], jnp.zeros((1, x.shape[0]), bool))
        return memory, outputs[0]

    def read(
        self, memory: Window, x: Float[Array, "t e i"], begins: Bool[Array, "t e"]
    ) -> tuple[Window, Float[Array, "t e d"]]:
        """All steps at once, layer by layer."""
        x = over(self.embedding, jnp.moveaxis(x, 0, 1))
        steps, window = x.shape[1], self.window
        # Episodes of the batch are numbered from 0, the one that the memory is of.
        episode = jnp.cumsum(begins.T, 1, dtype=jnp.int32)
        remembered = jnp.arange(window) >= window - memory.filled[:, None]
        of = jnp.concatenate([jnp.where(remembered, 0, -1), episode], 1)
        reach = np.arange(window + steps) - np.arange(steps)[:, None]
        near = (reach >= 0) & (reach <= window)
        visible = jnp.asarray(near) & (of[:, None] == episode[:, :, None])
        last = of[:, steps:] == episode[:, -1:]
        kept = []
        for number, layer in enumerate(self.layers):
            seen = jnp.concatenate([memory.inputs[:, number], x], 1)
            kept.append(jnp.where(last[:, :, None], seen[:, steps:], 0.0))
            x = layer(x, seen, visible)
        return Window(jnp.stack(kept, 1), last.sum(1, dtype=jnp.int32)), jnp.moveaxis(x, 0, 1)


def over(layer: Dense, x: Float[Array, "... i"]) -> Float[Array, "... o"]:
    """A layer of rows over arrays of any shape."""
    return layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], -1)


def sinusoids(window: int, width: int) -> Float[np.ndarray, "w+1 d"]:
    """Where a step is that was `window`, ..., 1, 0 steps ago (Vaswani et al. 2017)."""
    ago = np.arange(window, -1.0, -1.0)[:, None]
    half = (width + 1) // 2
    angles = ago * 10_000.0 ** (-np.arange(half) / half)
    return np.concatenate([np.sin(angles), np.cos(angles)], 1)[:, :width].astype(np.float32)


def shifted(scores: Float[Array, "e h t w+1"]) -> Float[Array, "e h t w+t"]:
    """Scores by distance as scores by step: those of step i moved i places to the right.

    With zeros for what is out of reach. Rows of one length are read as rows that are one shorter,
    which is faster than a gather, above all backwards.
    """
    *leading, steps, reach = scores.shape
    wide = jnp.pad(scores, [(0, 0)] * (scores.ndim - 1) + [(0, steps)])
    flat = wide.reshape(*leading, steps * (reach + steps))
    return flat[..., : steps * (reach + steps - 1)].reshape(*leading, steps, reach + steps - 1)
