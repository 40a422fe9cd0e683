"""What a policy gains, per sample: surrogates of the return, to be maximised.

Every surrogate is called with

    log_ratio: (...) log pi(a|s) - log b(a|s), in nats, b being the policy that collected the data
    advantage: (...) in units of reward (or scaled; the learner decides)

and gives back (...). Half-precision input is computed and returned in float32. Ratios are capped
(`numerics.LOG_RATIO_CAP`) and advantages bounded (`numerics.LIMIT`), so that value and gradient are
finite for every input but NaN.
"""

from dataclasses import dataclass

from array_api_compat import array_namespace

from gtr.objective.numerics import (
    LIMIT,
    SMALLEST_CLIP,
    Array,
    Number,
    bounded,
    ratio,
    stop_gradient,
)


def _bounded_advantage(advantage: Array) -> Array:
    return bounded(advantage, -LIMIT, LIMIT)


def bounded_clip(clip: Number) -> Number:
    """A clip range as the surrogates use it: at least 1e-6, at most `LIMIT`."""
    return bounded(clip, SMALLEST_CLIP, LIMIT)


@dataclass(frozen=True)
class Clip:
    """PPO's clipped surrogate, min(r A, clip(r, 1 - c, 1 + c) A): arXiv:1707.06347, equation 7.

    Attributes:
        clip: c, how far the ratio may move from 1 while a move still pays.
    """

    clip: Number = 0.2

    def __call__(self, log_ratio: Array, advantage: Array) -> Array:
        """The surrogate of each sample; see the module for shapes."""
        r, a, c = ratio(log_ratio), _bounded_advantage(advantage), bounded_clip(self.clip)
        return array_namespace(r).minimum(r * a, bounded(r, 1 - c, 1 + c) * a)


@dataclass(frozen=True)
class Unclipped:
    """The importance-weighted advantage r A: arXiv:1707.06347, equation 6."""

    def __call__(self, log_ratio: Array, advantage: Array) -> Array:
        """The surrogate of each sample; see the module for shapes."""
        return ratio(log_ratio) * _bounded_advantage(advantage)


@dataclass(frozen=True)
class SPO:
    """Simple Policy Optimization, r A - |A| (r - 1)^2 / (2 c): arXiv:2401.16025.

    Attributes:
        clip: c, the distance of the ratio from 1 at which the surrogate is greatest.
    """

    clip: Number = 0.2

    def __call__(self, log_ratio: Array, advantage: Array) -> Array:
        """The surrogate of each sample; see the module for shapes."""
        r, a, c = ratio(log_ratio), _bounded_advantage(advantage), bounded_clip(self.clip)
        return r * a - array_namespace(a).abs(a) * (r - 1) * (r - 1) / (2 * c)


@dataclass(frozen=True)
class DecoupledClip:
    """PPO's clip around a proximal policy q that is not the behaviour policy b.

    min(pi/b A, q/b clip(pi/q, 1 - c, 1 + c) A): arXiv:2110.00641. With q = b this is
    `Clip`, to the last bit.

    Attributes:
        clip: c, how far pi/q may move from 1 while a move still pays.
    """

    clip: Number = 0.2

    def __call__(self, log_ratio: Array, advantage: Array, proximal_log_ratio: Array) -> Array:
        """The surrogate of each sample.

        Args:
            log_ratio: (...) log pi - log b, nats.
            advantage: (...).
            proximal_log_ratio: (...) log pi - log q, nats.

        Returns:
            (...).
        """
        a, c = _bounded_advantage(advantage), bounded_clip(self.clip)
        # q/b does not depend on pi, though the two log-ratios it is made from do.
        staleness = ratio(stop_gradient(log_ratio - proximal_log_ratio))
        clipped = staleness * bounded(ratio(proximal_log_ratio), 1 - c, 1 + c)
        r = ratio(log_ratio)
        return array_namespace(r).minimum(r * a, clipped * a)


Surrogate = Clip | Unclipped | SPO | DecoupledClip
