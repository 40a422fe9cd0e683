"""Networks built from an architecture: an observation batch in, features and outputs out."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gtr.errors import GTRError
from gtr.networks.architectures import CNN, MLP, Activation, Architecture, NatureCNN, ResNet
from gtr.networks.layers import ACTIVATIONS, Conv, Conv3x3, Dense, LayerNorm, Section, Sections

# (size, stride) of the convolutions of Mnih et al. 2015.
_NATURE = ((8, 4), (4, 2), (3, 1))


class Network(eqx.Module):
    """Convolutions (if any), hidden layers with their norms (if any), and a linear head."""

    convolutions: tuple[Conv3x3 | Conv | Sections, ...]
    hidden: tuple[Dense, ...]
    norms: tuple[LayerNorm | None, ...]
    head: Dense
    activation: Activation = eqx.field(static=True)
    scale: float = eqx.field(static=True, default=1.0)

    def features(self, observation: Array) -> Float[Array, "n f"]:
        """Activations of the last hidden layer, for observations of shape (n, ...) of any dtype."""
        activate = ACTIVATIONS[self.activation]
        x = observation.astype(jnp.float32)
        if self.scale != 1:
            x = x * self.scale
        for convolution in self.convolutions:
            x = activate(convolution(x))
        x = x.reshape(x.shape[0], -1)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = layer(x)
            x = activate(x if norm is None else norm(x))
        return x

    def __call__(self, observation: Array) -> Float[Array, "n o"]:
        """The head's outputs."""
        return self.head(self.features(observation))


def build(
    rng: np.random.Generator,
    architecture: Architecture,
    observation_shape: tuple[int, ...],
    outputs: int,
    *,
    head_scale: float,
) -> Network:
    """Draw a network's parameters: orthogonal, with gain sqrt(2) in hidden layers.

    Args:
        rng: where the parameters are drawn from.
        architecture: which network.
        observation_shape: shape of one observation; (height, width, channels) for convolutions.
        outputs: width of the head.
        head_scale: gain of the head: .01 for a policy that starts near uniform, 1 for a critic
            (arXiv:2006.05990).

    Raises:
        GTRError: convolutions are asked for on observations that are no images, or too small.
    """
    gain = math.sqrt(2)
    convolutions, inputs = _convolutions(rng, architecture, observation_shape, gain)
    dense = isinstance(architecture, MLP | CNN)
    widths = architecture.widths if dense else (architecture.width,)
    hidden, norms = [], []
    for width in widths:
        hidden.append(Dense(rng, inputs, width, scale=gain))
        norms.append(LayerNorm(width) if dense and architecture.layer_norm else None)
        inputs = width
    return Network(
        convolutions,
        tuple(hidden),
        tuple(norms),
        Dense(rng, inputs, outputs, scale=head_scale),
        architecture.activation if dense else "relu",
        1.0 if dense else 1 / 255,
    )


def _convolutions(
    rng: np.random.Generator,
    architecture: Architecture,
    observation_shape: tuple[int, ...],
    gain: float,
) -> tuple[tuple[Conv3x3 | Conv | Sections, ...], int]:
    """The convolutions, and how many numbers they make of an observation."""
    if isinstance(architecture, MLP):
        return (), math.prod(observation_shape)
    if len(observation_shape) != 3:
        raise _unfit(architecture, observation_shape)
    height, width, channels = observation_shape
    layers: list[Conv3x3 | Conv | Sections] = []
    match architecture:
        case CNN():
            for outputs in architecture.channels:
                layers.append(Conv3x3(rng, channels, outputs, scale=gain))
                height, width, channels = height - 2, width - 2, outputs
        case NatureCNN():
            for (size, stride), outputs in zip(_NATURE, architecture.channels, strict=True):
                layers.append(Conv(rng, channels, outputs, size=size, stride=stride, scale=gain))
                height, width = ((side - size) // stride + 1 for side in (height, width))
                channels = outputs
        case ResNet():
            sections = []
            for outputs in architecture.channels:
                sections.append(Section(rng, channels, outputs, scale=gain))
                height, width, channels = -(-height // 2), -(-width // 2), outputs
            layers.append(Sections(tuple(sections)))
    if min(height, width) < 1:
        raise _unfit(architecture, observation_shape)
    return tuple(layers), height * width * channels


def _unfit(architecture: CNN | NatureCNN | ResNet, shape: tuple[int, ...]) -> GTRError:
    return GTRError(
        f"a {type(architecture).__name__} of {len(architecture.channels)} layers does not fit "
        f"observations of shape {shape}; use an MLP, or larger images of (height, width, channels)"
    )
