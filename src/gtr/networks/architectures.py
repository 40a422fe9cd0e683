"""The shapes of networks that a configuration can name.

Each is a torso and then hidden layers, and names these alike: `widths`, `activation`, `layer_norm`.
"""

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
    """The network of DQN on Atari's screens (Mnih et al. 2015, doi:10.1038/nature14236).

    Three unpadded convolutions, 8 x 8 with stride 4, 4 x 4 with stride 2 and 3 x 3 with stride 1,
    over (height, width, channels); then an MLP. Bytes (uint8) are pixels, and divided by 255.

    Attributes:
        channels: of the three convolutions.
        widths: of the hidden layers that follow them.
        activation: after each convolution and hidden layer.
        layer_norm: as the CNN's.
    """

    channels: tuple[int, int, int] = (32, 64, 64)
    widths: tuple[int, ...] = (512,)
    activation: Activation = "relu"
    layer_norm: bool = False


@dataclass(frozen=True)
class ResNet:
    """The residual network of IMPALA (Espeholt et al. 2018, arXiv:1802.01561), without its LSTM.

    Sections of a 3 x 3 convolution, a 3 x 3 max-pool with stride 2 and two residual blocks, all
    padded, over (height, width, channels); then an MLP. Bytes (uint8) are pixels, and divided by
    255.

    Attributes:
        channels: of the sections.
        widths: of the hidden layers that follow them.
        activation: before each convolution of a block, after the last section and after each
            hidden layer.
        layer_norm: as the CNN's.
    """

    channels: tuple[int, ...] = (16, 32, 32)
    widths: tuple[int, ...] = (256,)
    activation: Activation = "relu"
    layer_norm: bool = False


Architecture = MLP | CNN | NatureCNN | ResNet
