"""How far policies move, and how directly: the directional inefficiency of arXiv:2606.03382, read
by us as follows.

On a fixed set of probe states, the distance between two policies is their Hellinger distance,
averaged over the states. That average is a metric, so the distance between a path's ends is at
most the path's length; their quotient is the path's directional efficiency. (KL is no metric, and
its quotient would mean nothing.) The cosine between successive steps tells whether the next step
goes on, turns or goes back.

Half-precision input is computed in float32.
"""  # noqa: D205

import math

from array_api_compat import array_namespace

from gtr.objective.numerics import Array, Number, bounded, widened


def categorical_hellinger(logits_p: Array, logits_q: Array) -> Array:
    """Mean Hellinger distance between categorical policies, sqrt(sum_a (sqrt p - sqrt q)^2 / 2).

    Args:
        logits_p: (..., actions) logits or log-probabilities; -inf for actions that are masked.
        logits_q: the same shape.

    Returns:
        () in [0, 1]: the mean over all leading axes.
    """
    xp = array_namespace(logits_p)
    difference = _root_probabilities(logits_p) - _root_probabilities(logits_q)
    return xp.mean(xp.sqrt(0.5 * xp.sum(difference * difference, axis=-1)))


def multi_categorical_hellinger(logits_p: Array, logits_q: Array) -> Array:
    """Mean Hellinger distance between policies whose action has independent categorical components.

    sqrt(1 - prod_i (1 - h_i^2)), with h_i the distance of component i: affinities multiply.

    Args:
        logits_p: (..., components, actions) logits or log-probabilities; -inf for actions that are
            masked, and where a component has fewer actions than others.
        logits_q: the same shape.

    Returns:
        () in [0, 1]: the mean over all leading axes.
    """
    squares = _joint_squares(_root_probabilities(logits_p), _root_probabilities(logits_q))
    xp = array_namespace(squares)
    return xp.mean(xp.sqrt(squares))


def gaussian_hellinger(mean_p: Array, std_p: Array, mean_q: Array, std_q: Array) -> Array:
    """Mean Hellinger distance between diagonal Gaussian policies, in closed form.

    sqrt(1 - prod_i sqrt(2 s t / (s^2 + t^2)) exp(-(m - n)^2 / (4 (s^2 + t^2)))), over the action's
    components i, for means m, n and standard deviations s, t.

    Args:
        mean_p: (..., components).
        std_p: (..., components), greater than 0.
        mean_q: (..., components).
        std_q: (..., components), greater than 0.

    Returns:
        () in [0, 1]: the mean over all leading axes.
    """
    mean_p, std_p, mean_q, std_q = (widened(x) for x in (mean_p, std_p, mean_q, std_q))
    xp = array_namespace(mean_p)
    # Quotients of small differences keep their digits where two policies nearly agree, which is
    # the usual case; the textbook form above loses them all.
    shift = (mean_p - mean_q) / (std_p + std_q)
    spread = ((std_p - std_q) / (std_p + std_q)) ** 2
    log_affinity = 0.5 * (xp.log1p(-2 * spread / (1 + spread)) - shift * shift / (1 + spread))
    return xp.mean(xp.sqrt(-xp.expm1(xp.sum(log_affinity, axis=-1))))


def directional_efficiency(net: Array | Number, path: Array | Number) -> Array | Number:
    """Net displacement over path length: 1 for a straight way, near 0 for wandering.

    Show it beside `net` and `path`: a policy that does not move at all can be as efficient as one
    that moves far.

    Args:
        net: distance between the path's ends, an array or a Python number.
        path: the sum of its steps' lengths, of the same kind.

    Returns:
        In [0, 1], of the kind given; NaN where the path has no length.
    """
    if isinstance(net, int | float) and isinstance(path, int | float):
        return min(net / path, 1.0) if path > 0 else math.nan
    xp = array_namespace(net, path)
    moved = path > 0
    quotient = net / xp.where(moved, path, 1.0)
    # The triangle inequality holds up to rounding.
    return xp.where(moved, xp.where(quotient > 1, 1.0, quotient), math.nan)


def categorical_step_cosine(logits_before: Array, logits: Array, logits_after: Array) -> Array:
    """Cosine between two successive steps of categorical policies, as vectors of sqrt p.

    Euclidean distance between such vectors is Hellinger distance (times sqrt 2). All states form
    one vector, so that states where the policy moves more count for more.

    Args:
        logits_before: (..., actions) logits or log-probabilities before the first step.
        logits: between the steps, the same shape.
        logits_after: after the second step, the same shape.

    Returns:
        () in [-1, 1]: 1 straight on, 0 at a right angle, -1 straight back; NaN where one of the
        steps is no longer than rounding makes it.
    """
    before, now, after = (_root_probabilities(x) for x in (logits_before, logits, logits_after))
    # Rounding moves a root probability by about eps, which is no step.
    eps = array_namespace(now).finfo(now.dtype).eps
    negligible = 4 * float(eps) * math.sqrt(math.prod(now.shape[:-1]))
    return _cosine(now - before, after - now, negligible)


def multi_categorical_step_cosine(
    logits_before: Array, logits: Array, logits_after: Array
) -> Array:
    """`categorical_step_cosine` where the action has independent categorical components.

    The vectors have an entry for each combination of actions, far too many to write down. The law
    of cosines needs their distances only.

    Args:
        logits_before: (..., components, actions) as in `multi_categorical_hellinger`.
        logits: the same shape.
        logits_after: the same shape.

    Returns:
        () in [-1, 1], or NaN, as there.
    """
    before, now, after = (_root_probabilities(x) for x in (logits_before, logits, logits_after))
    xp = array_namespace(now)
    first, second, both = (
        xp.sum(_joint_squares(p, q)) for p, q in ((before, now), (now, after), (before, after))
    )
    eps = float(xp.finfo(now.dtype).eps)
    negligible = 8 * eps * eps * math.prod(now.shape[:-1])
    moved = (first > negligible) & (second > negligible)
    cosine = (both - first - second) / xp.where(moved, 2 * xp.sqrt(first * second), 1.0)
    return xp.where(moved, bounded(cosine, -1.0, 1.0), math.nan)


def gaussian_step_cosine(mean_before: Array, mean: Array, mean_after: Array, std: Array) -> Array:
    """Cosine between two successive steps of Gaussian policies' means, in standard deviations.

    Args:
        mean_before: (..., components) before the first step.
        mean: between the steps, the same shape.
        mean_after: after the second step, the same shape.
        std: (..., components) of the policy between the steps, greater than 0.

    Returns:
        () as in `categorical_step_cosine`; NaN where one of the steps has no length.
    """
    before, now, after, std = (widened(x) for x in (mean_before, mean, mean_after, std))
    return _cosine((now - before) / std, (after - now) / std, 0.0)


def _root_probabilities(logits: Array) -> Array:
    logits = widened(logits)
    xp = array_namespace(logits)
    weights = xp.exp(0.5 * (logits - xp.max(logits, axis=-1, keepdims=True)))
    return weights / xp.sqrt(xp.sum(weights * weights, axis=-1, keepdims=True))


def _joint_squares(roots_p: Array, roots_q: Array) -> Array:
    """Squared Hellinger distances (...) of independent components (..., components, actions)."""
    xp = array_namespace(roots_p)
    squares = bounded(0.5 * xp.sum((roots_p - roots_q) ** 2, axis=-1), 0.0, 1.0)
    # Of one component it is the square itself. Disjoint components have log 0, and distance 1.
    affinity = xp.where(squares < 1, xp.log1p(-xp.where(squares < 1, squares, 0.0)), -math.inf)
    return -xp.expm1(xp.sum(affinity, axis=-1))


def _cosine(first: Array, second: Array, negligible: float) -> Array:
    xp = array_namespace(first)
    lengths = [xp.sqrt(xp.sum(step * step)) for step in (first, second)]
    moved = (lengths[0] > negligible) & (lengths[1] > negligible)
    cosine = xp.sum(first * second) / xp.where(moved, lengths[0] * lengths[1], 1.0)
    cosine = xp.where(cosine > 1, 1.0, xp.where(cosine < -1, -1.0, cosine))
    return xp.where(moved, cosine, math.nan)
