"""GTR's loss in verl 0.9, by its registry: `actor_rollout_ref.actor.policy_loss.loss_mode=gtr`.

Name this module in `VERL_USE_EXTERNAL_MODULES`, and every process of verl knows the loss. It is
verl's own (clip, dual clip, rollout correction and all) plus the Gaussian penalty, so that a
stiffness of 0 is verl's own to the bit. Of earlier policies verl gives a loss the old one alone,
which is therefore the only anchor.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gtr.errors import GTRError
from gtr.integrations.minibatch import measures, policy_loss
from gtr.objective import Method, defaults, gaussian_trust_region

try:
    from verl.trainer.ppo.core_algos import (  # pyright: ignore[reportMissingImports]
        agg_loss,
        compute_policy_loss_vanilla,
        register_policy_loss,
    )
    from verl.workers.config import PolicyLossConfig  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise GTRError(
        f"verl cannot be imported ({error}): pip install verl==0.9.1 and gtr-rl into an "
        "environment of their own, since verl excludes what other extras of gtr-rl need"
    ) from error


@dataclass
class GTRPolicyLossConfig(PolicyLossConfig):
    """verl's `policy_loss` with the method's numbers; name it there as `_target_`.

    Attributes:
        loss_mode: the name that the loss is registered under.
        stiffness: of the penalty, in units of the advantage; not of the batch's, since a loss sees
            one micro-batch, and what it descends must not depend on how batches are cut.
        radius: the log-ratio, in nats, at which the pull is strongest.

    Raises:
        GTRError: a number is out of its range.
    """

    loss_mode: str = "gtr"
    stiffness: float = defaults.STIFFNESS
    radius: float = defaults.RADIUS

    def __post_init__(self) -> None:
        method_of(self)


def method_of(config: PolicyLossConfig) -> Method:
    """The method of a `policy_loss`; with the default numbers where it is verl's own."""
    return gaussian_trust_region(
        stiffness=config.get("stiffness", defaults.STIFFNESS),
        radius=config.get("radius", defaults.RADIUS),
        anchors=1,
    )


@register_policy_loss("gtr")
def compute_policy_loss_gtr(
    old_log_prob: Tensor,
    log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    loss_agg_mode: str = "token-mean",
    config: Any = None,
    rollout_is_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Any]]:
    """The loss of verl and the penalty, over the valid tokens of a micro-batch.

    Args:
        old_log_prob: (batch, tokens) of the policy before this batch's first update, nats: the
            anchor.
        log_prob: (batch, tokens) of the policy that is trained, nats.
        advantages: (batch, tokens).
        response_mask: (batch, tokens), 0 where there is no answer's token.
        loss_agg_mode: how tokens are averaged, as in `agg_loss`.
        config: verl's `ActorConfig`.
        rollout_is_weights: (batch, tokens), verl's correction for a sampler that is not the old
            policy; the penalty is weighted as the surrogate is, being a mean over the same samples.

    Returns:
        The loss (), and measures under verl's names and under `gtr/`.
    """
    loss, metrics = compute_policy_loss_vanilla(
        old_log_prob=old_log_prob,
        log_prob=log_prob,
        advantages=advantages,
        response_mask=response_mask,
        loss_agg_mode=loss_agg_mode,
        config=config,
        rollout_is_weights=rollout_is_weights,
    )
    method = method_of(config.policy_loss)
    _, evaluation = policy_loss(
        method,
        log_prob=log_prob,
        behaviour_log_prob=old_log_prob,
        anchor_log_prob=old_log_prob,
        advantage=advantages,
    )
    weights = torch.ones_like(log_prob) if rollout_is_weights is None else rollout_is_weights
    penalty = agg_loss(
        loss_mat=evaluation.penalty * weights,
        loss_mask=response_mask,
        loss_agg_mode=loss_agg_mode,
        **config.global_batch_info,
    )
    found = measures(method, evaluation, advantage=advantages, mask=response_mask)
    return loss + penalty, metrics | {f"gtr/{name}": number for name, number in found.items()}
