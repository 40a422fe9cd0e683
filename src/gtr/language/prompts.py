"""A batch of prompts as tokens: what all of them begin with, apart from how each goes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gtr.errors import GTRError


@dataclass(frozen=True)
class Prompts:
    """Tokens of Q prompts.

    Attributes:
        shared: (P,) int64, with which all of them begin; may be empty.
        own: (Q, L) int64, what follows, padded on the right; at least one token each.
        lengths: (Q,) int64, number of tokens of `own` that count.
    """

    shared: Tensor
    own: Tensor
    lengths: Tensor

    def __getitem__(self, rows: Tensor) -> "Prompts":
        """Some of the prompts."""
        return Prompts(self.shared, self.own[rows], self.lengths[rows])

    def __len__(self) -> int:
        return len(self.own)


def encode(tokenizer: Any, texts: Sequence[str], device: torch.device) -> Prompts:
    """Finds what the prompts share, as tokens, and leaves at least one token to each.

    Raises:
        GTRError: a prompt has no tokens.
    """
    rows = [list(ids) for ids in tokenizer(list(texts)).input_ids]
    if not all(rows):
        raise GTRError("a prompt is empty: a completion needs at least one token to follow")
    longest = min(len(row) for row in rows) - 1
    shared = next((i for i in range(longest) if len({row[i] for row in rows}) > 1), longest)
    lengths = torch.tensor([len(row) - shared for row in rows])
    own = torch.zeros(len(rows), int(lengths.max()), dtype=torch.int64)
    for i, row in enumerate(rows):
        own[i, : len(row) - shared] = torch.tensor(row[shared:])
    return Prompts(
        torch.tensor(rows[0][:shared], dtype=torch.int64).to(device),
        own.to(device),
        lengths.to(device),
    )
