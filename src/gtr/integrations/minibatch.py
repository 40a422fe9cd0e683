"""GTR's loss on a minibatch of a PyTorch trainer, where each sample has one anchor."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from gtr.objective import Evaluation, Method, diagnostics, evaluate
from gtr.objective.method import with_stiffness
from gtr.objective.numerics import Number, log_difference
from gtr.objective.penalties import half_square_within


def policy_loss(
    method: Method,
    *,
    log_prob: Tensor,
    behaviour_log_prob: Tensor,
    anchor_log_prob: Tensor,
    advantage: Tensor,
    stiffness: Number | None = None,
) -> tuple[Tensor, Evaluation]:
    """What the policy descends, without the entropy bonus.

    Args:
        method: with an anchor.
        log_prob: (...) of the policy that is trained, nats.
        behaviour_log_prob: (...) of the policy that collected the samples.
        anchor_log_prob: (...) of each sample's anchor (`RecentPolicies.ask`).
        advantage: (...).
        stiffness: the batch's (`gtr.objective.batch_stiffness`).

    Returns:
        The loss (), and what `measures` needs.
    """
    evaluation = evaluate(
        method,
        log_prob=log_prob,
        behaviour_log_prob=behaviour_log_prob,
        anchor_log_probs=anchor_log_prob[..., None],
        anchor_weights=torch.ones(1, device=log_prob.device),
        advantage=advantage,
        stiffness=stiffness,
    )
    return evaluation.penalty.mean() - evaluation.surrogate.mean(), evaluation


def penalty(
    method: Method, *, log_prob: Tensor, anchor_log_prob: Tensor, stiffness: Number | None = None
) -> Tensor:
    """That of `policy_loss` alone, for a trainer that keeps its own surrogate.

    Args:
        method: with a penalty and an anchor, of the "sample" divergence.
        log_prob: (...) of the policy that is trained, nats.
        anchor_log_prob: (...) of each sample's anchor (`RecentPolicies.ask`).
        stiffness: the batch's (`gtr.objective.batch_stiffness`).

    Returns:
        (...), to be minimised.
    """
    assert method.penalty is not None
    held_by = with_stiffness(method.penalty, stiffness)
    divergence = half_square_within(log_difference(log_prob, anchor_log_prob))
    return held_by(divergence[..., None], torch.ones(1, device=log_prob.device))


def diagnose(
    method: Method,
    evaluation: Evaluation,
    *,
    advantage: Tensor,
    mask: Tensor | None = None,
    stiffness: Number | None = None,
) -> dict[str, Tensor]:
    """`gtr.objective.diagnostics` of samples with one anchor each, as tensors where the data is.

    `anchor_spread` is that of a sample's anchor and the behaviour policy. A method may have no
    anchor.
    """
    return diagnostics(
        method, evaluation.with_behaviour(), advantage=advantage, mask=mask, stiffness=stiffness
    )


def measures(
    method: Method,
    evaluation: Evaluation,
    *,
    advantage: Tensor,
    mask: Tensor | None = None,
    stiffness: Number | None = None,
) -> Mapping[str, float]:
    """What `diagnose` finds, as numbers that are not NaN."""
    found = diagnose(method, evaluation, advantage=advantage, mask=mask, stiffness=stiffness)
    numbers = {name: float(value) for name, value in found.items()}
    return {name: number for name, number in numbers.items() if not math.isnan(number)}
