"""One step of `gtr.networks.transformer` in PyTorch."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gtr.networks.architectures import Transformer

_UNSEEN = -1e9


class Gate(nn.Module):
    """In place of x + y: a gated recurrent unit, with x as the state and y as the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_y = nn.Linear(width, 3 * width)
        self.of_x = nn.Parameter(torch.empty(width, 2 * width))
        self.of_reset = nn.Parameter(torch.empty(width, width))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Shape (n, width), as they came."""
        r, z, n = self.of_y(y).chunk(3, -1)
        of_r, of_z = (x @ self.of_x).chunk(2, -1)
        r, z = torch.sigmoid(r + of_r), torch.sigmoid(z + of_z)
        return (1 - z) * x + z * torch.tanh(n + (r * x) @ self.of_reset)


class Attention(nn.Module):
    """The present step's, to the window before it and to itself."""

    places: Tensor

    def __init__(self, architecture: Transformer) -> None:
        super().__init__()
        width = architecture.width
        self._heads = architecture.heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.position = nn.Parameter(torch.empty(width, width))
        self.output = nn.Linear(width, width)
        self.register_buffer("places", _sinusoids(architecture.window, width), persistent=False)

    def forward(self, asking: Tensor, seen: Tensor, visible: Tensor) -> Tensor:
        """Shape as `asking`.

        Args:
            asking: (n, d), the present step.
            seen: (n, w + 1, d), the window and the present step.
            visible: (n, w + 1), which of these it sees.
        """
        heads = (self._heads, -1)
        query = self.query(asking).unflatten(-1, heads)
        key, value = (x.unflatten(-1, heads) for x in self.key_value(seen).chunk(2, -1))
        place = (self.places @ self.position).unflatten(-1, heads)
        scores = torch.einsum("nhk,nshk->nhs", query, key)
        scores = scores + torch.einsum("nhk,shk->nhs", query, place)
        scores = scores / math.sqrt(query.shape[-1])
        scores = torch.where(visible[:, None], scores, _UNSEEN)
        return self.output(torch.einsum("nhs,nshk->nhk", scores.softmax(-1), value).flatten(1))


class Layer(nn.Module):
    """Attention and two affine maps with a ReLU, each behind a norm and before a gate."""

    def __init__(self, architecture: Transformer) -> None:
        super().__init__()
        width = architecture.width
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(architecture)
        self.first_gate, self.second_gate = Gate(width), Gate(width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor, seen: Tensor, visible: Tensor) -> Tensor:
        """Shape as `x`, (n, d)."""
        told = self.attention(self.first_norm(x), self.first_norm(seen), visible)
        x = self.first_gate(x, functional.relu(told))
        told = self.narrow(functional.relu(self.wide(self.second_norm(x))))
        return self.second_gate(x, functional.relu(told))


class TransformerCore(nn.Module):
    """Layers behind an embedding; a step sees the last `window` steps of its own episode."""

    def __init__(self, architecture: Transformer, inputs: int) -> None:
        super().__init__()
        self._window = architecture.window
        self.embedding = nn.Linear(inputs, architecture.width)
        self.layers = nn.ModuleList(Layer(architecture) for _ in range(architecture.layers))

    def forward(self, x: Tensor, inputs: Tensor, filled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step.

        Args:
            x: (n, features).
            inputs: (n, layers, w, d), what each layer was given in the window, the newest last.
            filled: (n,) int32, how many steps of the window there are.

        Returns:
            Features (n, d), and the memory after the step.
        """
        x = self.embedding(x)
        ago = torch.arange(self._window, -1, -1, device=x.device)
        visible = ago <= filled[:, None]
        kept = []
        for number, layer in enumerate(self.layers):
            seen = torch.cat([inputs[:, number], x[:, None]], 1)
            kept.append(seen[:, 1:])
            x = layer(x, seen, visible)
        return x, torch.stack(kept, 1), (filled + 1).clamp(max=self._window)


def _sinusoids(window: int, width: int) -> Tensor:
    """Where a step is that was `window`, ..., 1, 0 steps ago: (w + 1, d)."""
    ago = torch.arange(window, -1, -1, dtype=torch.float64)[:, None]
    half = (width + 1) // 2
    angles = ago * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :width].float()
