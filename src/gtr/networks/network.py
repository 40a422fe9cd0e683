"""Networks built from an architecture: an observation batch in, features and outputs out."""

import math

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from gtr.networks.architectures import Activation, Architecture
from gtr.networks.layers import ACTIVATIONS, Dense, LayerNorm
from gtr.networks.torsos import Torso, build_torso


class Network(eqx.Module):
    """A torso, hidden layers with their norms (if any), and a linear head."""

    torso: Torso
    hidden: tuple[Dense, ...]
    norms: tuple[LayerNorm | None, ...]
    head: Dense
    activation: Activation = eqx.field(static=True)

    def features(self, observation: Array) -> Float[Array, "n f"]:
        """Activations of the last hidden layer, for observations of shape (n, ...) of any dtype."""
        activate = ACTIVATIONS[self.activation]
        x = self.torso(observation)
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
    """Draw a network's parameters: orthogonal, with gain sqrt(2) before the head.

    Args:
        rng: where the parameters are drawn from: the torso's first, the head's last.
        architecture: what to build.
        observation_shape: shape of one observation; (height, width, channels) for all but an MLP.
        outputs: width of the head.
        head_scale: gain of the head: .01 for a policy that starts near uniform, 1 for a critic
            (arXiv:2006.05990).

    Raises:
        GTRError: if the architecture does not fit such observations (`build_torso`).
    """
    torso, inputs = build_torso(rng, architecture, observation_shape)
    hidden, norms = [], []
    for width in architecture.widths:
        hidden.append(Dense(rng, inputs, width, scale=math.sqrt(2)))
        norms.append(LayerNorm(width) if architecture.layer_norm else None)
        inputs = width
    head = Dense(rng, inputs, outputs, scale=head_scale)
    return Network(torso, tuple(hidden), tuple(norms), head, architecture.activation)
