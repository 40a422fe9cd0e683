"""What a study has found so far: the answers that compare arms.

Each function answers one question of a study, finished or not, with a sentence, tidy tables whose
cells may be an `Estimate`, and what is not there yet. The page shows them and the figures draw
them; neither computes a number of its own.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gtr.study.aggregate import (
    aggregate_iqm,
    common_suites,
)
from gtr.study.arms import CURES
from gtr.study.drawing import folded
from gtr.study.records import ORACLE, RANDOM
from gtr.study.statistics import (
    Estimate,
    estimate_iqm,
    iqm_curve,
    paired_difference,
    verdict,
)
from gtr.study.transitions.plan import ANCHORS, MAIN, RIVALS, SHAPES
from gtr.study.transitions.reading import (
    Study,
    in_order,
    lacking,
    normalised,
    runs_of,
)
from gtr.study.transitions.verdicts import (
    REFERENCE,
    SHOWN,
    TOGETHER,
    Answer,
    apart,
    apart_together,
    as_sentence,
    for_arms,
    not_there,
    on_suites,
)
from gtr.study.wording import count
from gtr.study.wording import estimate as written

MOVEMENT = (
    ("path_length", "fifth"),
    ("path_length", "phase"),
    ("net_displacement", "fifth"),
    ("net_displacement", "phase"),
    ("directional_efficiency", "fifth"),
    ("directional_efficiency", "phase"),
    ("step_cosine", "after"),
    ("step_cosine", "before"),
)
"""Measures of movement, and when: a fifth into the phase or at its end; for the cosine the first
fifth after a change or the last before one."""

MOVERS = ("ppo", "ppo@defaults", "gtr", ORACLE)
"""Whose movement is shown. GTR is compared with the PPO that has its clip: clips move too."""

_ENDS = ("value_low", "value_high")

RELAXATION = ("redescended_fraction", "redescended_advantage", "entropy", "kl")
"""What is drawn since the change, from the raw rows of `ppo` and `gtr`."""


def does_it_help(study: Study) -> Answer:
    """The main arms on the changing suites, each and together."""
    return _comparison(study.changing, study.extent.main, "suites", "a finished comparison on")


def stationary_twins(study: Study) -> Answer:
    """The main arms where nothing changes, on each suite and together."""
    return _comparison(
        study.stationary,
        study.extent.main,
        "stationary",
        "a finished comparison on the stationary twin of",
    )


def _comparison(scores: pd.DataFrame, planned: tuple[str, ...], name: str, what: str) -> Answer:
    suites = in_order(set(scores["suite"]), planned)
    values = normalised(scores)
    counted = in_order(common_suites(values, MAIN), planned)
    rows = []
    for arm in MAIN if len(counted) > 1 else ():
        row = {"suite": TOGETHER, "suites": len(counted), "method": arm}
        row["score"] = aggregate_iqm(values, arm, counted)
        rows.append(
            row | (REFERENCE if arm == "ppo" else apart_together(values, arm, "ppo", counted))
        )
    for suite in suites:
        base = runs_of(scores, suite, "ppo", "normalised")
        for arm in (*MAIN, ORACLE, RANDOM):
            returns = runs_of(scores, suite, arm, "later_return")
            if returns.empty:
                continue
            own = runs_of(scores, suite, arm, "normalised")
            row = {"suite": suite, "suites": 1, "method": arm, "score": estimate_iqm(own)}
            row["return"] = estimate_iqm(returns)
            if arm == "ppo":
                row |= REFERENCE
            elif arm in MAIN:
                row |= apart(own, base)
            rows.append(row)
    order = ["suite", "method", "suites", "score", "return", "difference", "shown", "improvement"]
    table = pd.DataFrame(rows, columns=pd.Index(order))
    pairs = _pairs(scores, values, suites, counted)
    parts, verdicts = [], {}
    for row in table[table["method"] == "gtr"].to_dict("records"):
        if row["suite"] == TOGETHER:
            ppo = table[(table["suite"] == TOGETHER) & (table["method"] == "ppo")]["score"].iloc[0]
            parts.append(
                f"over {row['suites']} suites together gtr scores {written(row['score'])} and ppo "
                f"{written(ppo)}; the paired difference, mean over suites, is "
                f"{written(row['difference'], signed=True)}: {SHOWN[row['shown']]}"
            )
        else:
            verdicts[row["suite"]] = row["shown"]
    for row in pairs.to_dict("records"):
        if row["suite"] == TOGETHER and row["to"] == "ppo@defaults":
            parts.append(
                "from ppo@defaults, which is searched as gtr is, it is "
                f"{written(row['difference'], signed=True)}: {SHOWN[row['shown']]}"
            )
    if verdicts:
        parts.append(f"by suite, gtr next to ppo: {on_suites(verdicts, ('better', 'worse'))}")
    silent = [suite for suite in suites if suite not in set(values["suite"])]
    missing = not_there(
        (what, lacking(planned, suites)),
        ("a normalised score, for want of an oracle better than random, on", silent),
    )
    tables = {name: table, f"{name}_pairs": pairs} if rows else {}
    return Answer(as_sentence(parts), tables, missing)


def _pairs(
    scores: pd.DataFrame, values: pd.DataFrame, suites: Sequence[str], counted: Sequence[str]
) -> pd.DataFrame:
    """GTR beside each other main arm, on the same seeds."""
    rows = []
    for other in MAIN:
        if other == "gtr":
            continue
        if len(counted) > 1:
            row = {"suite": TOGETHER, "suites": len(counted), "to": other}
            rows.append(row | apart_together(values, "gtr", other, tuple(counted)))
        for suite in suites:
            own, base = (runs_of(scores, suite, arm, "normalised") for arm in ("gtr", other))
            rows.append({"suite": suite, "suites": 1, "to": other} | apart(own, base))
    order = ["to", "suite", "suites", "difference", "shown", "improvement"]
    return pd.DataFrame(rows, columns=pd.Index(order))


def movement(study: Study) -> Answer:
    """C1: how far and how straight policies go after a change."""
    rows, verdicts = [], {"ppo": {}, "gtr": {}}
    for suite in study.suites:
        for arm in MOVERS:
            for measure, when in MOVEMENT:
                runs = study.runs(suite, arm, f"{measure}_{when}")
                if len(runs):
                    row = {"suite": suite, "method": arm, "measure": measure, "when": when}
                    rows.append(row | {"value": estimate_iqm(runs)})
        for arm, other in (("ppo", ORACLE), ("gtr", "ppo@defaults")):
            own, base = (study.runs(suite, m, "directional_efficiency_fifth") for m in (arm, other))
            verdicts[arm][suite] = verdict(paired_difference(own, base))
    straight = ("straighter", "less straight")
    parts = []
    if rows:
        parts = [
            "in the first fifth after a change, the path of ppo next to that of a fresh agent (the "
            f"oracle): {on_suites(verdicts['ppo'], straight)}",
            "that of gtr next to that of ppo@defaults, which has the same clip: "
            f"{on_suites(verdicts['gtr'], straight)}",
        ]
    order = pd.Index(["suite", "method", "measure", "when", "value"])
    missing = not_there(("a finished comparison on", lacking(study.extent.main, study.suites)))
    tables = {"movement": pd.DataFrame(rows, columns=order)} if rows else {}
    return Answer(as_sentence(parts), tables, missing)


def relaxation(study: Study) -> Answer:
    """C4: how many samples lie beyond the radius after a change, and what goes with it."""
    rows = [
        {
            **{key: point[key] for key in ("suite", "method", "measure")},
            "step": int(point["step"]),
            "value": _estimate(point),
        }
        for point in study.curves.to_dict("records")
    ]
    for (suite, arm), metrics in study.metrics.items():
        for measure in RELAXATION:
            curve = folded(metrics, measure)
            if curve.empty:
                continue
            known = np.isfinite(curve.to_numpy()).sum(axis=0)
            points = zip(
                curve.columns.get_level_values("step"),
                *iqm_curve(curve.to_numpy()),
                known,
                strict=True,
            )
            for step, middle, *ends, runs in points:
                low, high = (float(end) if math.isfinite(end) else None for end in ends)
                row = {"suite": suite, "method": arm, "measure": measure, "step": int(step)}
                rows.append(row | {"value": Estimate(float(middle), low, high, int(runs))})
    after, before, borne = (
        {name: study.runs(name, "gtr", metric) for name in study.suites}
        for metric in (
            "redescended_fraction_after",
            "redescended_fraction_before",
            "redescended_advantage_after",
        )
    )
    more, stronger = (
        {
            name: verdict(paired_difference(one[name], other[name]))
            for name in study.suites
            if len(one[name]) and len(other[name])
        }
        for one, other in ((after, before), (borne, after))
    )
    parts = []
    if more:
        parts.append(
            "the share of samples beyond GTR's radius in the first fifth after a change, next to "
            f"the last fifth before one, is {on_suites(more, ('higher', 'lower'))}"
        )
    if stronger:
        parts.append(
            "those samples' share of the absolute advantages, next to their share of the number, "
            f"is {on_suites(stronger, ('higher', 'lower'))}"
        )
    order = pd.Index(["suite", "method", "measure", "step", "value"])
    tables = {"relaxation": pd.DataFrame(rows, columns=order)} if rows else {}
    drawn = {suite for suite, _ in study.metrics} | set(study.curves["suite"])
    missing = not_there(("the raw rows of the comparison on", lacking(study.extent.main, drawn)))
    return Answer(as_sentence(parts), tables, missing)


def _estimate(point: Mapping[Any, Any]) -> Estimate:
    """A row's value, as it is spread over the columns of a table."""
    low, high = (None if math.isnan(point[end]) else point[end] for end in _ENDS)
    return Estimate(point["value"], low, high, int(point["value_runs"]))


def how_far(study: Study) -> Answer:
    """Cures alone and with GTR, and every other arm beside PPO and GTR, over the wide suites."""
    wide = in_order(study.wide, study.extent.wide)
    missing = not_there(("a comparison of all arms on", lacking(study.extent.wide, wide)))
    values = normalised(study.changing)
    values = values[values["suite"].isin(wide)]
    if values.empty:
        return Answer("", {}, missing)
    pairs = [("cure", f"{base}+{cure}", base) for cure in CURES for base in MAIN[:2]]
    kinds = {"main": MAIN[1:], "rival": RIVALS, "shape": SHAPES, "anchor": ANCHORS}
    pairs += [
        (kind, arm, base)
        for kind, arms in kinds.items()
        for arm in arms
        for base in MAIN[:2]
        if arm != base
    ]
    rows = []
    for kind, arm, base in pairs:
        common = in_order(common_suites(values, (arm, base)), wide)
        if not common:
            continue
        for suite in (TOGETHER, *common):
            suites = common if suite == TOGETHER else (suite,)
            score = aggregate_iqm(values, arm, suites)
            row = {"kind": kind, "method": arm, "to": base, "suite": suite, "suites": len(suites)}
            rows.append(row | {"score": score} | apart_together(values, arm, base, suites))
    if not rows:
        return Answer("", {}, missing)
    table = pd.DataFrame(rows)
    together = table[table["suite"] == TOGETHER]
    parts = []
    for base in MAIN[:2]:
        cured = together[(together["kind"] == "cure") & (together["to"] == base)]
        found = {str(row["method"]).partition("+")[2]: row["shown"] for _, row in cured.iterrows()}
        if found:
            parts.append(f"added to {base}: {for_arms(found)}")
    others = together[(together["kind"] != "cure") & (together["to"] == "gtr")]
    if not others.empty:
        found = dict(zip(others["method"], others["shown"], strict=True))
        parts.append(f"against gtr: {for_arms(found)}")
    lead = f"over {count(len(wide), 'suite')}, "
    cures = table[table["kind"] == "cure"].drop(columns="kind")
    tables = {"cures": cures, "others": table[table["kind"] != "cure"]}
    return Answer(as_sentence(parts, lead), {k: t for k, t in tables.items() if len(t)}, missing)


def provenance(study: Study) -> Answer:
    """The tuned numbers."""
    wanted = [
        f"{arm.name} on {suite}" for suite in study.extent.main for arm in study.extent.arms(suite)
    ]
    found = {f"{row['arm']} on {row['suite']}" for _, row in study.tuned.iterrows()}
    gone = lacking(wanted, found)
    missing = f"Not there yet: tuned numbers of {len(gone)} of {len(wanted)} arms." if gone else ""
    return Answer("", {"tuned": study.tuned} if len(study.tuned) else {}, missing)
