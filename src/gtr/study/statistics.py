"""From scores of runs to statements about methods, with the doubt that a few seeds leave.

Estimators are those of Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical
Precipice" (arXiv:2108.13264; the rliable library): the interquartile mean over runs, the
probability of improvement, performance profiles. The unit is the run, never the phase. A study has
one task, so its stratified bootstrap is the plain bootstrap over runs. Several studies together are
the business of `aggregate`.

Intervals are percentile bootstrap intervals at the level that makes them hold with few runs: the
tails are Phi(-sqrt(n / (n - 1)) t) with t the quantile of Student's distribution with n - 1 degrees
of freedom (the expanded percentile interval of Hesterberg, "What Teachers Should Know About the
Bootstrap", arXiv:1411.5279). Plain percentile intervals, which rliable uses, are too short: with 5
normal runs they hold the interquartile mean 90% of the time where 95% is promised, these 94%.

The resampling is seeded and blind to the order of runs, so the same scores give the same report.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 5000
CURVE_RESAMPLES = 1000
BOOTSTRAP_SEED = 20240607
CLAIM_RUNS = 10
"""Fewer runs than this are a smoke check, not grounds for a claim."""

NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval.

    Attributes:
        value: the estimate; NaN where no run has a score.
        low: lower end of the interval; None with fewer than two runs, which show no spread.
        high: upper end; likewise.
        runs: how many runs it rests on.
    """

    value: float
    low: float | None
    high: float | None
    runs: int


def iqm(scores: np.ndarray, axis: int = 0) -> np.ndarray:
    """Interquartile mean: the mean without the lowest and the highest quarter.

    Args:
        scores: runs along `axis`.
        axis: the axis of runs.

    Returns:
        `scores` without that axis.
    """
    return stats.trim_mean(scores, 0.25, axis=axis)


def estimate_iqm(scores: pd.Series | np.ndarray) -> Estimate:
    """Interquartile mean over runs, with its interval.

    Args:
        scores: one a run; NaN where a run has none, and then it does not count.
    """
    return estimate(iqm, known_scores(scores))


def paired_difference(scores: pd.Series, reference: pd.Series) -> Estimate:
    """Interquartile mean of the differences between two methods on the same seeds.

    The same seed is the same sequence of worlds, so differences are free of the luck of the
    draw and their interval is shorter than that of the methods apart.

    Args:
        scores: of the method, indexed by seed.
        reference: of the method it is compared with, indexed by seed.

    Returns:
        The estimate; `runs` counts the seeds where both have a score.
    """
    common = scores.index.intersection(reference.index)
    return estimate(iqm, known_scores(scores.loc[common] - reference.loc[common]))


def probability_of_improvement(
    scores: pd.Series | np.ndarray, reference: pd.Series | np.ndarray
) -> Estimate:
    """Chance that a run of the method scores higher than a run of the reference.

    The share of all pairs of runs in which it does, where a tie counts one half (the
    Mann-Whitney statistic); runs of the two methods are resampled independently.

    Args:
        scores: of the method's runs; higher is better.
        reference: of the other method's runs.

    Returns:
        The estimate; `runs` is the smaller number of the two.
    """
    return estimate(share_of_wins, known_scores(scores), known_scores(reference))


def performance_profile(
    scores: pd.Series | np.ndarray, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of runs that score above each threshold.

    Args:
        scores: one a run.
        thresholds: shape (thresholds,).

    Returns:
        The share, and the lower and upper end of its interval, each of shape (thresholds,). With
        fewer than two runs the ends are NaN.
    """
    known = known_scores(scores)
    above = (known[:, None] > thresholds).astype(float)
    return _with_band(lambda sample, axis=0: sample.mean(axis=axis), above)


def iqm_curve(runs: np.ndarray, band: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Interquartile mean over runs at each point of a curve.

    Args:
        runs: shape (runs, points); NaN where a run has no value.
        band: whether the interval is wanted; the mean alone is much faster.

    Returns:
        The mean, and the lower and upper end of its interval at each point by itself, each of
        shape (points,). The ends are NaN without `band`, and where fewer than two runs have a
        value.
    """
    middle = np.full(runs.shape[1], np.nan)
    low, high = middle.copy(), middle.copy()
    present = np.isfinite(runs)
    # Points that the same runs share are resampled together.
    patterns, owner = np.unique(present, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        points = np.flatnonzero(owner == number)
        if pattern.any():
            block = runs[np.ix_(pattern, points)]
            if band:
                middle[points], low[points], high[points] = _with_band(iqm, block)
            else:
                middle[points] = iqm(block)
    return middle, low, high


def verdict(difference: Estimate) -> str:
    """What a paired difference shows, in words.

    Args:
        difference: method minus reference on a score where higher is better.

    Returns:
        "better", "worse", "no difference shown" where the interval holds 0, or a word on why
        nothing can be said.
    """
    if not difference.runs:
        return "no common seeds"
    if difference.low is None or difference.high is None:
        return "one seed, no interval"
    if difference.low > 0:
        return "better"
    if difference.high < 0:
        return "worse"
    return NO_DIFFERENCE


def known_scores(scores: pd.Series | np.ndarray) -> np.ndarray:
    """The scores that count: without NaN and Inf, in an order that does not depend on the runs'.

    Args:
        scores: one a run.

    Returns:
        Shape (runs that count,), ascending.
    """
    values = np.asarray(scores, dtype=float)
    return np.sort(values[np.isfinite(values)])


def share_of_wins(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Share of the pairs of an `x` and a `y` in which `x` is larger; a tie counts one half.

    Args:
        x: runs along `axis`.
        y: runs along `axis`, of which there may be another number.
        axis: the axis of runs.

    Returns:
        `x` without that axis, in [0, 1].
    """
    x, y = np.moveaxis(x, axis, -1)[..., :, None], np.moveaxis(y, axis, -1)[..., None, :]
    return ((x > y) + 0.5 * (x == y)).mean(axis=(-2, -1))


def estimate(statistic: Callable[..., np.ndarray], *samples: np.ndarray) -> Estimate:
    """A statistic of independent samples, with its interval.

    Each sample is resampled by itself, so with a sample a task it is the stratified bootstrap. The
    interval's level is that of the smallest sample.

    Args:
        statistic: called with all samples and with `axis`, the axis of their runs.
        *samples: each of shape (runs,); the numbers of runs may differ.

    Returns:
        The estimate; `runs` is the smallest sample's number.
    """
    runs = min(map(len, samples))
    if not runs:
        return Estimate(float("nan"), None, None, 0)
    low, high = _interval(statistic, *samples) if runs > 1 else (None, None)
    return Estimate(float(statistic(*samples)), low, high, runs)


def _level(runs: int) -> float:
    tail = (1 - CONFIDENCE) / 2
    reach = stats.t.isf(tail, runs - 1) * np.sqrt(runs / (runs - 1))
    return float(1 - 2 * stats.norm.sf(reach))


def _interval(statistic: Callable[..., np.ndarray], *samples: np.ndarray) -> tuple[float, float]:
    found = _bootstrap(statistic, samples, _level(min(map(len, samples))), RESAMPLES)
    return float(found[0]), float(found[1])


def _with_band(
    statistic: Callable[..., np.ndarray], runs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    middle = statistic(runs, axis=0)
    if len(runs) < 2:
        return middle, np.full_like(middle, np.nan), np.full_like(middle, np.nan)
    low, high = _bootstrap(statistic, (runs,), _level(len(runs)), CURVE_RESAMPLES)
    return middle, low, high


def _bootstrap(
    statistic: Callable[..., np.ndarray],
    samples: tuple[np.ndarray, ...],
    level: float,
    resamples: int,
) -> tuple[np.ndarray, np.ndarray]:
    found = stats.bootstrap(
        samples,
        statistic,
        axis=0,
        vectorized=True,
        method="percentile",
        confidence_level=level,
        n_resamples=resamples,
        batch=1000,
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )
    return found.confidence_interval.low, found.confidence_interval.high
