"""What holds a policy near its anchors: the Gaussian trust region, its rivals, and the gate.

A divergence D >= 0 says how far the policy is from one anchor: `half_square` of the log-ratio of
the sampled action, a KL divergence where the distributions are at hand (both in nats), or
`half_square_of_probabilities`. Every penalty is called with

    divergences: (..., K), one for each anchor
    weights:     (K,), each >= 0, summing to 1

and gives back (...), per sample, to be minimised. All penalties have curvature `stiffness` at the
anchor, in the log-ratio (for probabilities: in the probability), so that equal stiffness compares
like with like. A radius is in the same unit as what is squared. Half-precision input is
computed and returned in float32. Divergences are bounded to [0, 2e18] and stiffness and radius
by `numerics.LIMIT`, so that value and gradient are finite for every input but NaN.
"""

import math
from dataclasses import dataclass

from array_api_compat import array_namespace

from gtr.objective import defaults
from gtr.objective.numerics import (
    LIMIT,
    LOG_DENSITY_CAP,
    Array,
    Number,
    as_like,
    bounded,
    stop_gradient,
)


def half_square(log_ratio: Array) -> Array:
    """The sample form of the divergence, l^2 / 2 in nats; its mean is near KL for near policies.

    Args:
        log_ratio: (...) log pi(a|s) - log anchor(a|s), nats.

    Returns:
        (...), float32 or float64.
    """
    return half_square_within(bounded(log_ratio, -2 * LIMIT, 2 * LIMIT))


def half_square_within(log_ratio: Array) -> Array:
    """`half_square` of log-ratios that are bounded already."""
    return 0.5 * array_namespace(log_ratio).square(log_ratio)


def half_square_of_probabilities(log_prob: Array, reference: Array) -> Array:
    """Half the squared difference of probabilities, d^2 / 2: the distance of CIM-PPO.

    arXiv:2110.10522. No nats: d = pi(a|s) - anchor(a|s) is in units of probability, or of density
    where actions are continuous. Densities above e^20 count as e^20 and have no gradient.

    Args:
        log_prob: (...) log pi(a|s), nats; -inf for an action of probability 0.
        reference: (...) log anchor(a|s), nats, of a shape that broadcasts with it.

    Returns:
        (...), float32 or float64.
    """
    log_prob = bounded(log_prob, -LIMIT, LOG_DENSITY_CAP)
    xp = array_namespace(log_prob)
    difference = xp.exp(log_prob) - xp.exp(bounded(reference, -LIMIT, LOG_DENSITY_CAP))
    return half_square_within(difference)


def _bounded_divergences(divergences: Array) -> Array:
    return bounded(divergences, 0.0, 2 * LIMIT**2)


def _squared_radius(radius: Number) -> Number:
    radius = bounded(radius, 1 / LIMIT, LIMIT)
    return radius * radius


def bounded_stiffness(stiffness: Number) -> Number:
    """A stiffness as the penalties use it: at least 0, at most `LIMIT`."""
    return bounded(stiffness, 0.0, LIMIT)


def _weighted_sum(weights: Array, values: Array) -> Array:
    xp = array_namespace(values)
    if values.shape[-1] == 1:  # a single weight is 1
        return xp.squeeze(values, axis=-1)
    return xp.sum(as_like(weights, values) * values, axis=-1)


def kernel(divergences: Array, weights: Array, radius: Number) -> Array:
    """The mixture of Gaussian kernels, kappa = sum_k w_k exp(-D_k / radius^2), in [0, 1].

    Args:
        divergences: (..., K).
        weights: (K,), summing to 1.
        radius: in nats of log-ratio, or in probability where the divergences are of those.

    Returns:
        (...): 1 at every anchor, 0 far from all of them.
    """
    divergences = _bounded_divergences(divergences)
    xp = array_namespace(divergences)
    return _weighted_sum(weights, xp.exp(-divergences / _squared_radius(radius)))


@dataclass(frozen=True)
class Gaussian:
    """The Gaussian trust region, stiffness radius^2 (1 - kappa): our reading of arXiv:2606.03382.

    Bounded by stiffness radius^2. The pull towards an anchor rises with the log-ratio l, is
    strongest at |l| = radius, and fades beyond. It is the Welsch loss of robust statistics.

    Attributes:
        stiffness: the curvature at the anchor; on the scale of a KL coefficient.
        radius: the log-ratio, in nats, where the pull is strongest (a difference of probabilities,
            where the divergences are of those). `math.inf` gives `Quadratic`.
    """

    stiffness: Number = defaults.STIFFNESS
    radius: Number = defaults.RADIUS

    def __call__(self, divergences: Array, weights: Array) -> Array:
        """The penalty of each sample; see the module for shapes."""
        divergences = _bounded_divergences(divergences)
        squared = _squared_radius(self.radius)
        # 1 - exp(-z) would lose every digit near the anchor, where a policy spends its time.
        depths = -array_namespace(divergences).expm1(-divergences / squared)
        return bounded_stiffness(self.stiffness) * (squared * _weighted_sum(weights, depths))

    @property
    def strongest_pull(self) -> Number:
        """The largest |dP/dl|, at |l| = radius: stiffness radius e^(-1/2)."""
        radius = bounded(self.radius, 1 / LIMIT, LIMIT)
        return bounded_stiffness(self.stiffness) * radius * math.exp(-0.5)


@dataclass(frozen=True)
class Bump:
    """A penalty whose value returns to 0; our reading.

    It is stiffness sum_k w_k D_k exp(-D_k / radius^2): greatest at D = radius^2, repelling beyond.

    Attributes:
        stiffness: the curvature at the anchor.
        radius: as in `Gaussian`, in nats of log-ratio.
    """

    stiffness: Number = defaults.STIFFNESS
    radius: Number = defaults.RADIUS

    def __call__(self, divergences: Array, weights: Array) -> Array:
        """The penalty of each sample; see the module for shapes."""
        divergences = _bounded_divergences(divergences)
        fading = array_namespace(divergences).exp(-divergences / _squared_radius(self.radius))
        return bounded_stiffness(self.stiffness) * _weighted_sum(weights, divergences * fading)

    @property
    def strongest_pull(self) -> Number:
        """The largest |dP/dl|: about .415 stiffness radius, at |l| = .662 radius."""
        u = (5 - math.sqrt(17)) / 4
        peak = math.sqrt(2 * u) * (1 - u) * math.exp(-u)
        radius = bounded(self.radius, 1 / LIMIT, LIMIT)
        return bounded_stiffness(self.stiffness) * radius * peak


@dataclass(frozen=True)
class Quadratic:
    """The monotone penalty, stiffness sum_k w_k D_k: beta KL (arXiv:1707.06347) or beta l^2 / 2.

    Attributes:
        stiffness: the coefficient, which is also the curvature at the anchor.
    """

    stiffness: Number = defaults.STIFFNESS

    def __call__(self, divergences: Array, weights: Array) -> Array:
        """The penalty of each sample; see the module for shapes."""
        divergences = _bounded_divergences(divergences)
        return bounded_stiffness(self.stiffness) * _weighted_sum(weights, divergences)


Penalty = Gaussian | Bump | Quadratic


@dataclass(frozen=True)
class Gate:
    """The kernel as a weight on the surrogate, without gradient: samples far from the anchors
    teach less. Our reading; GIPO (arXiv:2603.03955, from its abstract) gates in place of a clip.

    Attributes:
        radius: as in `Gaussian`, in nats of log-ratio. `math.inf` leaves the surrogate as it is.
    """  # noqa: D205

    radius: Number = defaults.RADIUS

    def __call__(self, divergences: Array, weights: Array) -> Array:
        """The factor on each sample's surrogate, (...), in [0, 1] and constant to gradients."""
        return stop_gradient(kernel(divergences, weights, self.radius))
