"""The shapes of networks that a configuration can name."""

from dataclasses import dataclass
from typing import Literal

Activation = Literal["tanh", "relu", "swish"]


@dataclass(frozen=True)
class MLP:
    """Fully connected layers; observations are flattened."""

    widths: tuple[int, ...] = (64, 64)
    activation: Activation = "tanh"


@dataclass(frozen=True)
class CNN:
    """3 x 3 convolutions, stride 1, unpadded, over (height, width, channels); then an MLP."""

    channels: tuple[int, ...] = (16,)
    widths: tuple[int, ...] = (64,)
    activation: Activation = "relu"


Architecture = MLP | CNN
