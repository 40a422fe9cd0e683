"""Designs of the trust region that were tried: each a method, and what is swapped in the learner.

Most swap `evaluate` for one that changes what `gtr.objective.evaluate` said about each sample. It
sees the advantage, which a penalty of the library does not.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp

from gtr.learner import anchors, update
from gtr.methods import method
from gtr.objective import Evaluation, Method, evaluate

Change = Callable[[Method, Evaluation, Any, Any], Evaluation]


@dataclass(frozen=True)
class Design:
    """A method, and by what a name in the learner is replaced while it trains."""

    method: Method
    swapped: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def in_place(self) -> ExitStack:
        """What is swapped, until the context ends."""
        stack = ExitStack()
        jax.clear_caches()
        for name, replacement in self.swapped.items():
            stack.enter_context(patch(name, replacement))
        return stack


def _samples(change: Change) -> dict[str, Callable[..., Any]]:
    """A swap that changes what is said about each sample."""

    def changed(one: Method, **given: Any) -> Evaluation:
        found = evaluate(one, **given)
        return change(one, found, given["advantage"], given["anchor_weights"])

    return {"gtr.learner.update.evaluate": changed}


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


def radius_from_the_data(one: Method, found: Evaluation, _: Any, weights: Any) -> Evaluation:
    """Twice the robust scale of the log-ratios to the snapshots, at the same strongest pull."""
    distance = jnp.abs(lax.stop_gradient(found.anchor_log_ratios[..., -1]))
    radius = jnp.clip(2 * 1.4826 * jnp.median(distance), 0.05, 2.0)
    pulls = _pulls(one, found, radius**2) * one.penalty.radius / radius
    return _weighted(found, weights, pulls)


def by_responsibility(one: Method, found: Evaluation, _: Any, weights: Any) -> Evaluation:
    """Anchors weigh by how likely it is that the policy is of their kernel: the near ones hold."""
    square = one.penalty.radius**2
    near = lax.stop_gradient(weights * jnp.exp(-0.5 * found.anchor_log_ratios**2 / square))
    responsible = near / jnp.maximum(jnp.sum(near, -1, keepdims=True), 1e-12)
    return _weighted(found, responsible, _pulls(one, found, square))


def of_the_mixture(one: Method, found: Evaluation, _: Any, weights: Any) -> Evaluation:
    """The kernel of the log-ratio to the mixture policy, not the mixture of kernels."""
    log_ratio = -logsumexp(jnp.log(weights) - found.anchor_log_ratios, axis=-1)
    square = one.penalty.radius**2
    depth = -jnp.expm1(-0.5 * log_ratio**2 / square)
    return found._replace(penalty=one.penalty.stiffness * square * depth)


def relaxes_with_the_batch(one: Method, found: Evaluation, advantage: Any, _: Any) -> Evaluation:
    """The penalty over the mean squared advantage: a batch of surprises is not held."""
    return found._replace(penalty=found.penalty / jnp.maximum(jnp.mean(advantage**2), 1.0))


def in_units_of_the_batch(one: Method, found: Evaluation, advantage: Any, _: Any) -> Evaluation:
    """The penalty times the batch's root mean square advantage: where all is quiet, no pull."""
    return found._replace(penalty=found.penalty * jnp.sqrt(jnp.mean(advantage**2)))


def clip_above(high: float) -> Change:
    """The clip is wide above 1 only, so that rare actions may grow (clip-higher of DAPO)."""

    def change(one: Method, found: Evaluation, advantage: Any, _: Any) -> Evaluation:
        ratio = jnp.exp(jnp.clip(found.log_ratio, -20, 20))
        clipped = jnp.clip(ratio, 1 - one.surrogate.clip, 1 + high)
        return found._replace(surrogate=jnp.minimum(ratio * advantage, clipped * advantage))

    return change


def _snapshots_by_distance() -> dict[str, Callable[..., Any]]:
    """A snapshot is taken when the policy's KL from the newest is what a radius stands for."""
    moved = {}

    def consult(anchor: Any, kept: Any, **given: Any) -> Any:
        newest = jax.tree.map(lambda x: x[0], kept.policies)
        old = jax.nn.log_softmax(newest(given["observation"]))
        new = jax.nn.log_softmax(given["behaviour"])
        moved["kl"] = jnp.mean(jnp.sum(jnp.exp(old) * (old - new), -1))
        return anchors.consult(anchor, kept, **given)

    def take_snapshot(anchor: Any, kept: Any, policy: Any, iteration: Any) -> Any:
        taken = anchors.take_snapshot(anchor, kept, policy, jnp.int32(0))
        far = moved["kl"] > SNAPSHOT_KL
        return jax.tree.map(lambda new, old: jnp.where(far, new, old), taken, kept)

    return {
        "gtr.learner.iteration.consult": consult,
        "gtr.learner.iteration.take_snapshot": take_snapshot,
    }


def _critic_anchored() -> dict[str, Callable[..., Any]]:
    """The critic is held to its values of before the update, within the robust scale of errors."""
    before = {}

    def update_from(trained: Any, *given: Any, **options: Any) -> Any:
        before["critic"] = trained.critic
        return update.update(trained, *given, **options)

    def value_loss(critic: Any, observation: Any, target: Any) -> Any:
        values, old = critic(observation), before["critic"](observation)
        square = (1.4826 * jnp.median(jnp.abs(target - old))) ** 2 + 1e-8
        pull = square * -jnp.expm1(-0.5 * (values - old) ** 2 / square)
        return 0.5 * jnp.mean((values - target) ** 2) + 0.5 * jnp.mean(pull)

    return {
        "gtr.learner.iteration.update": update_from,
        "gtr.learner.update.value_loss": value_loss,
    }


SNAPSHOT_KL = 0.02
"""Nats; half the square of a log-ratio of .2, half of GTR's radius."""


def _gtr(**numbers: Any) -> Method:
    return method("gtr-absolute", **{"clip": 0.5, "stiffness": 0.25, "radius": 0.4, **numbers})


DESIGNS = {
    "ppo, clip .2": Design(method("ppo", clip=0.2)),
    "ppo, clip .5": Design(method("ppo", clip=0.5)),
    "ppo, clip .8": Design(method("ppo", clip=0.8)),
    "spo": Design(method("spo", clip=0.3)),
    "first reading": Design(_gtr(clip=0.2, stiffness=0.4, radius=0.5)),
    "clip .2": Design(_gtr(clip=0.2)),
    "gtr": Design(method("gtr")),
    "wide clip": Design(_gtr()),
    "wide clip, softer": Design(_gtr(stiffness=0.12)),
    "wide clip, wider radius": Design(_gtr(radius=0.8)),
    "wide clip, stiff and narrow": Design(_gtr(stiffness=0.5, radius=0.25)),
    "clip .8, stiff": Design(method("gtr", clip=0.8, stiffness=3.0)),
    "clip 1": Design(_gtr(clip=1.0)),
    "radius shrinks with the advantage": Design(_gtr(radius=0.8), _samples(radius_shrinks)),
    "pull fades with the advantage": Design(_gtr(stiffness=0.5), _samples(pull_fades)),
    "pull against the advantage only": Design(_gtr(stiffness=0.5), _samples(against)),
    "pull against sharpening only": Design(_gtr(stiffness=0.5), _samples(sharpening)),
    "radius from the data": Design(_gtr(), _samples(radius_from_the_data)),
    "weights by responsibility": Design(_gtr(), _samples(by_responsibility)),
    "kernel of the mixture policy": Design(_gtr(), _samples(of_the_mixture)),
    "pull relaxes with the batch": Design(_gtr(), _samples(relaxes_with_the_batch)),
    "pull in units of the batch": Design(_gtr(clip=0.2), _samples(in_units_of_the_batch)),
    "twice the pull in units of the batch": Design(
        _gtr(clip=0.2, stiffness=0.5), _samples(in_units_of_the_batch)
    ),
    "wide clip, pull in units of the batch": Design(_gtr(), _samples(in_units_of_the_batch)),
    "clip .2, pull against sharpening": Design(_gtr(clip=0.2, stiffness=0.5), _samples(sharpening)),
    "clip .2, softer": Design(_gtr(clip=0.2, stiffness=0.1)),
    "clip wide above only": Design(_gtr(clip=0.2), _samples(clip_above(1.0))),
    "ppo, clip wide above only": Design(method("ppo", clip=0.2), _samples(clip_above(1.0))),
    "snapshots by distance": Design(_gtr(every=1), _snapshots_by_distance()),
    "critic anchored too": Design(_gtr(), _critic_anchored()),
    "older anchors, 8 apart": Design(_gtr(every=8)),
    "two anchors, 1 apart": Design(_gtr(anchors=2, every=1)),
    "anchors of longer memory": Design(_gtr(decay=0.9)),
}
