"""The figures of the study's comparisons: one arm beside another.

Each is drawn from the study and from the tables of its question's answer, without global state;
None where there is nothing to draw.
"""

from collections.abc import Sequence
from itertools import product
from textwrap import fill

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gtr.study.arms import CURES
from gtr.study.drawing import WIDTH, as_steps, dots, label_rows, whisker
from gtr.study.records import ORACLE
from gtr.study.statistics import Estimate
from gtr.study.style import GRID, INK, PAPER, STYLE
from gtr.study.transitions.answers import (
    MOVERS,
    RELAXATION,
)
from gtr.study.transitions.marks import (
    DASHES,
    LOOK,
    SCORE,
    as_arrays,
    handle,
    legend,
    sample,
    scored,
)
from gtr.study.transitions.plan import MAIN
from gtr.study.transitions.reading import Study
from gtr.study.transitions.verdicts import TOGETHER, Answer
from gtr.study.wording import LABELS


def suites(study: Study, answer: Answer) -> Figure | None:
    """Scores of the main arms on the changing suites, each and together."""
    return _score_panels(answer.tables.get("suites"), study.changing, floor=True)


def stationary(study: Study, answer: Answer) -> Figure | None:
    """Scores of the main arms on the stationary twins, each and together."""
    return _score_panels(answer.tables.get("stationary"), study.stationary, floor=False)


def movement(study: Study, answer: Answer) -> Figure | None:
    """How far, how straight and how steadily policies go, on each suite."""
    table = answer.tables.get("movement")
    if table is None:
        return None
    names = [name for name in MOVERS if name in set(table["method"])]
    rows = list(dict.fromkeys(table["suite"]))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.3 + 1.0 * len(rows)), layout="constrained")
        measures = list(dict.fromkeys(table["measure"]))
        panels = figure.subplots(2, 2, sharey=True, squeeze=False).flat
        for axes in panels[len(measures) :]:
            axes.set_visible(False)
        for axes, measure in zip(panels[: len(measures)], measures, strict=True):
            of_measure = table[table["measure"] == measure]
            _band_rows(axes, rows)
            # Drawn early over late: where they coincide the hollow marker shows both.
            for entry in of_measure.iloc[::-1].to_dict("records"):
                if not entry["value"].runs:
                    continue
                shift = names.index(entry["method"]) - (len(names) - 1) / 2
                place = rows.index(entry["suite"]) + 0.21 * shift
                early = entry["when"] in ("fifth", "after")
                # A little apart, since intervals of one method may overlap.
                place += -0.04 if early else 0.04
                _point(axes, entry["value"], place, entry["method"], hollow=early)
            axes.set_title(LABELS[measure])
            if measure != "step_cosine":
                axes.set_xlim(left=0)
        handles = [handle(name) for name in names]
        ends = (
            (True, "first fifth after a change"),
            (False, "end of the phase, or its last fifth"),
        )
        for hollow, label in ends:
            handles.append(sample(INK, "o", label, hollow))
        legend(figure, handles)
        return figure


def relaxation(study: Study, answer: Answer) -> Figure | None:
    """Samples beyond the radius, entropy and KL since the change, a row a suite."""
    table = answer.tables.get("relaxation")
    if table is None:
        return None
    rows = [name for name in study.extent.main if name in set(table["suite"])]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 1.1 + 1.4 * len(rows)), layout="constrained")
        panels = figure.subplots(len(rows), len(RELAXATION), sharex="row", squeeze=False)
        for (row, suite), (column, measure) in product(enumerate(rows), enumerate(RELAXATION)):
            axes = panels[row, column]
            here = table[(table["suite"] == suite) & (table["measure"] == measure)]
            for name, curve in here.groupby("method", sort=False):
                middle, low, high = as_arrays(curve["value"])
                axes.plot(curve["step"], middle, lw=2, **LOOK.line(str(name)))
                if np.isfinite(low).any():
                    axes.fill_between(
                        curve["step"], low, high, color=LOOK.colour(str(name)), alpha=0.16, lw=0
                    )
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axes.xaxis.set_major_formatter(FuncFormatter(as_steps))
            axes.yaxis.set_major_locator(MaxNLocator(3))
            if measure.startswith("redescended"):
                axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}%"))
            if row == 0:
                axes.set_title(fill(LABELS[measure], 20))
            if row == len(rows) - 1:
                axes.set_xlabel("steps since the change")
            if column == 0:
                axes.set_ylabel(suite)
        shown = [name for name in MAIN[:2] if name in set(table["method"])]
        legend(figure, [Line2D([], [], lw=2, **LOOK.line(name)) for name in shown])
        return figure


def how_far(study: Study, answer: Answer) -> Figure | None:
    """What each cure adds to PPO and to GTR, and how far other arms are from PPO."""
    cures, others = answer.tables.get("cures"), answer.tables.get("others")
    if cures is None and others is None:
        return None
    with mpl.rc_context(STYLE):
        cured = [] if cures is None else [c for c in CURES if f"ppo+{c}" in set(cures["method"])]
        beside = others[others["to"] == "ppo"] if others is not None else pd.DataFrame()
        arms = list(dict.fromkeys(beside["method"])) if len(beside) else []
        height = 1.4 + 0.34 * max(len(arms), 2 * len(cured))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        left, right = figure.subplots(1, 2)
        _band_rows(left, cured)
        for row, (place, base) in product(range(len(cured)), ((-0.2, "ppo"), (0.2, "gtr"))):
            _gap(left, cures, f"{base}+{cured[row]}", base, row + place, base)
        left.set_title("a cure added to ppo or to gtr")
        left.set_xlabel("difference to the same without it")
        label_rows(right, arms, LOOK)
        for row, name in enumerate(arms):
            _gap(right, beside, name, "ppo", row, name)
        right.set_title("other arms beside ppo")
        right.set_xlabel("difference to ppo")
        for axes in (left, right):
            axes.axvline(0, color=INK, lw=1, ls=DASHES, zorder=1)
            axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        legend(figure, [handle("ppo"), handle("gtr")])
        return figure


def _score_panels(table: pd.DataFrame | None, scores: pd.DataFrame, floor: bool) -> Figure | None:
    """A panel a suite, and before them one for all together, with a row an arm.

    With `floor` all axes reach to the random policy's score; on the twins it is far below all.
    """
    if table is None:
        return None
    table = scored(table[table["method"].isin(MAIN)])
    places = list(dict.fromkeys(table["suite"]))
    if not places:
        return None
    names = [name for name in MAIN if name in set(table["method"])]
    with mpl.rc_context(STYLE):
        lines = -(-len(places) // 4)
        columns = -(-len(places) // lines)
        height = 0.75 + lines * (0.75 + 0.34 * len(names))
        figure = Figure(figsize=(WIDTH, height))
        # So that the last tick of a panel and the first of the next keep apart.
        figure.set_layout_engine("constrained", w_pad=0.1)
        panels = figure.subplots(lines, columns, squeeze=False)
        values = scores[scores["metric"] == "normalised"]
        for panel, (axes, place) in enumerate(zip(panels.flat[: len(places)], places, strict=True)):
            label_rows(axes, names, LOOK)
            axes.tick_params(labelleft=panel % columns == 0)
            axes.axvline(1.0, color=INK, lw=1, ls=DASHES, zorder=1)
            if floor:
                axes.axvline(0.0, color=INK, lw=1, ls=(0, (1, 1.5)), zorder=1)
            for row, name in enumerate(names):
                found = table[(table["suite"] == place) & (table["method"] == name)]
                if found.empty:
                    continue
                runs = values[(values["suite"] == place) & (values["method"] == name)]["value"]
                dots(axes, row, runs.dropna().to_numpy(dtype=float), LOOK.colour(name))
                whisker(axes, row, found["score"].iloc[0], LOOK, name, size=6.5)
            together = f"{table['suites'].iloc[0]} suites together"
            axes.set_title(together if place == TOGETHER else place)
            axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        for axes in panels.flat[len(places) :]:
            axes.set_visible(False)
        marks = "dotted: the random policy, dashed: the oracle" if floor else "dashed: the oracle"
        figure.supxlabel(f"{SCORE} ({marks})", fontsize=9.5)
        return figure


def _gap(
    axes: Axes,
    table: pd.DataFrame | None,
    name: str,
    base: str,
    row: float,
    dressed: str,
) -> None:
    """A difference over all suites together, and faintly that on each; it looks as `dressed`."""
    if table is None:
        return
    own = table[(table["method"] == name) & (table["to"] == base)]
    alone = own[own["suite"] != TOGETHER]["difference"]
    values = np.array([found.value for found in alone], dtype=float)
    colour = LOOK.colour(dressed)
    axes.plot(values, np.full(len(values), row), "|", ms=9, mew=1.6, alpha=0.6, color=colour)
    for found in own[own["suite"] == TOGETHER]["difference"]:
        whisker(axes, row, found, LOOK, dressed)


def _point(axes: Axes, found: Estimate, row: float, name: str, *, hollow: bool) -> None:
    colour = LOOK.colour(name)
    if found.low is not None and found.high is not None:
        axes.plot([found.low, found.high], [row, row], color=colour, lw=1.8, alpha=0.8, zorder=3)
    axes.plot(
        found.value,
        row,
        "o" if name != ORACLE else "D",
        ms=6.5,
        mfc=PAPER if hollow else colour,
        mec=colour,
        mew=1.6,
        zorder=5,
    )


def _band_rows(axes: Axes, rows: Sequence[str]) -> None:
    """Rows from the top down in plain ink, with a line between them."""
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    for row in range(1, len(rows)):
        axes.axhline(row - 0.5, color=GRID, lw=1, zorder=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
