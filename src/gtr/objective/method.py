"""A method is one choice of surrogate, penalty, gate and anchor; `evaluate` applies it to samples.

The loss to minimise is

    mean(evaluation.penalty) - mean(evaluation.surrogate) - entropy bonus

with the two means taken apart, and over valid tokens only where there is a mask. Then a stiffness
of 0 adds exactly 0 to PPO's loss and to its gradient.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple

from array_api_compat import array_namespace

from gtr.errors import GTRError
from gtr.objective.anchors import Anchor, Behaviour
from gtr.objective.numerics import (
    LIMIT,
    Array,
    Number,
    bounded,
    ratio,
    stop_gradient,
)
from gtr.objective.penalties import (
    Gate,
    Penalty,
    bounded_stiffness,
    half_square_of_probabilities,
    half_square_within,
    kernel,
)
from gtr.objective.surrogates import DecoupledClip, Surrogate, bounded_clip

SMALLEST_STIFFNESS = 1e-6
LARGEST_STIFFNESS = 1e6


@dataclass(frozen=True)
class Method:
    """One point in the space of methods.

    Attributes:
        name: for people and tables.
        surrogate: what the policy gains.
        penalty: what holds it near the anchors, or None.
        gate: a weight on the surrogate that falls away from the anchors, or None.
        anchor: which earlier policies hold it; needed by a penalty, a gate and `DecoupledClip`.
        divergence: "sample" for half the squared log-ratio of the sampled action; "probability"
            for half the squared difference of its probabilities; "exact" where the caller gives
            KL(anchor_k || policy) of each state.
        target_kl: in nats; where given, the penalty's stiffness follows it (see `adapt`).
        relative: whether the penalty's stiffness counts in units of the batch's advantages
            (see `batch_stiffness`).
    """

    name: str
    surrogate: Surrogate
    penalty: Penalty | None = None
    gate: Gate | None = None
    anchor: Anchor | None = None
    divergence: Literal["sample", "probability", "exact"] = "sample"
    target_kl: Number | None = None
    relative: bool = False


class Evaluation(NamedTuple):
    """What `evaluate` says about each sample; None where the method has no such part.

    Attributes:
        surrogate: (...) to maximise; already gated.
        penalty: (...) to minimise; 0 where the method has none.
        log_ratio: (...) log pi - log b, nats.
        kernel: (...) in [0, 1], without gradient; of the penalty's radius, else of the gate's.
        divergences: (..., K) nats; half squared probabilities for a "probability" method.
        anchor_log_ratios: (..., K) log pi - log anchor_k, nats.
        clipped: (...) booleans: whether the ratio is farther from 1 than the clip range.
    """

    surrogate: Array
    penalty: Array
    log_ratio: Array
    kernel: Array | None
    divergences: Array | None
    anchor_log_ratios: Array | None
    clipped: Array | None

    def with_behaviour(self) -> "Evaluation":
        """With the behaviour policy as one more of `anchor_log_ratios`, (..., K + 1).

        Their spread then says something where each sample was compared with one anchor alone.
        """
        if self.anchor_log_ratios is None:
            return self
        xp = array_namespace(self.log_ratio)
        pair = (self.log_ratio[..., None], self.anchor_log_ratios)
        return self._replace(anchor_log_ratios=xp.concat(pair, axis=-1))


def kernel_radius(method: Method) -> Number | None:
    """The radius of the penalty, else of the gate, else None."""
    own = getattr(method.penalty, "radius", None)
    return own if own is not None else getattr(method.gate, "radius", None)


def with_stiffness(penalty: Penalty, stiffness: Number | None) -> Penalty:
    """`penalty` with another stiffness; `penalty` itself where that is None."""
    return penalty if stiffness is None else replace(penalty, stiffness=stiffness)


def evaluate(
    method: Method,
    *,
    log_prob: Array,
    behaviour_log_prob: Array,
    advantage: Array,
    anchor_log_probs: Array | None = None,
    anchor_weights: Any = None,
    divergence: Array | None = None,
    stiffness: Number | None = None,
) -> Evaluation:
    """The parts of the objective, for each sample.

    Half-precision input is computed in float32. Gradients flow through `log_prob` and
    `divergence`; values and gradients are finite for every input but NaN, -inf included.

    Args:
        method: the method.
        log_prob: (...) log pi(a|s) of the present policy, nats.
        behaviour_log_prob: (...) log b(a|s) of the policy that collected the sample, nats.
        advantage: (...).
        anchor_log_probs: (..., K) log anchor_k(a|s), nats, newest first. Not needed for the
            `Behaviour` anchor, nor by an exact divergence.
        anchor_weights: (K,), summing to 1, where each sample is compared with some of the anchors
            only; the anchor's own weights where None. Penalties and kernels are linear in the
            weights, so anchors drawn by their weights give the mixture's penalty on average.
        divergence: (..., K) KL(anchor_k || policy), nats; for an "exact" method only.
        stiffness: replaces the penalty's, as `adapt` and `batch_stiffness` give it.

    Returns:
        An `Evaluation`.

    Raises:
        GTRError: the method is invalid, or an array that it needs is missing or of wrong shape.
    """
    validate(method)
    # Once, not in each difference: to PyTorch's backward pass a bound is five operations.
    log_prob = bounded(log_prob, -LIMIT, LIMIT)
    log_ratio = log_prob - bounded(behaviour_log_prob, -LIMIT, LIMIT)

    if anchor_log_probs is None and isinstance(method.anchor, Behaviour):
        anchor_log_probs = behaviour_log_prob[..., None]
    anchor_log_ratios = None
    if method.anchor is not None and anchor_log_probs is not None:
        _check_anchor_axis(
            "anchor_log_probs", anchor_log_probs, log_prob, method.anchor, anchor_weights
        )
        anchor_log_ratios = log_prob[..., None] - bounded(anchor_log_probs, -LIMIT, LIMIT)

    if isinstance(method.surrogate, DecoupledClip):
        if anchor_log_ratios is None:
            raise GTRError(f"method {method.name!r} clips around its anchor: give anchor_log_probs")
        clipping_log_ratio = anchor_log_ratios[..., 0]
        surrogate = method.surrogate(log_ratio, advantage, clipping_log_ratio)
    else:
        clipping_log_ratio = log_ratio
        surrogate = method.surrogate(log_ratio, advantage)

    divergences = None
    if method.penalty is not None or method.gate is not None:
        divergences = _divergences(
            method, log_prob, anchor_log_probs, anchor_log_ratios, divergence, anchor_weights
        )
    xp = array_namespace(surrogate)
    penalty, kappa = xp.zeros_like(surrogate), None
    if divergences is not None and method.anchor is not None:
        weights = method.anchor.weights() if anchor_weights is None else anchor_weights
        if method.gate is not None:
            surrogate = surrogate * method.gate(divergences, weights)
        if method.penalty is not None:
            penalty = with_stiffness(method.penalty, stiffness)(divergences, weights)
        radius = kernel_radius(method)
        if radius is not None:
            kappa = kernel(stop_gradient(divergences), weights, radius)

    clipped = None
    clip = getattr(method.surrogate, "clip", None)
    if clip is not None:
        clipped = xp.abs(ratio(stop_gradient(clipping_log_ratio)) - 1) > bounded_clip(clip)
    return Evaluation(
        surrogate=surrogate,
        penalty=penalty,
        log_ratio=log_ratio,
        kernel=kappa,
        divergences=divergences,
        anchor_log_ratios=anchor_log_ratios,
        clipped=clipped,
    )


def adapt(stiffness: Number, kl: Number, target_kl: Number) -> Number:
    """PPO-KL's rule for its coefficient: arXiv:1707.06347, section 4.

    Halves the stiffness where kl < target / 1.5, doubles it where kl > 1.5 target, and keeps it
    within [1e-6, 1e6], so that a long quiet spell cannot drive it to a 0 that it never leaves.

    Args:
        stiffness: the present coefficient.
        kl: of the behaviour policy from the policy after the update, nats.
        target_kl: nats.

    Returns:
        The next coefficient.
    """
    factor = (1.0 + (kl > 1.5 * target_kl)) * (1.0 - 0.5 * (kl < target_kl / 1.5))
    return bounded(stiffness * factor, SMALLEST_STIFFNESS, LARGEST_STIFFNESS)


def batch_stiffness(
    method: Method,
    advantage: Array,
    *,
    mask: Array | None = None,
    stiffness: Number | None = None,
) -> Number | None:
    """The stiffness for one batch: of a `relative` method, times the batch's RMS advantage.

    Advantages that are standardised in each batch have a root mean square (RMS) of 1, and need
    none of this. On any other scale a batch without reward has small advantages. A stiffness that
    stays as it is then outweighs them, and the entropy bonus too, which is all there is to bring
    exploration back. Our reading of "relaxing"; docs/designs.md says what it changed.

    Args:
        method: the method.
        advantage: (...) of the whole batch, not of a minibatch alone.
        mask: (...) booleans (or 0 and 1): the samples that count. All where None.
        stiffness: replaces the penalty's, as in `evaluate`.

    Returns:
        What to give `evaluate` and `diagnostics` as `stiffness`: for a relative method a scalar of
        `advantage`'s library, finite for every input but NaN; else `stiffness` as it was given.
    """
    if not method.relative or method.penalty is None:
        return stiffness
    advantage = bounded(stop_gradient(advantage), -LIMIT, LIMIT)
    xp = array_namespace(advantage)
    keep = xp.ones_like(advantage, dtype=xp.bool) if mask is None else mask != 0
    square = xp.sum(xp.where(keep, advantage * advantage, 0.0))
    number = bounded(xp.sum(xp.astype(keep, advantage.dtype)), 1.0, math.inf)
    own = bounded_stiffness(method.penalty.stiffness if stiffness is None else stiffness)
    return own * xp.sqrt(square / number)


def validate(method: Method) -> None:
    """Checks a method's structure, and those of its numbers that are Python numbers.

    Arrays and JAX tracers are not looked at: their values may not exist yet.

    Raises:
        GTRError: one line that says what is wrong and how to mend it.
    """
    for part in (method, method.surrogate, method.penalty, method.gate, method.anchor):
        for name, value in _fields(part):
            if name in _RULES and not (name == "target_kl" and value is None):
                _check_number(method.name, name, value)
    if method.divergence not in ("sample", "probability", "exact"):
        raise GTRError(
            f"method {method.name!r}: divergence is {method.divergence!r}; "
            'use "sample", "probability" or "exact"'
        )
    if method.anchor is None:
        for role, part in (("penalty", method.penalty), ("gate", method.gate)):
            if part is not None:
                raise GTRError(
                    f"method {method.name!r} has a {role} but no anchor to measure it from: "
                    "add anchor=Behaviour() or anchor=Recent()"
                )
        if isinstance(method.surrogate, DecoupledClip):
            raise GTRError(
                f"method {method.name!r}: DecoupledClip clips around an anchor; "
                "add anchor=Average(), or use Clip"
            )
    if method.target_kl is not None and method.penalty is None:
        raise GTRError(
            f"method {method.name!r} has a target_kl but no penalty to adapt: "
            "add penalty=Quadratic(), or leave target_kl out"
        )


_RULES: dict[str, tuple[str, Any]] = {
    "stiffness": ("a finite number, 0 or more", lambda x: 0 <= x < math.inf),
    "radius": ("greater than 0 (math.inf for the monotone penalty)", lambda x: x > 0),
    "clip": ("a finite number greater than 0", lambda x: 0 < x < math.inf),
    "decay": ("greater than 0 and at most 1", lambda x: 0 < x <= 1),
    "target_kl": ("a finite number greater than 0", lambda x: 0 < x < math.inf),
    "count": ("a whole number, 1 or more", lambda x: isinstance(x, int) and x >= 1),
    "every": ("a whole number, 1 or more", lambda x: isinstance(x, int) and x >= 1),
}


def _check_number(method_name: str, name: str, value: Any) -> None:
    rule, holds = _RULES[name]
    is_array = hasattr(value, "dtype") and not isinstance(value, float)
    if is_array:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not holds(value):
        raise GTRError(f"method {method_name!r}: {name} is {value!r}; it must be {rule}")


def _fields(part: Any) -> Iterator[tuple[str, Any]]:
    if part is not None:
        for field in fields(part):
            yield field.name, getattr(part, field.name)


def _check_anchor_axis(
    name: str, values: Array, log_prob: Array, anchor: Anchor, weights: Array | None
) -> None:
    count = anchor.count if weights is None else len(weights)
    wanted = (*log_prob.shape, count)
    if tuple(values.shape) != wanted:
        raise GTRError(
            f"{name} has shape {tuple(values.shape)}; give {wanted}, "
            f"one last axis for the {count} anchors of {type(anchor).__name__}"
        )


def _divergences(
    method: Method,
    log_prob: Array,
    anchor_log_probs: Array | None,
    anchor_log_ratios: Array | None,
    exact: Array | None,
    weights: Array | None,
) -> Array:
    assert method.anchor is not None  # validate() has seen to it
    if method.divergence == "exact":
        if exact is None:
            raise GTRError(
                f"method {method.name!r} uses the exact divergence: give divergence, "
                "KL(anchor || policy) of each state"
            )
        _check_anchor_axis("divergence", exact, log_prob, method.anchor, weights)
        return exact
    if exact is not None:
        raise GTRError(
            f"method {method.name!r} computes its own divergence from samples: "
            'leave divergence out, or use a method with divergence="exact"'
        )
    if anchor_log_ratios is None:
        raise GTRError(f"method {method.name!r} needs its anchors: give anchor_log_probs")
    if method.divergence == "probability":
        return half_square_of_probabilities(log_prob[..., None], anchor_log_probs)
    return half_square_within(anchor_log_ratios)
