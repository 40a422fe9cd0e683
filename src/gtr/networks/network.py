"""Networks built from an architecture: an observation batch in, features and outputs out."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gtr.errors import GTRError
from gtr.networks.architectures import CNN, Activation, Architecture
from gtr.networks.layers import ACTIVATIONS, Conv3x3, Dense, LayerNorm


class Network(eqx.Module):
    """Convolutions (if any), hidden layers with their norms (if any), and a linear head."""

    convolutions: tuple[Conv3x3, ...]
    hidden: tuple[Dense, ...]
    norms: tuple[LayerNorm | None, ...]
    head: Dense
    activation: Activation = eqx.field(static=True)

    def features(self, observation: Array) -> Float[Array, "n f"]:
        """Activations of the last hidden layer, for observations of shape (n, ...) of any dtype."""
        activate = ACTIVATIONS[self.activation]
        x = observation.astype(jnp.float32)
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
        architecture: MLP or CNN.
        observation_shape: shape of one observation; (height, width, channels) for a CNN.
        outputs: width of the head.
        head_scale: gain of the head: .01 for a policy that starts near uniform, 1 for a critic
            (arXiv:2006.05990).

    Raises:
        GTRError: if a CNN is asked for on observations that are no images, or too small.
    """
    gain = math.sqrt(2)
    convolutions = []
    shape = observation_shape
    if isinstance(architecture, CNN):
        for channels in architecture.channels:
            if len(shape) != 3 or min(shape[:2]) < 3:
                raise GTRError(
                    f"a CNN of {len(architecture.channels)} layers does not fit observations of "
                    f"shape {observation_shape}; use an MLP, or images of (height, width, channels)"
                )
            convolutions.append(Conv3x3(rng, shape[2], channels, scale=gain))
            shape = (shape[0] - 2, shape[1] - 2, channels)
    hidden, norms = [], []
    inputs = math.prod(shape)
    for width in architecture.widths:
        hidden.append(Dense(rng, inputs, width, scale=gain))
        norms.append(LayerNorm(width) if architecture.layer_norm else None)
        inputs = width
    head = Dense(rng, inputs, outputs, scale=head_scale)
    return Network(tuple(convolutions), tuple(hidden), tuple(norms), head, architecture.activation)
