"""The shapes of networks that a configuration can name."""

from dataclasses import dataclass
from typing import Literal

Activation = Literal["tanh", "relu", "swish"]


@dataclass(frozen=True)
class MLP:
    """Fully connected layers; observations are flattened.

    Attributes:
        widths: of the hidden layers.
        activation: after each of them.
        layer_norm: normalise each hidden layer's outputs before its activation
            (arXiv:1607.06450).
    """

    widths: tuple[int, ...] = (64, 64)
    activation: Activation = "tanh"
    layer_norm: bool = False


@dataclass(frozen=True)
class CNN:
    """3 x 3 convolutions, stride 1, unpadded, over (height, width, channels); then an MLP.

    Attributes:
        channels: of the convolutions.
        widths: of the hidden layers that follow them.
        activation: after each convolution and hidden layer.
        layer_norm: as the MLP's, in the hidden layers alone: convolutions are not normalised.
    """

    channels: tuple[int, ...] = (16,)
    widths: tuple[int, ...] = (64,)
    activation: Activation = "relu"
    layer_norm: bool = False


Architecture = MLP | CNN
