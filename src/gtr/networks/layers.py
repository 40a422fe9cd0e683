"""Layers as pytrees of arrays, applied to whole batches.

Equinox layers act on one sample and are vmapped; acting on batches lets `affine` state its own
gradient, which is what XLA's CPU backend spends most of an update on (benchmarks/profile).
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gtr.networks.architectures import Activation

ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "swish": jax.nn.swish,
}


@jax.custom_vjp
def affine(
    x: Float[Array, "n i"], weight: Float[Array, "i o"], bias: Float[Array, " o"]
) -> Float[Array, "n o"]:
    """`x @ weight + bias`, with a gradient arranged for speed; the values are autodiff's."""
    return x @ weight + bias


def _affine_forward(x: Array, weight: Array, bias: Array) -> tuple[Array, tuple[Array, Array]]:
    return affine(x, weight, bias), (x, weight)


def _affine_backward(residuals: tuple[Array, Array], dy: Array) -> tuple[Array, Array, Array]:
    x, weight = residuals
    barrier = jax.lax.optimization_barrier
    # The barriers make the transposes real ones: folded into the product, they would be read across
    # their rows, which costs three times the forward pass on a CPU. The smaller factor is turned.
    narrows = dy.shape[1] < x.shape[1]
    dw = barrier(barrier(dy.T) @ x).T if narrows else barrier(x.T) @ dy
    return dy @ weight.T, dw, dy.sum(0)


affine.defvjp(_affine_forward, _affine_backward)


class Dense(eqx.Module):
    """An affine map of each row of a batch; orthogonal weights, zero bias."""

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"]

    def __init__(
        self, rng: np.random.Generator, inputs: int, outputs: int, *, scale: float
    ) -> None:
        self.weight = _orthogonal(rng, inputs, outputs, scale)
        bias: Any = np.zeros(outputs, np.float32)
        self.bias = bias

    def __call__(self, x: Float[Array, "n i"]) -> Float[Array, "n o"]:
        """Shape (n, inputs) to (n, outputs)."""
        return affine(x, self.weight, self.bias)


class LayerNorm(eqx.Module):
    """Each row brought to mean 0 and variance 1, then scaled and shifted (arXiv:1607.06450).

    Scale and offset of each unit are learnt, from 1 and 0 on. The variance is that of the row's
    numbers, with 1e-5 added to it.
    """

    scale: Float[Array, " w"]
    offset: Float[Array, " w"]

    def __init__(self, width: int) -> None:
        scale: Any = np.ones(width, np.float32)
        offset: Any = np.zeros(width, np.float32)
        self.scale, self.offset = scale, offset

    def __call__(self, x: Float[Array, "n w"]) -> Float[Array, "n w"]:
        """Shape (n, width), as it came."""
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt(variance + 1e-5) * self.scale + self.offset


class Conv3x3(eqx.Module):
    """A 3 x 3 convolution, stride 1, no padding, as a product with the image's patches.

    For the small images of MinAtar this is faster on a CPU than XLA's convolution, whose gradients
    fall back to slow loops; on an accelerator the compiler sees an ordinary matrix product.
    """

    dense: Dense

    def __init__(
        self, rng: np.random.Generator, inputs: int, outputs: int, *, scale: float
    ) -> None:
        self.dense = Dense(rng, 9 * inputs, outputs, scale=scale)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h-2 w-2 o"]:
        """Shape (n, h, w, inputs) to (n, h - 2, w - 2, outputs)."""
        n, height, width, _ = x.shape
        patches = jnp.concatenate(
            [x[:, i : i + height - 2, j : j + width - 2] for i in range(3) for j in range(3)], -1
        )
        rows = self.dense(patches.reshape(n * (height - 2) * (width - 2), -1))
        return rows.reshape(n, height - 2, width - 2, -1)


def _orthogonal(rng: np.random.Generator, inputs: int, outputs: int, scale: float) -> Any:
    """A random matrix with orthonormal rows or columns, times `scale` (arXiv:1312.6120).

    Drawn by NumPy on the host, since compiling it for the device took seconds of every start.
    """
    tall = rng.standard_normal((max(inputs, outputs), min(inputs, outputs)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return (scale * (q if inputs >= outputs else q.T)).astype(np.float32)
