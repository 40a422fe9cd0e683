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


@dataclass(frozen=True)
class NatureCNN:
    """Three convolutions over pixels, then one hidden layer; relu (Mnih et al. 2015).

    The convolutions are 8 x 8 with stride 4, 4 x 4 with stride 2 and 3 x 3 with stride 1, unpadded.
    Observations are (height, width, channels), at least 36 x 36, from 0 to 255, and are divided by
    255.

    Attributes:
        channels: of the three convolutions.
        width: of the hidden layer.
    """

    channels: tuple[int, int, int] = (32, 64, 64)
    width: int = 512


@dataclass(frozen=True)
class ResNet:
    """The residual network of IMPALA over pixels, then one hidden layer (Espeholt et al. 2018).

    A section is a 3 x 3 convolution, a 3 x 3 maximum with stride 2, and two residual blocks of two
    3 x 3 convolutions each, all padded and each block's with a relu before it. Observations are
    (height, width, channels) from 0 to 255; they are divided by 255.

    Attributes:
        channels: of the sections.
        width: of the hidden layer.
    """

    channels: tuple[int, ...] = (16, 32, 32)
    width: int = 256


Architecture = MLP | CNN | NatureCNN | ResNet
