"""Layers as pytrees of arrays, applied to whole batches.

Equinox layers act on one sample and are vmapped; acting on batches lets `affine` state its own
gradient, which is what XLA's CPU backend spends most of an update on (benchmarks/profile).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
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
    barrier = lax.optimization_barrier
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
        self.weight = orthogonal(rng, inputs, outputs, scale)
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
        return centred * lax.rsqrt(variance + 1e-5) * self.scale + self.offset


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
    """A convolution of square kernels over (height, width, channels); orthogonal, zero bias.

    Unlike `Conv3x3` it is XLA's own convolution, and its patches are never all in memory: those of
    a minibatch of screens would be gigabytes.

    Attributes:
        weight: the kernel.
        bias: of each output.
        stride: pixels from one output to the next.
        padding: zeros on each side.
    """

    weight: Float[Array, "k k i o"]
    bias: Float[Array, " o"]
    stride: int = eqx.field(static=True)
    padding: int = eqx.field(static=True)

    def __init__(
        self,
        rng: np.random.Generator,
        inputs: int,
        outputs: int,
        *,
        size: int,
        stride: int = 1,
        padding: int = 0,
        scale: float,
    ) -> None:
        matrix = orthogonal(rng, size * size * inputs, outputs, scale)
        bias: Any = np.zeros(outputs, np.float32)
        self.weight = matrix.reshape(size, size, inputs, outputs)
        self.bias = bias
        self.stride, self.padding = stride, padding

    def __call__(self, x: Float[Array, "n h w i"]) -> Float[Array, "n g v o"]:
        """Shape (n, h, w, inputs) to (n, g, v, outputs).

        g is (h + 2 padding - size) // stride + 1, and v likewise of w.
        """
        out: Any = convolve(x, self.weight, self.stride, self.padding)
        return out + self.bias


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
    x: Float[Array, "n h w i"], weight: Float[Array, "k k i o"], stride: int, padding: int
) -> Float[Array, "n g v o"]:
    """XLA's convolution, with the kernel's gradient arranged for speed on a CPU.

    There XLA's gradient of the kernel takes several times as long as the convolution. Ours is a
    matrix product with the patches, of a few images at a time so that they stay in the cache
    (benchmarks/profile). Other platforms have XLA's. The values are autodiff's.
    """
    return _convolve(x, weight, stride, padding)


def _convolve(x: Array, weight: Array, stride: int, padding: int) -> Array:
    return lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _convolve_forward(
    x: Array, weight: Array, stride: int, padding: int
) -> tuple[Array, tuple[Array, Array]]:
    return _convolve(x, weight, stride, padding), (x, weight)


def _convolve_backward(
    stride: int, padding: int, residuals: tuple[Array, Array], dy: Array
) -> tuple[Array, Array]:
    x, weight = residuals
    (dx,) = jax.vjp(lambda x: _convolve(x, weight, stride, padding), x)[1](dy)
    dw = lax.platform_dependent(
        x,
        dy,
        cpu=lambda x, dy: kernel_gradient(x, dy, weight.shape[0], stride, padding),
        default=lambda x, dy: jax.vjp(lambda w: _convolve(x, w, stride, padding), weight)[1](dy)[0],
    )
    return dx, dw


convolve.defvjp(_convolve_forward, _convolve_backward)

# Of the powers of two the fastest for the NatureCNN and the ResNet (benchmarks/profile).
_IMAGES_AT_A_TIME = 4


def kernel_gradient(
    x: Float[Array, "n h w i"], dy: Float[Array, "n g v o"], size: int, stride: int, padding: int
) -> Float[Array, "k k i o"]:
    """The gradient of a convolution's kernel, by products with patches of a few images each."""
    outputs = dy.shape[-1]
    some = math.gcd(x.shape[0], _IMAGES_AT_A_TIME)
    height, width = (stride * (length - 1) + 1 for length in dy.shape[1:3])
    barrier = lax.optimization_barrier

    def add(total: Array, images: tuple[Array, Array]) -> tuple[Array, None]:
        x, dy = images
        x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
        patches = jnp.concatenate(
            [
                x[:, i : i + height : stride, j : j + width : stride]
                for i in range(size)
                for j in range(size)
            ],
            -1,
        )
        # Turned as in `affine`: the gradient is the smaller factor.
        turned = barrier(dy.reshape(-1, outputs).T)
        return total + turned @ patches.reshape(-1, total.shape[1]), None

    images = jax.tree.map(lambda a: a.reshape(-1, some, *a.shape[1:]), (x, dy))
    none = jnp.zeros((outputs, size * size * x.shape[-1]), dy.dtype)
    total, _ = lax.scan(add, none, images)
    return total.T.reshape(size, size, -1, outputs)


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n g v c"]:
    """The largest of each 3 x 3 window, stride 2, padded as TensorFlow's SAME; g = ceil(h / 2).

    First along rows, then along columns, each of three slices: the gradient of XLA's
    `reduce_window` is slow on a CPU (benchmarks/profile). Of equals the first in the order of
    reading has all of the gradient.
    """
    return _max_of_three(_max_of_three(x, 2), 1)


def _max_of_three(x: Array, axis: int) -> Array:
    length = x.shape[axis]
    count = -(-length // 2)
    missing = 2 * count + 1 - length
    padding = [(0, 0)] * x.ndim
    padding[axis] = (missing // 2, missing - missing // 2)
    x = jnp.pad(x, padding, constant_values=-jnp.inf)
    a, b, c = (lax.slice_in_dim(x, i, i + 2 * count - 1, 2, axis) for i in range(3))
    # `maximum` would halve the gradient between equals.
    larger = jnp.where(a >= b, a, b)
    return jnp.where(larger >= c, larger, c)


class ResidualBlock(eqx.Module):
    """Activation and 3 x 3 convolution, twice; added to what came in."""

    first: Conv
    second: Conv

    def __init__(self, rng: np.random.Generator, channels: int, *, scale: float) -> None:
        self.first = Conv(rng, channels, channels, size=3, padding=1, scale=scale)
        self.second = Conv(rng, channels, channels, size=3, padding=1, scale=scale)

    def __call__(
        self, x: Float[Array, "n h w c"], activate: Callable[[Array], Array]
    ) -> Float[Array, "n h w c"]:
        """Shape as it came."""
        return x + self.second(activate(self.first(activate(x))))


class Section(eqx.Module):
    """A 3 x 3 convolution, a max-pool that halves height and width, and two residual blocks."""

    convolution: Conv
    blocks: tuple[ResidualBlock, ResidualBlock]

    def __init__(
        self, rng: np.random.Generator, inputs: int, outputs: int, *, scale: float
    ) -> None:
        self.convolution = Conv(rng, inputs, outputs, size=3, padding=1, scale=scale)
        self.blocks = (
            ResidualBlock(rng, outputs, scale=scale),
            ResidualBlock(rng, outputs, scale=scale),
        )

    def __call__(
        self, x: Float[Array, "n h w i"], activate: Callable[[Array], Array]
    ) -> Float[Array, "n g v o"]:
        """Shape (n, h, w, inputs) to (n, ceil(h / 2), ceil(w / 2), outputs)."""
        x = max_pool(self.convolution(x))
        for block in self.blocks:
            x = block(x, activate)
        return x


def orthogonal(rng: np.random.Generator, inputs: int, outputs: int, scale: float) -> Any:
    """A random matrix with orthonormal rows or columns, times `scale` (arXiv:1312.6120).

    Drawn by NumPy on the host, since compiling it for the device took seconds of every start.
    """
    tall = rng.standard_normal((max(inputs, outputs), min(inputs, outputs)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return (scale * (q if inputs >= outputs else q.T)).astype(np.float32)
