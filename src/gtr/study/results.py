"""All numbers of a comparison, computed once; the report, table and files only show them."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from gtr.study.records import ORACLE, RANDOM, Comparison
from gtr.study.scores import run_scores, summaries
from gtr.study.statistics import (
    BOOTSTRAP_SEED,
    CLAIM_RUNS,
    CONFIDENCE,
    NO_DIFFERENCE,
    RESAMPLES,
    Estimate,
    estimate_iqm,
    paired_difference,
    probability_of_improvement,
    verdict,
)


@dataclass(frozen=True)
class Results:
    """What a comparison shows.

    Attributes:
        comparison: what the numbers come from.
        scores: columns method, seed, metric, value; finished runs only.
        estimates: interquartile mean of each metric over runs, by method, then metric.
        reference: the method that the others are compared with: `ppo` if it takes part, else
            the first. None where there is nothing to compare.
        metric: the score that decides: `normalised` where the oracle and the random policy allow
            it, else `later_return`.
        improvement: probability that a run of the method beats a run of the reference on
            `metric`, by method.
        differences: paired difference to the reference on `metric`, by method.
        verdicts: what that difference shows, in words, by method.
        notes: what a reader must know before believing the numbers.
        finished: whether every run of every arm that was asked for is over.
    """

    comparison: Comparison
    scores: pd.DataFrame
    estimates: dict[str, dict[str, Estimate]]
    reference: str | None
    metric: str
    improvement: dict[str, Estimate]
    differences: dict[str, Estimate]
    verdicts: dict[str, str]
    notes: tuple[str, ...]
    finished: bool

    def of(self, method: str, metric: str) -> pd.Series:
        """The runs' scores of one method on one metric, indexed by seed, without the undefined."""
        rows = self.scores[(self.scores["method"] == method) & (self.scores["metric"] == metric)]
        return rows.set_index("seed")["value"].dropna()

    @property
    def learners(self) -> tuple[str, ...]:
        """The methods, in order, that have at least one iteration."""
        return tuple(m for m in self.comparison.methods if m in self.comparison.arms)


def evaluate(comparison: Comparison) -> Results:
    """Score every finished run and compare the methods.

    Args:
        comparison: what was read from a directory; it may be unfinished.

    Returns:
        All numbers of the report.
    """
    scores = _score(comparison)
    estimates = {
        str(method): {
            str(metric): estimate_iqm(values["value"])
            for metric, values in rows.groupby("metric", sort=False)
        }
        for method, rows in scores.groupby("method", sort=False)
    }
    scored = [m for m in comparison.methods if m in estimates]
    reference = "ppo" if "ppo" in comparison.methods else comparison.methods[0]
    metric = "later_return"
    if scored and all(_runs(estimates[m], "normalised") for m in scored):
        metric = "normalised"
    rivals = [m for m in scored if m != reference]
    draft = Results(
        comparison=comparison,
        scores=scores,
        estimates=estimates,
        reference=reference if reference in estimates and rivals else None,
        metric=metric,
        improvement={},
        differences={},
        verdicts={},
        notes=tuple(_notes(comparison, scored, reference, estimates, metric)),
        finished=not _open_work(comparison),
    )
    for method in rivals if draft.reference else []:
        own, other = draft.of(method, metric), draft.of(reference, metric)
        draft.improvement[method] = probability_of_improvement(own, other)
        draft.differences[method] = paired_difference(own, other)
        draft.verdicts[method] = verdict(draft.differences[method])
    return draft


def headline(results: Results) -> str:
    """The answer in one sentence, losses as plainly as wins."""
    comparison = results.comparison
    if comparison.single:
        return (
            "One training by itself: its curves and health are below. It takes a comparison to "
            "say whether a method is better."
        )
    if not results.reference:
        return "Nothing can be compared yet: fewer than two methods have finished a run."
    groups: dict[str, list[str]] = {}
    for method, word in results.verdicts.items():
        groups.setdefault(word, []).append(method)
    parts = []
    for word, phrase in (
        ("better", "better than {reference}: {methods}"),
        ("worse", "worse than {reference}: {methods}"),
        (NO_DIFFERENCE, "no difference shown from {reference}: {methods}"),
        ("one seed, no interval", "one seed, so nothing is shown: {methods}"),
        ("no common seeds", "no seed in common with {reference}: {methods}"),
    ):
        if word in groups:
            parts.append(
                phrase.format(reference=results.reference, methods=", ".join(groups[word]))
            )
    sentence = "; ".join(parts)
    runs = min(difference.runs for difference in results.differences.values())
    if runs < CLAIM_RUNS:
        sentence = f"smoke check with {runs} seed{'s' * (runs != 1)}: {sentence}"
    return sentence[0].upper() + sentence[1:] + "."


def as_json(results: Results) -> dict[str, Any]:
    """The results as what JSON can hold; numbers that are not defined are null.

    Args:
        results: of a comparison.

    Returns:
        Provenance, the verdict, and per method its scores with intervals, its comparison with
        the reference and its configuration.
    """
    comparison = results.comparison
    return {
        "suite": comparison.suite,
        "size": comparison.size,
        "phases": comparison.phases,
        "phase_steps": comparison.phase_steps,
        "seeds": list(comparison.seeds),
        "command": comparison.command,
        "versions": comparison.versions,
        "finished": results.finished,
        "notes": list(results.notes),
        "statistics": {
            "estimate": "interquartile mean over runs",
            "interval": CONFIDENCE,
            "method": "expanded percentile bootstrap over runs",
            "resamples": RESAMPLES,
            "bootstrap_seed": BOOTSTRAP_SEED,
        },
        "reference": results.reference,
        "metric": results.metric,
        "verdict": headline(results),
        "methods": {
            name: {
                "finished_seeds": list(comparison.finished_seeds(name)),
                "scores": {
                    metric: _plain(estimate)
                    for metric, estimate in results.estimates.get(name, {}).items()
                },
                "probability_of_improvement": _plain(results.improvement.get(name)),
                "difference": _plain(results.differences.get(name)),
                "verdict": results.verdicts.get(name),
                "configuration": arm.config,
            }
            for name, arm in comparison.arms.items()
        },
    }


def _score(comparison: Comparison) -> pd.DataFrame:
    oracle, random = (comparison.finished(name) for name in (ORACLE, RANDOM))
    tables = []
    for name in comparison.arms:
        metrics = comparison.finished(name)
        if metrics.empty:
            continue
        scores = run_scores(
            metrics,
            oracle=None if oracle.empty else oracle,
            random=None if random.empty else random,
        )
        table = pd.concat([scores, summaries(metrics)], ignore_index=True)
        table.insert(0, "method", name)
        tables.append(table)
    if not tables:
        return pd.DataFrame(columns=pd.Index(["method", "seed", "metric", "value"]))
    return pd.concat(tables, ignore_index=True)


def _notes(
    comparison: Comparison,
    scored: list[str],
    reference: str,
    estimates: dict[str, dict[str, Estimate]],
    metric: str,
) -> list[str]:
    if comparison.single:
        return []
    notes = []
    work = _open_work(comparison)
    if work:
        notes.append(
            f"This comparison is unfinished: {'; '.join(work)}. Curves show what is there; scores "
            "count only runs that went through all phases."
        )
    absent = [name for name in comparison.references if name not in estimates]
    if absent:
        notes.append(
            f"Without a finished run of {' and '.join(absent)} there are no normalised scores and "
            "no adaptation times; methods are compared on their raw return after the first phase."
        )
    if reference not in estimates:
        notes.append(f"The reference, {reference}, has no finished run yet.")
    if metric == "normalised":
        undefined = sum(
            _runs(estimates[m], "later_return") - _runs(estimates[m], metric) for m in scored
        )
        if undefined:
            notes.append(
                f"{undefined} finished run{'s' * (undefined != 1)} cannot be normalised and "
                "do not count in the comparison: the oracle or random run of the same seed is "
                "missing, or the oracle did no better there than the random policy."
            )
    runs = min((_runs(estimates[m], metric) for m in scored), default=0)
    if 0 < runs < CLAIM_RUNS:
        notes.append(
            f"{runs} {'seed' if runs == 1 else 'seeds'}: this is a smoke check. A claim needs at "
            f"least {CLAIM_RUNS}."
        )
    if len(scored) > 2:
        notes.append(
            f"Each of the {len(scored) - 1} comparisons with the reference has its own 95% "
            "interval, without correction for their number: by chance alone one in twenty would "
            "show a difference."
        )
    return notes


def _open_work(comparison: Comparison) -> list[str]:
    if comparison.single:
        return []
    work = []
    for name in (*comparison.methods, *comparison.references):
        done = len(comparison.finished_seeds(name))
        if name not in comparison.arms:
            work.append(f"{name} has not begun")
        elif done < len(comparison.seeds):
            work.append(f"{name} has finished {done} of {len(comparison.seeds)} seeds")
    return work


def _runs(estimates: dict[str, Estimate], metric: str) -> int:
    return estimates[metric].runs if metric in estimates else 0


def _plain(estimate: Estimate | None) -> dict[str, float | int | None] | None:
    if estimate is None:
        return None
    return {
        "iqm": estimate.value if estimate.runs else None,
        "low": estimate.low,
        "high": estimate.high,
        "runs": estimate.runs,
    }
