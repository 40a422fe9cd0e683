"""Designs of the trust region that were tried: each a method, and what it makes of a sample.

What differs from a method of `gtr` is a function of what `gtr.objective.evaluate` returned. It sees
the advantage, which a penalty of the library does not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from gtr.methods import method
from gtr.objective import Evaluation, Method

Change = Callable[[Method, Evaluation, Any, Any], Evaluation]


@dataclass(frozen=True)
class Design:
    """A method, and a change of what it says about each sample."""

    method: Method
    change: Change | None = None


def _pulls(one: Method, found: Evaluation, radius_square: Any) -> Any:
    """The Gaussian penalty of each anchor, (..., K), before weighting."""
    depth = -jnp.expm1(-0.5 * found.anchor_log_ratios**2 / radius_square)
    return one.penalty.stiffness * radius_square * depth


def _weighted(found: Evaluation, weights: Any, pulls: Any) -> Evaluation:
    return found._replace(penalty=jnp.sum(weights * pulls, -1))


def radius_shrinks(one: Method, found: Evaluation, advantage: Any, weights: Any) -> Evaluation:
    """Radius^2 / (1 + A^2): a strong advantage escapes sooner."""
    square = one.penalty.radius**2 / (1 + advantage * advantage)[..., None]
    return _weighted(found, weights, _pulls(one, found, square))


def pull_fades(one: Method, found: Evaluation, advantage: Any, weights: Any) -> Evaluation:
    """The penalty times exp(-A^2): it holds what has no advantage, and lets go of the rest."""
    return found._replace(penalty=found.penalty * jnp.exp(-advantage * advantage))


def against(one: Method, found: Evaluation, advantage: Any, weights: Any) -> Evaluation:
    """Only movement against the sample's advantage is penalised."""
    pulls = _pulls(one, found, one.penalty.radius**2)
    wrong = advantage[..., None] * found.anchor_log_ratios < 0
    return _weighted(found, weights, pulls * wrong)


def sharpening(one: Method, found: Evaluation, advantage: Any, weights: Any) -> Evaluation:
    """Only becoming more certain of the sampled action is penalised; entropy may return."""
    pulls = _pulls(one, found, one.penalty.radius**2)
    return _weighted(found, weights, pulls * (found.anchor_log_ratios > 0))


def _gtr(**numbers: Any) -> Method:
    return method("gtr", **{"clip": 0.5, "stiffness": 0.25, "radius": 0.4, **numbers})


DESIGNS = {
    "ppo, clip .2": Design(method("ppo", clip=0.2)),
    "ppo, clip .5": Design(method("ppo", clip=0.5)),
    "spo": Design(method("spo", clip=0.3)),
    "first reading": Design(_gtr(clip=0.2, stiffness=0.4, radius=0.5)),
    "gtr's defaults": Design(method("gtr")),
    "wide clip": Design(_gtr()),
    "wide clip, softer": Design(_gtr(stiffness=0.12)),
    "wide clip, wider radius": Design(_gtr(radius=0.8)),
    "wide clip, stiff and narrow": Design(_gtr(stiffness=0.5, radius=0.25)),
    "clip 1": Design(_gtr(clip=1.0)),
    "radius shrinks with the advantage": Design(_gtr(radius=0.8), radius_shrinks),
    "pull fades with the advantage": Design(_gtr(stiffness=0.5), pull_fades),
    "pull against the advantage only": Design(_gtr(stiffness=0.5), against),
    "pull against sharpening only": Design(_gtr(stiffness=0.5), sharpening),
    "older anchors, 8 apart": Design(_gtr(every=8)),
    "two anchors, 1 apart": Design(_gtr(anchors=2, every=1)),
    "anchors of longer memory": Design(_gtr(decay=0.9)),
    "bump": Design(method("gtr-bump", clip=0.5, stiffness=0.25, radius=0.8)),
    "gate": Design(method("gtr-gate", clip=0.5, radius=0.4)),
    "monotone": Design(method("gtr-monotone", clip=0.5, stiffness=0.12)),
    "exact divergence": Design(method("gtr-exact", clip=0.5, stiffness=0.25, radius=0.4)),
}
