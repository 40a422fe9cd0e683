"""What a study has found so far, an answer to each of its questions.

Each function answers one question of a study, finished or not, with a sentence, tidy tables whose
cells may be an `Estimate`, and what is not there yet. The page shows them and the figures draw
them; neither computes a number of its own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from gtr.methods import method, numbers
from gtr.study.aggregate import (
    aggregate_difference,
    aggregate_improvement,
    aggregate_iqm,
    common_suites,
)
from gtr.study.arms import CURES
from gtr.study.drawing import folded
from gtr.study.records import ORACLE, RANDOM
from gtr.study.statistics import (
    NO_DIFFERENCE,
    Estimate,
    estimate_iqm,
    iqm_curve,
    paired_difference,
    probability_of_improvement,
    verdict,
)
from gtr.study.transitions.plan import ANCHORS, MAIN, QUESTIONS, RIVALS, SHAPES
from gtr.study.transitions.reading import (
    Study,
    in_order,
    lacking,
    normalised,
    ordered,
    runs_of,
)
from gtr.study.wording import count, listed
from gtr.study.wording import estimate as written

TOGETHER = "all together"
"""Stands where a suite's name would, for what holds over several."""

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

RELAXATION = ("redescended_fraction", "redescended_advantage", "entropy", "kl")
"""What is drawn since the change, from the raw rows of `ppo` and `gtr`."""


@dataclass(frozen=True)
class Answer:
    """What is known about a question.

    Attributes:
        sentence: the answer in words; empty while nothing is known.
        tables: tidy, by name; cells may be an `Estimate`.
        missing: what is not there, in one line; empty where nothing is missing.
    """

    sentence: str
    tables: Mapping[str, pd.DataFrame]
    missing: str = ""


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
        rows.append(row | (_REFERENCE if arm == "ppo" else _together(values, arm, "ppo", counted)))
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
                row |= _REFERENCE
            elif arm in MAIN:
                row |= _apart(own, base)
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
                f"{written(row['difference'], signed=True)}: {_SHOWN[row['shown']]}"
            )
        else:
            verdicts[row["suite"]] = row["shown"]
    for row in pairs.to_dict("records"):
        if row["suite"] == TOGETHER and row["to"] == "ppo@defaults":
            parts.append(
                "from ppo@defaults, which is searched as gtr is, it is "
                f"{written(row['difference'], signed=True)}: {_SHOWN[row['shown']]}"
            )
    if verdicts:
        parts.append(f"by suite, gtr next to ppo: {_grouped(verdicts, ('better', 'worse'))}")
    silent = [suite for suite in suites if suite not in set(values["suite"])]
    missing = _missing(
        (what, lacking(planned, suites)),
        ("a normalised score, for want of an oracle better than random, on", silent),
    )
    tables = {name: table, f"{name}_pairs": pairs} if rows else {}
    return Answer(_sentence(parts), tables, missing)


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
            rows.append(row | _together(values, "gtr", other, tuple(counted)))
        for suite in suites:
            own, base = (runs_of(scores, suite, arm, "normalised") for arm in ("gtr", other))
            rows.append({"suite": suite, "suites": 1, "to": other} | _apart(own, base))
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
            f"oracle): {_grouped(verdicts['ppo'], straight)}",
            "that of gtr next to that of ppo@defaults, which has the same clip: "
            f"{_grouped(verdicts['gtr'], straight)}",
        ]
    order = pd.Index(["suite", "method", "measure", "when", "value"])
    missing = _missing(("a finished comparison on", lacking(study.extent.main, study.suites)))
    tables = {"movement": pd.DataFrame(rows, columns=order)} if rows else {}
    return Answer(_sentence(parts), tables, missing)


def capacity_or_clip(study: Study) -> Answer:
    """C2: PPO with other networks and other clip ranges."""
    tables, parts = {}, []
    for name, what in (("capacity", "other networks"), ("clip", "clip ranges")):
        table = _settings(study, name)
        if table is None:
            continue
        rows = table.to_dict("records")
        for row in rows:
            base = own_network(study, row["suite"])
            row |= {"difference": None, "shown": ""}
            if not base.empty:
                key = {factor: row[factor] for factor in _factors(name)}
                row["difference"] = paired_difference(_cell(study, name, row["suite"], key), base)
                own = name == "capacity" and key == own_size(study, row["suite"])
                row["shown"] = "reference" if own else verdict(row["difference"])
                row["difference"] = None if own else row["difference"]
        tables[name] = pd.DataFrame(rows)
        compared = tables[name][~tables[name]["shown"].isin(["reference", ""])]
        if not compared.empty:
            parts.append(f"of {what}, {_better_settings(compared, name)}")
    lead = "shown to be better than ppo as it was tuned: "
    return Answer(_sentence(parts, lead), tables, _grid_missing(study, "capacity", "clip"))


def surface(study: Study) -> Answer:
    """C3 and C4: GTR over stiffness and radius."""
    table = _settings(study, "surface")
    if table is None:
        return Answer("", {}, _grid_missing(study, "surface"))
    defaults = numbers(method("gtr"))
    parts = []
    for suite, rows in table.groupby("suite", sort=False):
        best = rows.loc[best_setting(rows)]
        ppo = level(study, "surface", str(suite), "ppo")
        parts.append(
            f"{best['stiffness']} and {best['radius']} of {len(rows)} settings on {suite} "
            f"({written(best['score'])}; ppo in the same phases {written(ppo)})"
        )
    sentence = (
        f"GTR's defaults are stiffness {defaults['stiffness']} and radius {defaults['radius']}; "
        f"highest are {', '.join(parts)}."
    )
    return Answer(sentence, {"surface": table}, _grid_missing(study, "surface"))


def shape(study: Study) -> Answer:
    """C3 and C4: other shapes of the penalty at the same stiffness, with and without the clip."""
    asked = [
        _Asked(f"gtr against {other}", "shape", "gtr", other, ("stiffness", "clipped"))
        for other in SHAPES
    ]
    return _factor_answer(study, "shape", asked)


def drop_in(study: Study) -> Answer:
    """GTR in PPO's place, the configuration as it was: what a user meets who tunes nothing anew."""
    asked = [_Asked("gtr in place of ppo", "method", "gtr", "ppo", ("configuration",))]
    return _factor_answer(study, "drop_in", asked)


def reuse(study: Study) -> Answer:
    """GTR in PPO's place by how many passes are made over a batch, at two learning rates."""
    grid = study.grids.get("reuse")
    asked = [
        _Asked(
            f"gtr in place of ppo, {epochs} epochs",
            "method",
            "gtr",
            "ppo",
            ("rate",),
            {"epochs": epochs},
        )
        for epochs in ([] if grid is None else ordered(grid["epochs"]))
    ]
    return _factor_answer(study, "reuse", asked)


def relaxation(study: Study) -> Answer:
    """C4: how many samples lie beyond the radius after a change, and what goes with it."""
    rows = []
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
            f"the last fifth before one, is {_grouped(more, ('higher', 'lower'))}"
        )
    if stronger:
        parts.append(
            "those samples' share of the absolute advantages, next to their share of the number, "
            f"is {_grouped(stronger, ('higher', 'lower'))}"
        )
    order = pd.Index(["suite", "method", "measure", "step", "value"])
    tables = {"relaxation": pd.DataFrame(rows, columns=order)} if rows else {}
    drawn = {suite for suite, _ in study.metrics}
    missing = _missing(("the raw rows of the comparison on", lacking(study.extent.main, drawn)))
    return Answer(_sentence(parts), tables, missing)


def anchor(study: Study) -> Answer:
    """C5: which anchor, how many snapshots of it, and how old."""
    asked = [
        _Asked("a mixture against one old snapshot", "anchor", "mixture", "stale", ("every",)),
        _Asked("a mixture against the behaviour policy", "anchor", "mixture", "behaviour", ()),
    ]
    return _factor_answer(study, "anchor", asked)


def advantage(study: Study) -> Answer:
    """How the scale of advantages, the clip and the entropy bonus bear on PPO and GTR."""
    matched = ("clip", "entropy")
    asked = [
        _Asked(f"gtr against ppo, {it} scale", "method", "gtr", "ppo", matched, {"scale": it})
        for it in ("batch", "running")
    ]
    asked += [
        _Asked(
            f"a running scale against the batch's own, for {it}",
            "scale",
            "running",
            "batch",
            matched,
            {"method": it},
        )
        for it in MAIN[:2]
    ]
    return _factor_answer(study, "advantage", asked)


def how_far(study: Study) -> Answer:
    """Cures alone and with GTR, and every other arm beside PPO and GTR, over the wide suites."""
    wide = in_order(study.wide, study.extent.wide)
    missing = _missing(("a comparison of all arms on", lacking(study.extent.wide, wide)))
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
            rows.append(row | {"score": score} | _together(values, arm, base, suites))
    if not rows:
        return Answer("", {}, missing)
    table = pd.DataFrame(rows)
    together = table[table["suite"] == TOGETHER]
    parts = []
    for base in MAIN[:2]:
        cured = together[(together["kind"] == "cure") & (together["to"] == base)]
        found = {str(row["method"]).partition("+")[2]: row["shown"] for _, row in cured.iterrows()}
        if found:
            parts.append(f"added to {base}: {_cases(found)}")
    others = together[(together["kind"] != "cure") & (together["to"] == "gtr")]
    if not others.empty:
        found = dict(zip(others["method"], others["shown"], strict=True))
        parts.append(f"against gtr: {_cases(found)}")
    lead = f"over {count(len(wide), 'suite')}, "
    cures = table[table["kind"] == "cure"].drop(columns="kind")
    tables = {"cures": cures, "others": table[table["kind"] != "cure"]}
    return Answer(_sentence(parts, lead), {k: t for k, t in tables.items() if len(t)}, missing)


def provenance(study: Study) -> Answer:
    """The tuned numbers."""
    wanted = [
        f"{arm.name} on {suite}" for suite in study.extent.main for arm in study.extent.arms(suite)
    ]
    found = {f"{row['arm']} on {row['suite']}" for _, row in study.tuned.iterrows()}
    gone = lacking(wanted, found)
    missing = f"Not there yet: tuned numbers of {len(gone)} of {len(wanted)} arms." if gone else ""
    return Answer("", {"tuned": study.tuned} if len(study.tuned) else {}, missing)


# ---------------------------------------------------------------- settings of grids


@dataclass(frozen=True)
class _Asked:
    """What one level of a factor does beside another, where all else is the same.

    Attributes:
        words: for people.
        factor: which is varied.
        one: its level that is asked about.
        other: the level that it is compared with.
        matched: factors that must agree.
        fixed: levels of other factors.
    """

    words: str
    factor: str
    one: str
    other: str
    matched: tuple[str, ...]
    fixed: Mapping[str, str] = field(default_factory=dict)


def own_size(study: Study, suite: str) -> dict[str, str]:
    """Width and depth of the suite's own network, as the capacity grid has them.

    It is the one from which the others differ in one of the two.
    """
    grid = study.grids.get("capacity")
    rows = (
        None if grid is None else grid[grid["suite"] == suite].drop_duplicates(["width", "depth"])
    )
    if rows is None or rows.empty:
        return {}
    return {factor: str(rows[factor].mode().iloc[0]) for factor in ("width", "depth")}


def own_network(study: Study, suite: str) -> pd.Series:
    """Scores of tuned PPO with its own network and clip, on the seeds of the grids."""
    size = own_size(study, suite)
    return _cell(study, "capacity", suite, size) if size else pd.Series(dtype=float)


def best_setting(rows: pd.DataFrame) -> Any:
    """Index of the row with the highest score; the first of equals."""
    values = [score.value if score.runs else -math.inf for score in rows["score"]]
    return rows.index[int(np.argmax(values))]


def level(study: Study, question: str, suite: str, method: str) -> Estimate:
    """The tuned method's score in the comparison, on the scale of a question's grid."""
    runs = study.levels.get((question, suite, method))
    return estimate_iqm(pd.Series(dtype=float) if runs is None else runs)


def _factors(question: str) -> tuple[str, ...]:
    return next(one.factors for one in QUESTIONS if one.name == question)


def _settings(study: Study, question: str) -> pd.DataFrame | None:
    """A row a suite and setting, with its score."""
    grid = study.grids.get(question)
    if grid is None:
        return None
    factors = _factors(question)
    groups = grid.groupby(["suite", *factors], sort=False)["value"]
    rows = [
        dict(zip(("suite", *factors), key, strict=True)) | {"score": estimate_iqm(values)}
        for key, values in groups
    ]
    return pd.DataFrame(rows)


def _cell(study: Study, question: str, suite: str, setting: Mapping[str, str]) -> pd.Series:
    rows = study.grids[question]
    rows = rows[rows["suite"] == suite]
    for factor, value in setting.items():
        rows = rows[rows[factor] == value]
    return rows.set_index("seed")["value"]


def _factor_answer(study: Study, question: str, asked: Sequence[_Asked]) -> Answer:
    table = _settings(study, question)
    missing = _grid_missing(study, question)
    if table is None:
        return Answer("", {}, missing)
    grid, rows, parts = study.grids[question], [], []
    for one in asked:
        verdicts = {}
        for suite, settings in grid.groupby("suite", sort=False):
            found = _contrast(settings, one)
            if found is None:
                continue
            verdicts[str(suite)] = verdict(found)
            row = {"suite": suite, "contrast": one.words, "difference": found}
            rows.append(row | {"shown": verdict(found)})
        if verdicts:
            parts.append(f"{one.words}: {_grouped(verdicts, ('better', 'worse'))}")
    tables = {question: table}
    if rows:
        tables[f"{question}_contrasts"] = pd.DataFrame(rows)
    return Answer(_sentence(parts, "all else equal, "), tables, missing)


def _contrast(settings: pd.DataFrame, asked: _Asked) -> Estimate | None:
    """Mean difference over the settings that are matched, paired on seeds."""
    for key, value in asked.fixed.items():
        settings = settings[settings[key] == value]
    levels = [asked.one, asked.other]
    rows = settings[settings[asked.factor].isin(levels)]
    if set(rows[asked.factor]) != set(levels):
        return None
    by = ["seed", *asked.matched, asked.factor]
    means = rows.groupby(by)["value"].mean().unstack(asked.factor)
    gaps = (means[asked.one] - means[asked.other]).dropna()
    return estimate_iqm(gaps.groupby("seed").mean())


def _better_settings(table: pd.DataFrame, question: str) -> str:
    factors = _factors(question)
    parts = []
    for suite, rows in table.groupby("suite", sort=False):
        if (rows["shown"] == _ONE_SEED).all():
            parts.append(f"{_SHOWN[_ONE_SEED]} on {suite}")
            continue
        better = rows[rows["shown"] == "better"]
        names = [
            ", ".join(f"{factor} {row[factor]}" for factor in factors)
            for _, row in better.iterrows()
        ]
        which = (
            f"{len(names)} of {len(rows)} ({' or '.join(names)})"
            if names
            else (f"none of {len(rows)}")
        )
        parts.append(f"{which} on {suite}")
    return ", ".join(parts)


def _grid_missing(study: Study, *questions: str) -> str:
    parts = []
    for name in questions:
        found = study.grids.get(name)
        there = set() if found is None else set(found["suite"])
        blind = study.unscaled.get(name, ())
        parts += [
            (f"the {name} grid on", lacking(study.extent.wide, {*there, *blind})),
            (f"a comparison to normalise the {name} grid by, on", blind),
        ]
    lost = sum(study.lost.get(name, 0) for name in questions)
    told = (
        f"{count(lost, 'setting')} without a score, for a NaN or a phase in which no episode "
        f"ended, {'is' if lost == 1 else 'are'} left out."
    )
    return " ".join(filter(None, [_missing(*parts), told if lost else ""]))


# ---------------------------------------------------------------- numbers and words


_ONE_SEED = "one seed, no interval"
_SHOWN = {
    "better": "gtr is better",
    "worse": "gtr is worse",
    NO_DIFFERENCE: NO_DIFFERENCE,
    _ONE_SEED: "one seed, so nothing is shown",
    "no common seeds": "no seed in common",
}
_REFERENCE = {"shown": "reference"}


def _apart(own: pd.Series, base: pd.Series) -> dict[str, Any]:
    difference = paired_difference(own, base)
    improvement = probability_of_improvement(own, base)
    return {"difference": difference, "shown": verdict(difference), "improvement": improvement}


def _together(values: pd.DataFrame, arm: str, base: str, suites: tuple[str, ...]) -> dict[str, Any]:
    difference = aggregate_difference(values, arm, base, suites)
    improvement = aggregate_improvement(values, arm, base, suites)
    return {"difference": difference, "shown": verdict(difference), "improvement": improvement}


def _by_word(verdicts: Mapping[str, str]) -> dict[str, list[str]]:
    """Whom each verdict was found for; wins first, and no verdict that was not found."""
    groups = {word: [one for one, found in verdicts.items() if found == word] for word in _SHOWN}
    return {word: names for word, names in groups.items() if names}


def _grouped(verdicts: Mapping[str, str], words: tuple[str, str]) -> str:
    """What was found on which suites, such as `better on a and b, no difference shown on c`."""
    groups = _by_word(verdicts)
    phrases = _SHOWN | dict(zip(("better", "worse"), words, strict=True))
    if len(groups) == 1 and len(verdicts) > 2:
        return f"{phrases[next(iter(groups))]} on all {len(verdicts)} suites"
    return ", ".join(f"{phrases[word]} on {listed(names)}" for word, names in groups.items())


def _cases(verdicts: Mapping[str, str]) -> str:
    """What was found for which arms, such as `a and b better, no difference shown for c`."""
    return ", ".join(
        f"{listed(names)} {word}"
        if word in ("better", "worse")
        else f"{_SHOWN[word]} for {listed(names)}"
        for word, names in _by_word(verdicts).items()
    )


def _missing(*parts: tuple[str, Sequence[str]]) -> str:
    told = [f"{what} {listed(names)}" for what, names in parts if names]
    return f"Not there yet: {'; '.join(told)}." if told else ""


def _sentence(parts: Sequence[str], lead: str = "") -> str:
    if not parts:
        return ""
    sentence = lead + "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."
