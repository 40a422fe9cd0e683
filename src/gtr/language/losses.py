"""What each method descends on a minibatch of completions: GTR and its rivals, by name.

GTR, PPO and GIPO are `gtr.objective`'s. The others are written here as their papers and TRL have
them, and `tests/language/test_losses.py` holds those that TRL has to TRL's own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from gtr.errors import GTRError
from gtr.integrations.minibatch import measures
from gtr.objective import (
    Behaviour,
    Clip,
    Gate,
    Method,
    Recent,
    Unclipped,
    evaluate,
    gaussian_trust_region,
)
from gtr.objective.numerics import LIMIT, Number, bounded, log_difference, ratio

Surrogate = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Of log-probabilities, the behaviour policy's, advantages and the mask, (N, T) each: (N, T)."""


@dataclass(frozen=True)
class Rule:
    """One method for completions.

    Attributes:
        name: of the method.
        description: what it is.
        source: where it is from.
        method: what `gtr.objective` evaluates: all of the loss where `surrogate` is None, else its
            measures alone.
        surrogate: what is maximised instead of the method's own.
        average: over all "tokens" of a minibatch, or over each of its "completions" first.
    """

    name: str
    description: str
    source: str
    method: Method
    surrogate: Surrogate | None = None
    average: Literal["tokens", "completions"] = "tokens"


def _dapo(log_prob: Tensor, behaviour: Tensor, advantage: Tensor, mask: Tensor) -> Tensor:
    r = ratio(log_difference(log_prob, behaviour))
    return torch.minimum(r * advantage, r.clamp(1 - 0.2, 1 + 0.28) * advantage)


def _sapo(log_prob: Tensor, behaviour: Tensor, advantage: Tensor, mask: Tensor) -> Tensor:
    r = ratio(log_difference(log_prob, behaviour))
    temperature = torch.where(advantage > 0, 1.0, 1.05)
    return torch.sigmoid(temperature * (r - 1)) * 4 / temperature * advantage


def _gspo(log_prob: Tensor, behaviour: Tensor, advantage: Tensor, mask: Tensor) -> Tensor:
    log_ratio = torch.where(mask, log_difference(log_prob, behaviour), 0.0)
    mean = log_ratio.sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)
    r = ratio(mean).expand_as(log_ratio)
    return torch.minimum(r * advantage, r.clamp(1 - 3e-4, 1 + 4e-4) * advantage)


def _cispo(log_prob: Tensor, behaviour: Tensor, advantage: Tensor, mask: Tensor) -> Tensor:
    weight = ratio(log_difference(log_prob, behaviour)).clamp(max=5.0).detach()
    return weight * advantage * bounded(log_prob, -LIMIT, LIMIT)


_PPO = Method("ppo", Clip(0.2))

RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(
            "gtr",
            "clip and bounded Gaussian penalty to recent policies",
            "our reading of arXiv:2606.03382",
            gaussian_trust_region(anchors=4),
        ),
        Rule(
            "gtr-behaviour",
            "gtr around the policy that wrote the batch, without earlier ones",
            "our reading of arXiv:2606.03382",
            gaussian_trust_region(anchors=1),
        ),
        Rule("ppo", "clipped surrogate of each token", "arXiv:1707.06347", _PPO),
        Rule(
            "dapo",
            "a clip of .2 below and .28 above; without its sampling of prompts",
            "arXiv:2503.14476",
            _PPO,
            _dapo,
        ),
        Rule(
            "sapo",
            "a soft gate in place of the clip, temperatures 1 and 1.05",
            "arXiv:2511.20347",
            _PPO,
            _sapo,
            "completions",
        ),
        Rule(
            "gspo",
            "the ratio of whole completions, clipped at 3e-4 below and 4e-4 above",
            "arXiv:2507.18071",
            _PPO,
            _gspo,
            "completions",
        ),
        Rule(
            "cispo",
            "importance weights cut at 5, without gradient",
            "arXiv:2506.13585",
            _PPO,
            _cispo,
        ),
        Rule(
            "gipo",
            "Gaussian weight on the log-ratio in place of the clip",
            "our reading of the abstract of arXiv:2603.03955",
            Method("gipo", Unclipped(), gate=Gate(), anchor=Behaviour()),
        ),
    )
}


def numbers_of(name: str) -> frozenset[str]:
    """Names of the numbers that `rule` can replace in a method."""
    shape = frozenset({"clip", "stiffness", "radius"})
    own = {"gtr": shape | {"anchors", "every", "decay"}, "gtr-behaviour": shape}
    return own.get(name, frozenset())


def rule(name: str, **numbers: Number) -> Rule:
    """A method by its name; of GTR with some of its numbers replaced.

    Args:
        name: one of `RULES`.
        numbers: `clip`, `stiffness`, `radius`, and of `gtr` alone `anchors`, `every`, `decay`.

    Raises:
        GTRError: there is no such method or number, or a number is out of its range.
    """
    if name not in RULES:
        raise GTRError(f"there is no method {name!r} for language; there are {', '.join(RULES)}")
    found = RULES[name]
    if not numbers:
        return found
    own = numbers_of(name)
    unknown = sorted(set(numbers) - own)
    if unknown:
        has = ", ".join(sorted(own)) or "no numbers to set"
        raise GTRError(f"{name} has no number {unknown[0]!r}; it has {has}")
    count = found.method.anchor.count if isinstance(found.method.anchor, Recent) else 1
    method = gaussian_trust_region(**{"anchors": count, **numbers})
    return replace(found, method=method)


def loss(
    chosen: Rule,
    *,
    log_prob: Tensor,
    behaviour_log_prob: Tensor,
    anchor_log_prob: Tensor,
    advantage: Tensor,
    mask: Tensor,
    stiffness: Number | None = None,
) -> tuple[Tensor, Mapping[str, float]]:
    """What is descended on a minibatch, and what it says.

    Args:
        chosen: the method.
        log_prob: (N, T) of the policy that is trained, nats.
        behaviour_log_prob: (N, T) of the policy that wrote the completions.
        anchor_log_prob: (N, T) of each completion's anchor; read only if the method has any.
        advantage: (N,).
        mask: (N, T) booleans, the tokens that count.
        stiffness: the batch's (`gtr.objective.batch_stiffness`).

    Returns:
        The loss (), and `gtr.objective.diagnostics` as numbers.
    """
    advantages = advantage[:, None].expand_as(log_prob)
    method = chosen.method
    anchored = isinstance(method.anchor, Recent)
    evaluation = evaluate(
        method,
        log_prob=log_prob,
        behaviour_log_prob=behaviour_log_prob,
        advantage=advantages,
        anchor_log_probs=anchor_log_prob[..., None] if anchored else None,
        anchor_weights=torch.ones(1, device=log_prob.device) if anchored else None,
        stiffness=stiffness,
    )
    surrogate = evaluation.surrogate
    if chosen.surrogate is not None:
        surrogate = chosen.surrogate(log_prob, behaviour_log_prob, advantages, mask)
    found = measures(method, evaluation, advantage=advantages, mask=mask, stiffness=stiffness)
    gained, paid = (_mean(x, mask, chosen.average) for x in (surrogate, evaluation.penalty))
    return paid - gained, found


def _mean(values: Tensor, mask: Tensor, over: str) -> Tensor:
    values = torch.where(mask, values, 0.0)
    if over == "tokens":
        return values.sum() / mask.sum().clamp(min=1)
    return (values.sum(-1) / mask.sum(-1).clamp(min=1)).mean()
