"""The layers of `gtr.networks` in PyTorch, where it has none that are the same.

Attributes have the names of those in JAX, by which weights find their place (`weights`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from gtr.networks.architectures import CNN, MLP, Activation, FeedForward, NatureCNN

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": functional.relu,
    "swish": functional.silu,
}
_NATURE = ((8, 4), (4, 2), (3, 1))


class Convolutions(nn.Module):
    """Convolutions one after another, each with its activation: CNN and NatureCNN."""

    def __init__(self, architecture: CNN | NatureCNN, channels: int) -> None:
        super().__init__()
        self._activate = ACTIVATIONS[architecture.activation]
        kernels = _NATURE if isinstance(architecture, NatureCNN) else None
        layers = []
        for i, outputs in enumerate(architecture.channels):
            size, stride = (3, 1) if kernels is None else kernels[i]
            layers.append(nn.Conv2d(channels, outputs, size, stride))
            channels = outputs
        self.convolutions = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, channels, h, w), as images are in PyTorch."""
        for convolution in self.convolutions:
            x = self._activate(convolution(x))
        return x


class Residual(nn.Module):
    """The sections of a ResNet, and the activation after the last."""

    def __init__(
        self, channels: int, widths: tuple[int, ...], activate: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self._activate = activate
        sections = []
        for outputs in widths:
            sections.append(_Section(channels, outputs, activate))
            channels = outputs
        self.sections = nn.ModuleList(sections)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, channels, h, w)."""
        for section in self.sections:
            x = section(x)
        return self._activate(x)


class _Section(nn.Module):
    def __init__(self, inputs: int, outputs: int, activate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(outputs, activate) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = _pooled(self.convolution(x))
        for block in self.blocks:
            x = block(x)
        return x


class _Block(nn.Module):
    def __init__(self, channels: int, activate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._activate = activate
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self._activate(self.first(self._activate(x))))


def _pooled(x: Tensor) -> Tensor:
    """The largest of each 3 x 3 window, stride 2, padded as TensorFlow's SAME, which is uneven."""
    padding = []
    for length in (x.shape[-1], x.shape[-2]):
        padding += [1, 1] if length % 2 else [0, 1]
    return functional.max_pool2d(functional.pad(x, padding, value=-torch.inf), 3, 2)


class Images(nn.Module):
    """A torso over (height, width, channels), whose features are in the order of those."""

    def __init__(self, layers: nn.Module, *, fractions: bool) -> None:
        """Wraps layers.

        Args:
            layers: over (n, channels, h, w).
            fractions: whether numbers are bytes to be divided by 255.
        """
        super().__init__()
        self.layers = layers
        self._scale = 255.0 if fractions else 1.0

    def forward(self, observation: Tensor) -> Tensor:
        """Shape (n, height, width, channels) to (n, f)."""
        x = self.layers((observation / self._scale).permute(0, 3, 1, 2))
        return x.permute(0, 2, 3, 1).flatten(1)


def torso(architecture: FeedForward, shape: tuple[int, ...], *, bytes_: bool) -> nn.Module:
    """From float32 observations (n, ...) to features (n, f).

    Args:
        architecture: whose torso.
        shape: of one observation.
        bytes_: whether they are bytes as they came, and not normalised.
    """
    if isinstance(architecture, MLP):
        return nn.Flatten()
    if isinstance(architecture, CNN | NatureCNN):
        layers: nn.Module = Convolutions(architecture, shape[2])
    else:
        activate = ACTIVATIONS[architecture.activation]
        layers = Residual(shape[2], architecture.channels, activate)
    return Images(layers, fractions=bytes_ and not isinstance(architecture, CNN))
