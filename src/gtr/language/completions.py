"""Writing completions and reading their log-probabilities, each prompt's tokens but once.

Prompts begin alike (worked examples), and each has several completions: a tree. Its tokens are read
in one row, where each sees what leads to it alone, so the values and gradients are those of reading
each sequence in full (`tests/language/test_completions.py`). On a CPU a pass over little text costs
the reading of the weights, so one pass is better than one for each level of the tree. Where the
completions are still to be written, each token goes on from the keys and values of those before.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from gtr.errors import GTRError
from gtr.language.prompts import Prompts
from gtr.objective.numerics import widened

# Tokens of completions read in one row: attention's work grows with the square of a row.
_ROW = 2048


@dataclass(frozen=True)
class Completions:
    """G completions of each of Q prompts, with T tokens at most.

    Attributes:
        tokens: (Q, G, T) int64; the token that ended one is its last that counts.
        mask: (Q, G, T) booleans: the tokens that count.
        log_probs: (Q, G, T) of the policy that wrote them, nats.
        entropies: (Q, G, T) of that policy before each token, nats.
    """

    tokens: Tensor
    mask: Tensor
    log_probs: Tensor
    entropies: Tensor


def log_probs(model: Any, prompts: Prompts, tokens: Tensor, temperature: float = 1.0) -> Tensor:
    """The log-probability of each token, in nats.

    Args:
        model: a causal language model of Transformers that goes by `position_ids` and by a mask
            (1, 1, n, n), as those with learned or rotary positions do.
        prompts: Q of them.
        tokens: (Q, G, T) int64; what stands where none counts does not matter.
        temperature: by which logits are divided.

    Returns:
        (Q, G, T), float32 or wider.
    """
    number, width, length = tokens.shape
    completions = tokens.flatten(0, 1)
    owners = torch.arange(number, device=tokens.device).repeat_interleave(width)
    together = max(1, _ROW // length)
    parts = [
        _read_tree(model, prompts, *part, temperature)
        for part in zip(owners.split(together), completions.split(together), strict=True)
    ]
    return torch.cat(parts).view(tokens.shape)


def _read_tree(
    model: Any, prompts: Prompts, owners: Tensor, completions: Tensor, temperature: float
) -> Tensor:
    """`log_probs` of completions (C, T), each of the prompt whose number `owners` (C,) has."""
    asked, owners = owners.unique(return_inverse=True)
    prompts = prompts[asked]
    shared, device = len(prompts.shared), completions.device
    places = torch.arange(prompts.own.shape[1], device=device)
    prompt, place = torch.nonzero(places < prompts.lengths[:, None], as_tuple=True)
    later = completions[:, :-1]
    completion, step = torch.nonzero(torch.ones_like(later), as_tuple=True)
    everybody = torch.full((shared,), -1, device=device)

    row = torch.cat([prompts.shared, prompts.own[prompt, place], later.flatten()])
    position = torch.cat(
        [
            torch.arange(shared, device=device),
            shared + place,
            shared + prompts.lengths[owners[completion]] + step,
        ]
    )
    of_prompt = torch.cat([everybody, prompt, owners[completion]])
    of_completion = torch.cat([everybody, torch.full_like(prompt, -1), completion])
    seen = (
        (position <= position[:, None])
        & ((of_prompt == -1) | (of_prompt == of_prompt[:, None]))
        & ((of_completion == -1) | (of_completion == of_completion[:, None]))
    )
    hidden = model.base_model(
        input_ids=row[None],
        attention_mask=_added(seen, model.dtype)[None, None],
        position_ids=position[None],
        use_cache=False,
    ).last_hidden_state[0]

    begin = shared + len(prompt)
    ends = shared + prompts.lengths.cumsum(0) - 1
    head = model.get_output_embeddings()
    beginnings = (widened(head(hidden[ends])) / temperature).log_softmax(-1)
    logits = widened(head(hidden[begin:])) / temperature
    following = logits.gather(-1, completions[:, 1:].reshape(-1, 1))[:, 0] - logits.logsumexp(-1)
    return torch.cat(
        [beginnings[owners, completions[:, 0]][:, None], following.view(later.shape)], -1
    )


@torch.no_grad()
def write(
    model: Any,
    prompts: Prompts,
    *,
    each: int,
    longest: int,
    ends: Sequence[int],
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Completions:
    """Draws completions, or takes the most likely tokens.

    Args:
        model: a causal language model of Transformers.
        prompts: Q of them.
        each: completions of each prompt, G.
        longest: number of tokens after which one is cut.
        ends: the tokens that end one.
        temperature: by which logits are divided; 0 for the most likely token.
        generator: where random numbers come from, on the model's device.

    Returns:
        The completions. Log-probabilities and entropies at a temperature of 0 are those at 1.

    Raises:
        GTRError: the model's probabilities are NaN.
    """
    reading, logits = _read(model, prompts)
    reading = reading.repeated(each)
    logits = logits.repeat_interleave(each, 0)
    stops = torch.tensor(list(ends), device=logits.device)
    going = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    columns: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    while len(columns) < longest and going.any():
        if columns:
            hidden = reading.read(model, columns[-1][0][:, None])
            logits = widened(model.get_output_embeddings()(hidden[:, -1]))
        said = (logits / (temperature or 1.0)).log_softmax(-1)
        if said.isnan().any():
            raise GTRError(
                "the model's probabilities are NaN, the training has diverged: begin anew with a "
                "lower learning rate"
            )
        chances = said.exp()
        if temperature == 0:
            token = said.argmax(-1)
        else:
            token = torch.multinomial(chances, 1, generator=generator)[:, 0]
        # A token of chance 0 has a log-probability of -inf and no part in the entropy.
        entropy = -(chances * said.clamp(min=torch.finfo(said.dtype).min)).sum(-1)
        columns.append((token, going, said.gather(-1, token[:, None])[:, 0], entropy))
        going = going & ~torch.isin(token, stops)
    parts = [
        torch.stack(part, -1).view(len(prompts), each, -1) for part in zip(*columns, strict=True)
    ]
    return Completions(*parts)


@dataclass
class _Reading:
    """How far R rows have been read.

    `cache` has the keys and values of `seen`'s columns, (R, C) int64: 1 for those that count.
    """

    cache: DynamicCache
    seen: Tensor

    def read(self, model: Any, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Reads on, (R, N) tokens; the hidden states behind them, (R, N, width)."""
        mask = torch.ones_like(tokens) if mask is None else mask
        places = self.seen.sum(-1, keepdim=True) + mask.cumsum(-1) - 1
        self.seen = torch.cat([self.seen, mask], -1)
        return model.base_model(
            input_ids=tokens,
            attention_mask=self.seen,
            position_ids=places.clamp(min=0),
            cache=self.cache,
            use_cache=True,
        ).last_hidden_state

    def repeated(self, times: int) -> "_Reading":
        """Each row so many times, one behind the other."""
        return self._mapped(lambda x: x.repeat_interleave(times, 0))

    def shown_to(self, rows: int) -> "_Reading":
        """One row as so many, without a copy."""
        return self._mapped(lambda x: x.expand(rows, *x.shape[1:]))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "_Reading":
        pairs = [
            (change(keys), change(values))
            for keys, values, *_ in self.cache
            if keys is not None and values is not None
        ]
        return _Reading(DynamicCache(pairs), change(self.seen))


def _read(model: Any, prompts: Prompts) -> tuple[_Reading, Tensor]:
    """The prompts, and the logits behind each: (Q, vocabulary), float32 or wider."""
    shared = prompts.shared[None]
    reading = _Reading(DynamicCache(), torch.zeros_like(shared[:, :0]))
    if shared.numel():
        reading.read(model, shared)
        reading = reading.shown_to(len(prompts))
    else:
        reading = _Reading(DynamicCache(), reading.seen.expand(len(prompts), 0))
    places = torch.arange(prompts.own.shape[1], device=prompts.own.device)
    mask = (places < prompts.lengths[:, None]).long()
    hidden = reading.read(model, prompts.own, mask)
    last = hidden[torch.arange(len(prompts), device=hidden.device), prompts.lengths - 1]
    return reading, widened(model.get_output_embeddings()(last))


def _added(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """What every way of attention can take for a mask: numbers to be added to its scores."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(
        ~seen, torch.finfo(dtype).min
    )
