"""What holds over several suites: one number for a method, or for two of them, and its doubt.

Scores are a tidy table, one row a run, with the columns

    suite    name
    method   name
    seed     the run's seed; the same seed of a suite is the same sequence of worlds
    value    normalised score, higher is better (0 the random policy, 1 the oracle)

The estimators are those of Agarwal et al. (arXiv:2108.13264; the rliable library), with a suite for
a task. A suite counts as much as any other, however many runs it has. Runs are resampled within
each suite (the stratified bootstrap), so an interval says how far other seeds could move the
number, and nothing about suites that are not in the table.

Intervals are expanded percentile intervals as in `statistics`, at the level of the smallest number
of runs in a suite. The degrees of freedom of a stratified mean lie between those of the suite that
carries all the noise, where one does, and the sum over suites, where all are alike. A few runs do
not tell which it is, so the safe end is taken: on four suites of 5 or 10 normal runs, alike or
apart in noise and mean, the intervals hold the truth in 95% to 99% of trials. With 3 runs a suite
it can be 79%: too few.

A method that has no run on one of the suites is an error, not a smaller average: an average over
easier suites compares with nothing. Name the suites that count to leave others out knowingly.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from gtr.errors import GTRError
from gtr.study.statistics import (
    Estimate,
    estimate,
    estimate_iqm,
    iqm,
    known_scores,
    paired_difference,
    probability_of_improvement,
    share_of_wins,
    verdict,
)

COLUMNS = ("suite", "method", "seed", "value")


def common_suites(scores: pd.DataFrame, methods: Iterable[str]) -> tuple[str, ...]:
    """The suites on which each of the methods has a score.

    Args:
        scores: the table of the module.
        methods: their names.

    Returns:
        Names, sorted; say beside an average over them which others were left out.

    Raises:
        GTRError: the table lacks a column, or holds a run twice.
    """
    counted = _counted(scores)
    wanted = set(methods)
    return tuple(
        sorted(
            str(suite)
            for suite, rows in counted.groupby("suite", observed=True)
            if wanted <= set(rows["method"])
        )
    )


def aggregate_iqm(
    scores: pd.DataFrame, method: str, suites: Sequence[str] | None = None
) -> Estimate:
    """Interquartile mean over all runs of all suites.

    The mean of the middle half of the pooled runs, as rliable's `aggregate_iqm`. Where suites
    differ in their numbers of runs, a run weighs the inverse of its suite's. A suite on which all
    goes badly can lie outside the middle half as a whole: look at `suite_table` beside it.

    Args:
        scores: the table of the module.
        method: its name.
        suites: those that count; all of the table where None.

    Returns:
        The estimate, in units of the score; `runs` is the smallest number in a suite.

    Raises:
        GTRError: the method has no score on one of the suites, or the table is not as the module
            says.
    """
    found = _runs(scores, (method,), suites)
    return estimate(_pooled_iqm, *(known_scores(own) for (own,) in found))


def aggregate_improvement(
    scores: pd.DataFrame, method: str, reference: str, suites: Sequence[str] | None = None
) -> Estimate:
    """Chance that a run of the method scores higher than one of the reference on the same suite.

    The share of pairs of runs in which it does (ties count one half), mean over suites, as
    rliable's `probability_of_improvement`. Runs of the two methods are resampled independently.

    Args:
        scores: the table of the module.
        method: its name.
        reference: the other method's.
        suites: those that count; all of the table where None.

    Returns:
        The estimate, in [0, 1]; `runs` is the smallest number of a method in a suite.

    Raises:
        GTRError: as in `aggregate_iqm`, for either method.
    """
    found = _runs(scores, (method, reference), suites)
    return estimate(
        _mean_share_of_wins,
        *(known_scores(own) for own, _ in found),
        *(known_scores(other) for _, other in found),
    )


def aggregate_difference(
    scores: pd.DataFrame, method: str, reference: str, suites: Sequence[str] | None = None
) -> Estimate:
    """Mean over suites of the interquartile mean of differences on the same seeds.

    The mean of the differences of `suite_table`. Differences are not pooled before their middle
    half is taken, because a suite on which the method loses by much would drop out of it.

    Args:
        scores: the table of the module.
        method: its name.
        reference: of the method it is compared with.
        suites: those that count; all of the table where None.

    Returns:
        The estimate, in units of the score; `runs` is the smallest number of common seeds in a
        suite. `statistics.verdict` puts it into words.

    Raises:
        GTRError: as in `aggregate_iqm`, for either method; or the two have no seed in common on
            one of the suites.
    """
    differences = []
    for own, other in _runs(scores, (method, reference), suites):
        common = own.index.intersection(other.index)
        if common.empty:
            raise GTRError(
                f"{method} and {reference} have no seed in common on {own.name}: run both there on "
                "the same seeds, or name the suites that count with suites="
            )
        differences.append(known_scores(own.loc[common] - other.loc[common]))
    return estimate(_mean_iqm, *differences)


def suite_table(scores: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Every method on every suite, and against the reference there.

    Args:
        scores: the table of the module.
        reference: name of the method that the others are compared with.

    Returns:
        One row a suite and method, sorted, the reference first; also where a method has no run:

        - suite, method
        - runs, iqm, iqm_low, iqm_high: number of runs, interquartile mean and its interval.
        - pairs, difference, difference_low, difference_high, verdict: number of seeds in common
          with the reference, paired difference, its interval and what it shows in words.
        - improvement, improvement_low, improvement_high: probability of improvement.

        Numbers are NaN where there is no run or no interval, and in comparisons of the reference
        with itself, whose verdict is "reference".

    Raises:
        GTRError: no run is of the reference, or the table is not as the module says.
    """
    counted = _counted(scores)
    _check_method(counted, reference)
    methods = sorted(set(scores["method"].astype(str)), key=lambda name: (name != reference, name))
    rows = []
    for suite in _suites_of(scores):
        base = _of(counted, suite, reference)
        for method in methods:
            own = _of(counted, suite, method)
            mean = estimate_iqm(own)
            row = {"suite": suite, "method": method, "runs": mean.runs, **_spread("iqm", mean)}
            if method == reference:
                row["verdict"] = "reference"
            else:
                difference = paired_difference(own, base)
                row |= {"pairs": difference.runs, **_spread("difference", difference)}
                row |= {"verdict": verdict(difference)}
                row |= _spread("improvement", probability_of_improvement(own, base))
            rows.append(row)
    ends = ("", "_low", "_high")
    order = ["suite", "method", "runs", *(f"iqm{end}" for end in ends)]
    order += ["pairs", *(f"difference{end}" for end in ends), "verdict"]
    order += [f"improvement{end}" for end in ends]
    return pd.DataFrame(rows, columns=pd.Index(order))


def _pooled_iqm(*suites: np.ndarray, axis: int = -1) -> np.ndarray:
    pooled = np.concatenate(suites, axis=axis)
    runs = [suite.shape[axis] for suite in suites]
    if len(set(runs)) == 1:
        return iqm(pooled, axis=axis)
    # Whole numbers, so that where the middle half begins is not a matter of rounding.
    one = math.lcm(*runs)
    weights = np.repeat([4 * one // number for number in runs], runs)
    pooled = np.moveaxis(pooled, axis, -1)
    order = np.argsort(pooled, axis=-1)
    weights = weights[order]
    reached = np.cumsum(weights, axis=-1)
    quarter = len(suites) * one
    inside = np.minimum(reached, 3 * quarter) - np.maximum(reached - weights, quarter)
    share = np.maximum(inside, 0) / (2 * quarter)
    return np.sum(share * np.take_along_axis(pooled, order, axis=-1), axis=-1)


def _mean_iqm(*suites: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean([iqm(suite, axis=axis) for suite in suites], axis=0)


def _mean_share_of_wins(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
    half = len(samples) // 2
    pairs = zip(samples[:half], samples[half:], strict=True)
    return np.mean([share_of_wins(x, y, axis) for x, y in pairs], axis=0)


def _spread(name: str, found: Estimate) -> dict[str, float]:
    low, high = (math.nan if end is None else end for end in (found.low, found.high))
    return {name: found.value, f"{name}_low": low, f"{name}_high": high}


def _counted(scores: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a score."""
    missing = [name for name in COLUMNS if name not in scores.columns]
    if missing:
        raise GTRError(
            f"the scores have no column {', '.join(missing)}: give {', '.join(COLUMNS)}, one row "
            "a run"
        )
    twice = scores.duplicated(["suite", "method", "seed"])
    if twice.any():
        row = scores[twice].iloc[0]
        raise GTRError(
            f"the scores hold {row['method']} on {row['suite']} with seed {row['seed']} twice: "
            "give one row a run"
        )
    return scores[np.isfinite(scores["value"].to_numpy(dtype=float))]


def _suites_of(scores: pd.DataFrame) -> list[str]:
    return sorted(set(scores["suite"].astype(str)))


def _of(counted: pd.DataFrame, suite: str, method: str) -> pd.Series:
    rows = counted[(counted["suite"] == suite) & (counted["method"] == method)]
    return rows.set_index("seed")["value"].astype(float).rename(suite)


def _check_method(counted: pd.DataFrame, method: str) -> None:
    known = sorted(set(counted["method"].astype(str)))
    if method not in known:
        raise GTRError(f"there is no score of {method!r}; there are {', '.join(known) or 'none'}")


def _runs(
    scores: pd.DataFrame, methods: tuple[str, ...], suites: Sequence[str] | None
) -> list[tuple[pd.Series, ...]]:
    """For each suite in the order of names, the scores of each method by seed."""
    counted = _counted(scores)
    for method in methods:
        _check_method(counted, method)
    wanted = _suites_of(scores) if suites is None else sorted(set(suites))
    if not wanted:
        raise GTRError("no suite is named: give at least one in suites=")
    found = []
    for suite in wanted:
        runs = tuple(_of(counted, suite, method) for method in methods)
        for method, own in zip(methods, runs, strict=True):
            if own.empty:
                raise GTRError(
                    f"{method} has no score on {suite}: run it there, or name the suites that "
                    "count with suites="
                )
        found.append(runs)
    return found
