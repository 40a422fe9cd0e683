"""What a study has found so far: the answers that its grids of settings give.

As in `answers`, each function answers one question, finished or not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from gtr.methods import method, numbers
from gtr.study.aggregate import aggregate_difference
from gtr.study.statistics import (
    Estimate,
    estimate_iqm,
    paired_difference,
    verdict,
)
from gtr.study.transitions.plan import MAIN, QUESTIONS, SHAPES
from gtr.study.transitions.reading import (
    UNCLIPPED,
    Study,
    in_order,
    lacking,
    ordered,
)
from gtr.study.transitions.verdicts import (
    ONE_SEED,
    SHOWN,
    TOGETHER,
    Answer,
    as_sentence,
    not_there,
    on_suites,
)
from gtr.study.wording import count
from gtr.study.wording import estimate as written


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
    return Answer(as_sentence(parts, lead), tables, _grid_missing(study, "capacity", "clip"))


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
    # Apart, because without the clip a pull that lets go is all that holds.
    asked = [
        _Asked(f"{words}, gtr against {other}", "shape", "gtr", other, ("stiffness",), fixed)
        for words, fixed in (
            ("with the clip", {"clipped": "yes"}),
            ("without it", {"clipped": "no"}),
        )
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
        _Asked(
            f"gtr against ppo, {scale} scale, {'no clip' if clip == UNCLIPPED else f'clip {clip}'}",
            "method",
            "gtr",
            "ppo",
            ("entropy",),
            {"scale": scale, "clip": clip},
        )
        for scale in ("batch", "running")
        for clip in ("0.2", "0.5", UNCLIPPED)
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
        scores, levels = _matched(grid, one), (one.one, one.other)
        suites = in_order(set(scores["suite"]), study.extent.wide)
        found = {suite: aggregate_difference(scores, *levels, (suite,)) for suite in suites}
        verdicts = {suite: verdict(difference) for suite, difference in found.items()}
        words = []
        if len(suites) > 1:
            together = aggregate_difference(scores, *levels, suites)
            words.append(f"{written(together, signed=True)} over {count(len(suites), 'suite')}")
            found = {TOGETHER: together, **found}
        if verdicts:
            words.append(on_suites(verdicts, ("better", "worse")))
            parts.append(f"{one.words}: {', '.join(words)}")
        rows += [
            {"suite": suite, "contrast": one.words, "difference": difference}
            | {"shown": verdict(difference)}
            for suite, difference in found.items()
        ]
    tables = {question: table}
    if rows:
        tables[f"{question}_contrasts"] = pd.DataFrame(rows)
    return Answer(as_sentence(parts, "all else equal, "), tables, missing)


def _matched(grid: pd.DataFrame, asked: _Asked) -> pd.DataFrame:
    """Scores of the two levels by suite and seed, as `aggregate` takes them.

    They are means over the settings that are matched and that both levels have a score of.
    """
    for key, value in asked.fixed.items():
        grid = grid[grid[key] == value]
    levels = [asked.one, asked.other]
    of = ["suite", "seed", *asked.matched]
    pairs = grid.pivot_table(index=of, columns=asked.factor, values="value", sort=False)
    pairs = pairs.reindex(columns=levels).dropna().groupby(["suite", "seed"]).mean()
    return pairs.melt(var_name="method", ignore_index=False).reset_index()


def _better_settings(table: pd.DataFrame, question: str) -> str:
    factors = _factors(question)
    parts = []
    for suite, rows in table.groupby("suite", sort=False):
        if (rows["shown"] == ONE_SEED).all():
            parts.append(f"{SHOWN[ONE_SEED]} on {suite}")
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
    return " ".join(filter(None, [not_there(*parts), told if lost else ""]))
