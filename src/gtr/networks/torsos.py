"""Torsos: from a batch of observations, of any shape and type, to rows of float32 features.

What an observation is decides its torso; the hidden layers behind it are the same for all
(`network`). Bytes (uint8) become fractions of 255 here, in the torsos of screens, and nowhere else:
whoever calls a network gives observations as the environment does.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gtr.errors import GTRError
from gtr.networks.architectures import (
    CNN,
    MLP,
    Activation,
    Architecture,
    FeedForward,
    NatureCNN,
    ResNet,
    body_of,
)
from gtr.networks.layers import ACTIVATIONS, Conv, Conv3x3, Section

_GAIN = math.sqrt(2)


class Flat(eqx.Module):
    """No layers: the observation's numbers in a row."""

    def __call__(self, observation: Array) -> Float[Array, "n f"]:
        """Shape (n, ...) to (n, f)."""
        return _rows(observation.astype(jnp.float32))


class Grid(eqx.Module):
    """3 x 3 convolutions over small images, which say what is where; bytes are numbers."""

    convolutions: tuple[Conv3x3, ...]
    activation: Activation = eqx.field(static=True)

    def __call__(self, observation: Array) -> Float[Array, "n f"]:
        """Shape (n, height, width, channels) to (n, f)."""
        x = observation.astype(jnp.float32)
        for convolution in self.convolutions:
            x = ACTIVATIONS[self.activation](convolution(x))
        return _rows(x)


class Strided(eqx.Module):
    """Convolutions over screens, the first of them with strides."""

    convolutions: tuple[Conv, ...]
    activation: Activation = eqx.field(static=True)

    def __call__(self, observation: Array) -> Float[Array, "n f"]:
        """Shape (n, height, width, channels) to (n, f)."""
        x = _intensities(observation)
        for convolution in self.convolutions:
            x = ACTIVATIONS[self.activation](convolution(x))
        return _rows(x)


class Residual(eqx.Module):
    """Residual sections over screens, each half as high and wide as the one before."""

    sections: tuple[Section, ...]
    activation: Activation = eqx.field(static=True)

    def __call__(self, observation: Array) -> Float[Array, "n f"]:
        """Shape (n, height, width, channels) to (n, f)."""
        activate = ACTIVATIONS[self.activation]
        x = _intensities(observation)
        for section in self.sections:
            x = section(x, activate)
        return _rows(activate(x))


Torso = Flat | Grid | Strided | Residual


def build_torso(
    rng: np.random.Generator, architecture: FeedForward, observation_shape: tuple[int, ...]
) -> tuple[Torso, int]:
    """Draws a torso's parameters: orthogonal, with gain sqrt(2).

    Args:
        rng: where the parameters are drawn from.
        architecture: whose torso.
        observation_shape: shape of one observation.

    Returns:
        The torso, and how many features it has.

    Raises:
        GTRError: the observations are no images, or too small for the architecture's convolutions;
            or a NatureCNN has more or fewer channels than convolutions.
    """
    if isinstance(architecture, MLP):
        return Flat(), math.prod(observation_shape)
    kernels = _kernels(architecture)
    height, width = _covered(architecture, observation_shape, kernels)
    pairs = list(pairwise((observation_shape[2], *architecture.channels)))
    activation = architecture.activation
    match architecture:
        case CNN():
            grid = [Conv3x3(rng, i, o, scale=_GAIN) for i, o in pairs]
            torso = Grid(tuple(grid), activation)
        case NatureCNN():
            strided = [
                Conv(rng, i, o, size=kernel.size, stride=kernel.stride, scale=_GAIN)
                for (i, o), kernel in zip(pairs, kernels, strict=True)
            ]
            torso = Strided(tuple(strided), activation)
        case ResNet():
            torso = Residual(tuple(Section(rng, i, o, scale=_GAIN) for i, o in pairs), activation)
    return torso, height * width * pairs[-1][1]


def check_fits(architecture: Architecture, observation_shape: tuple[int, ...]) -> None:
    """Refuses a network that cannot be built for such observations, and builds nothing.

    Raises:
        GTRError: as `build_torso`.
    """
    body = body_of(architecture)
    if not isinstance(body, MLP):
        _covered(body, observation_shape, _kernels(body))


class _Kernel(NamedTuple):
    """How a layer covers an image, in pixels; `padding` is of both sides together."""

    size: int
    stride: int
    padding: int = 0


_NATURE = (_Kernel(8, 4), _Kernel(4, 2), _Kernel(3, 1))


def _kernels(architecture: CNN | NatureCNN | ResNet) -> tuple[_Kernel, ...]:
    """What makes an image smaller, layer by layer."""
    layers = len(architecture.channels)
    match architecture:
        case CNN():
            return (_Kernel(3, 1),) * layers
        case NatureCNN():
            if layers != len(_NATURE):
                raise GTRError(
                    f"channels of a NatureCNN are {architecture.channels}; give three, one for "
                    "each of its convolutions"
                )
            return _NATURE
        case ResNet():
            # a section's pool: of n pixels it leaves ceil(n / 2)
            return (_Kernel(3, 2, 2),) * layers


def _covered(
    architecture: CNN | NatureCNN | ResNet, shape: tuple[int, ...], kernels: tuple[_Kernel, ...]
) -> tuple[int, int]:
    """Height and width of what a torso makes of observations of this shape."""
    if len(shape) == 3 and kernels:
        height, width = shape[:2]
        for size, stride, padding in kernels:
            height = (height + padding - size) // stride + 1
            width = (width + padding - size) // stride + 1
        if min(height, width) >= 1:
            return height, width
    name = type(architecture).__name__
    raise GTRError(
        f"a {name} of {len(kernels)} layers does not fit observations of shape {shape}; use an "
        "MLP, or larger images of (height, width, channels)"
    )


def _intensities(pixels: Array) -> Float[Array, "n h w c"]:
    """Bytes as fractions of 255; other numbers as they are."""
    x = pixels.astype(jnp.float32)
    return x / 255 if pixels.dtype == jnp.uint8 else x


def _rows(x: Array) -> Float[Array, "n f"]:
    return x.reshape(x.shape[0], -1)
