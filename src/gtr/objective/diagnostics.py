"""What a batch says about its trust region, as scalars for the log."""

import math

from array_api_compat import array_namespace

from gtr.objective.method import Evaluation, Method, kernel_radius, with_stiffness
from gtr.objective.numerics import (
    LIMIT,
    LOG_RATIO_CAP,
    Array,
    Number,
    bounded,
    ratio,
    stop_gradient,
)
from gtr.objective.penalties import bounded_stiffness


def diagnostics(
    method: Method,
    evaluation: Evaluation,
    *,
    advantage: Array | None = None,
    mask: Array | None = None,
    stiffness: Number | None = None,
) -> dict[str, Array]:
    """Scalars that describe one batch, without gradient.

    All are finite for every input but NaN, or NaN where the method has no such part. Log-ratios
    count up to 20 nats (`numerics.LOG_RATIO_CAP`), so one action of probability 0 does not
    drown the rest.

    Args:
        method: the method that was evaluated.
        evaluation: what `evaluate` returned.
        advantage: (...), as `evaluate` was given it.
        mask: (...) booleans (or 0 and 1): the samples that count. All where None.
        stiffness: replaces the penalty's, as in `evaluate`.

    Returns:
        Scalars of `evaluation.surrogate`'s library and type:

        - kl: KL(behaviour, policy) in nats, by the estimator r - 1 - log r of Schulman
          (http://joschu.net/blog/kl-approx.html), which is never negative.
        - ratio_max: the largest ratio to the behaviour policy.
        - clip_fraction: share of samples whose ratio is farther from 1 than the clip range.
        - kernel_mean: mean of the Gaussian kernel.
        - redescended_fraction: share of samples beyond the radius of their nearest anchor, so
          that every anchor's pull on them has begun to fade.
        - redescended_advantage: those samples' share of the sum of |advantage|; above
          redescended_fraction where it is strong advantages that have carried samples away.
        - escape_advantage: the surrogate gradient above which the penalty cannot hold a sample;
          stiffness radius e^(-1/2) for `Gaussian`. The gradient is that in sqrt(2 D): in the
          log-ratio, unless the method's divergence is another.
        - anchor_spread: standard deviation over anchors of a sample's log-probability, nats,
          mean over samples; 0 with one anchor.
        - stiffness: the penalty's present coefficient.
    """
    log_ratio = bounded(stop_gradient(evaluation.log_ratio), -LOG_RATIO_CAP, LOG_RATIO_CAP)
    xp = array_namespace(log_ratio)
    like = stop_gradient(evaluation.surrogate)
    keep = xp.ones_like(log_ratio, dtype=xp.bool) if mask is None else mask != 0
    number = xp.sum(xp.astype(keep, like.dtype))

    def mean(values: Array) -> Array:
        values = xp.where(keep, xp.astype(values, like.dtype), 0.0)
        return xp.sum(values) / bounded(number, 1.0, math.inf)

    def scalar(value: Number) -> Array:
        return 0 * number + value

    absent = scalar(math.nan)
    radius = kernel_radius(method)
    nearest_is_far = spread = borne = None
    if evaluation.divergences is not None and radius is not None:
        nearest = xp.min(evaluation.divergences, axis=-1)
        nearest_is_far = nearest > 0.5 * bounded(radius, 1 / LIMIT, LIMIT) ** 2
        if advantage is not None:
            strength = bounded(xp.abs(stop_gradient(advantage)), 0.0, LIMIT)
            borne = mean(xp.where(nearest_is_far, strength, 0.0)) / bounded(
                mean(strength), 1 / LIMIT, LIMIT
            )
    if evaluation.anchor_log_ratios is not None:
        anchor_log_ratios = stop_gradient(evaluation.anchor_log_ratios)
        capped = bounded(anchor_log_ratios, -LOG_RATIO_CAP, LOG_RATIO_CAP)
        spread = xp.std(capped, axis=-1)
    penalty = None if method.penalty is None else with_stiffness(method.penalty, stiffness)
    pull = getattr(penalty, "strongest_pull", None)
    return {
        "kl": mean(bounded(xp.expm1(log_ratio) - log_ratio, 0.0, math.inf)),
        "ratio_max": xp.max(xp.where(keep, ratio(log_ratio), 0.0)),
        "clip_fraction": absent if evaluation.clipped is None else mean(evaluation.clipped),
        "kernel_mean": absent if evaluation.kernel is None else mean(evaluation.kernel),
        "redescended_fraction": absent if nearest_is_far is None else mean(nearest_is_far),
        "redescended_advantage": absent if borne is None else borne,
        "escape_advantage": absent if pull is None else scalar(pull),
        "anchor_spread": absent if spread is None else mean(spread),
        "stiffness": absent if penalty is None else scalar(bounded_stiffness(penalty.stiffness)),
    }
