"""Layers as pytrees of arrays, applied to whole batches.

Equinox layers act on one sample and are vmapped; acting on batches lets `affine` state its own
gradient, which is what XLA's CPU backend spends most of an update on (benchmarks/profile).
"""

from collections.abc import Callable
from typing import Any, Literal

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


class Conv(eqx.Module):
    """A convolution with orthogonal weights and zero bias.

    Attributes:
        weight: (size, size, inputs, outputs).
        bias: (outputs,).
        stride: pixels between two outputs.
        padding: "SAME" for as many outputs as inputs at stride 1, "VALID" for none beyond the edge.
    """

    weight: Float[Array, "k k i o"]
    bias: Float[Array, " o"]
    stride: int = eqx.field(static=True)
    padding: Literal["SAME", "VALID"] = eqx.field(static=True)

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        outputs: int,
        *,
        size: int,
        stride: int = 1,
        padding: Literal["SAME", "VALID"] = "VALID",
        scale: float,
    ) -> None:
        rows = _orthogonal(rng, size * size * inputs, outputs, scale)
        self.weight = rows.reshape(size, size, inputs, outputs)
        bias: Any = np.zeros(outputs, np.float32)
        self.bias = bias
        self.stride, self.padding = stride, padding

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n h2 w2 o"]:
        """Images of `inputs` channels to images of `outputs`."""
        steps = (self.stride, self.stride)
        layout = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x, self.weight, steps, self.padding, dimension_numbers=layout
        )
        return y + self.bias


class Section(eqx.Module):
    """A section of IMPALA's residual network; see `architectures.ResNet`."""

    first: Conv
    blocks: tuple[tuple[Conv, Conv], ...]

    def __init__(
        self, rng: np.random.Generator, inputs: int, outputs: int, *, scale: float
    ) -> None:
        def conv(inputs: int) -> Conv:
            return Conv(rng, inputs, outputs, size=3, padding="SAME", scale=scale)

        self.first = conv(inputs)
        self.blocks = tuple((conv(outputs), conv(outputs)) for _ in range(2))

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n h2 w2 o"]:
        """Images to images of half the height and width, rounded up."""
        x = self.first(x)
        x = jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), [(0, 0), (1, 1), (1, 1), (0, 0)]
        )
        for one, other in self.blocks:
            x = x + other(jax.nn.relu(one(jax.nn.relu(x))))
        return x


class Sections(eqx.Module):
    """Sections one after another."""

    sections: tuple[Section, ...]

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n h2 w2 o"]:
        """Images to images."""
        for section in self.sections:
            x = section(x)
        return x


def _orthogonal(rng: np.random.Generator, inputs: int, outputs: int, scale: float) -> Any:
    """A random matrix with orthonormal rows or columns, times `scale` (arXiv:1312.6120).

    Drawn by NumPy on the host, since compiling it for the device took seconds of every start.
    """
    tall = rng.standard_normal((max(inputs, outputs), min(inputs, outputs)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return (scale * (q if inputs >= outputs else q.T)).astype(np.float32)
