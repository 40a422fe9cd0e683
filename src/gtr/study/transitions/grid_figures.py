"""The figures of the study's grids: one setting beside another.

Each is drawn from the study and from the tables of its question's answer, without global state;
None where there is nothing to draw.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from gtr.methods import method, numbers
from gtr.study.drawing import WIDTH
from gtr.study.statistics import Estimate
from gtr.study.style import FAINT, GRID, INK, PAPER, STYLE
from gtr.study.transitions.grid_answers import (
    best_setting,
    level,
    own_size,
)
from gtr.study.transitions.marks import (
    DASHES,
    LOOK,
    SCORE,
    as_arrays,
    handle,
    legend,
    oracle_handle,
    sample,
    scored,
)
from gtr.study.transitions.plan import SHAPES
from gtr.study.transitions.reading import UNCLIPPED, Study, ordered
from gtr.study.transitions.verdicts import Answer
from gtr.study.wording import number

_ON_LIGHT, _ON_DARK = "#101010", "#ffffff"
"""Text on a coloured cell, which is the same on light and dark pages; no ink, so that it stays."""

_FACTORS = {"width": "units a layer", "depth": "hidden layers", "clip": "clip range"}


def drop_in(study: Study, answer: Answer) -> Figure | None:
    """GTR's score against PPO's, a point a configuration and a panel a suite."""
    table = answer.tables.get("drop_in")
    if table is None:
        return None
    table = scored(table)
    names = list(dict.fromkeys(table["suite"]))
    if not names:
        return None
    with mpl.rc_context(STYLE):
        lines = -(-len(names) // 3)
        figure = Figure(figsize=(WIDTH, 0.8 + lines * WIDTH / 3), layout="constrained")
        panels = figure.subplots(lines, 3, squeeze=False).flat
        for axes, suite in zip(panels[: len(names)], names, strict=True):
            here = table[table["suite"] == suite]
            values = here.assign(value=[score.value for score in here["score"]])
            pairs = values.pivot(index="configuration", columns="method", values="value")
            pairs = pairs.reindex(columns=["ppo", "gtr"]).dropna()
            for name, own in (
                ("gtr", pairs[pairs["gtr"] > pairs["ppo"]]),
                ("ppo", pairs[pairs["gtr"] <= pairs["ppo"]]),
            ):
                axes.plot(own["ppo"], own["gtr"], "o", ms=7, mec=PAPER, color=LOOK.colour(name))
            limits = (*axes.get_xlim(), *axes.get_ylim())
            ends = min(limits), max(limits)
            axes.plot(ends, ends, color=INK, lw=1, ls=DASHES, zorder=1)
            axes.set(xlim=ends, ylim=ends, aspect="equal", title=suite)
            axes.set_xlabel(f"ppo's {SCORE}")
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_locator(MaxNLocator(4))
            axes.grid()
            axes.set_axisbelow(True)
        panels[0].set_ylabel(f"gtr's {SCORE}")
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        kinds = (("gtr", "gtr is higher"), ("ppo", "ppo is higher"))
        legend(figure, [sample(LOOK.colour(name), "o", said, False) for name, said in kinds])
        return figure


def reuse(study: Study, answer: Answer) -> Figure | None:
    """PPO's and GTR's scores by the number of epochs, a panel a suite."""
    table = answer.tables.get("reuse")
    if table is None:
        return None
    names, values = list(dict.fromkeys(table["suite"])), ordered(table["epochs"])
    kinds = list(product(("ppo", "gtr"), ("tuned", "third")))
    with mpl.rc_context(STYLE):
        lines = -(-len(names) // 3)
        figure = Figure(figsize=(WIDTH, 0.9 + 2.7 * lines), layout="constrained")
        panels = figure.subplots(lines, 3, squeeze=False)
        for axes, suite in zip(panels.flat[: len(names)], names, strict=True):
            here = table[table["suite"] == suite]
            _levels(axes, study, "reuse", suite, ())
            for place, (name, rate) in enumerate(kinds):
                own = here[(here["method"] == name) & (here["rate"] == rate)]
                shift = 0.1 * (place - 1.5)
                _track(axes, own, "epochs", values, shift, *_pair(name, rate == "third"))
            axes.set_xticks(range(len(values)), values)
            axes.set_xlim(-0.5, len(values) - 0.5)
            axes.set_title(suite)
            axes.set_xlabel("epochs")
        panels[0, 0].set_ylabel(SCORE)
        for axes in panels.flat[len(names) :]:
            axes.set_visible(False)
        _cover(panels)
        said = {"tuned": "tuned learning rate", "third": "a third of it"}
        handles = [_pair_handle(name, rate == "third", said[rate]) for name, rate in kinds]
        legend(figure, [*handles, oracle_handle()])
        return figure


def capacity(study: Study, answer: Answer) -> Figure | None:
    """PPO over width, depth and clip range, beside the oracle and GTR."""
    tables = {name: answer.tables[name] for name in ("capacity", "clip") if name in answer.tables}
    if not tables:
        return None
    nothing = pd.DataFrame(columns=pd.Index(["suite", *_FACTORS, "score"]))
    rows = [
        name
        for name in study.extent.wide
        if any(name in set(table["suite"]) for table in tables.values())
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 2.1 * len(rows)), layout="constrained")
        panels = figure.subplots(len(rows), 3, sharey="row", squeeze=False)
        for (row, suite), (column, factor) in product(
            enumerate(rows), enumerate(("width", "depth", "clip"))
        ):
            axes, question = panels[row, column], "clip" if factor == "clip" else "capacity"
            table = tables.get(question, nothing)
            here = table[table["suite"] == suite]
            own = own_size(study, suite)
            for other in ("width", "depth"):
                if factor in own and other != factor:
                    here = here[here[other] == own[other]]
            _levels(axes, study, question, suite, ("gtr",))
            _categories(axes, here, factor, own.get(factor))
            _dots_above(axes, study.grids.get(question), here, factor)
            if column == 0:
                axes.set_ylabel(f"{suite}\n{SCORE}")
            if row == 0:
                axes.set_title(f"ppo by {_FACTORS[factor]}")
        _cover(panels)
        ours = Line2D([], [], color=LOOK.colour("gtr"), lw=1.6, label="gtr in the comparison")
        legend(figure, [handle("ppo"), ours, oracle_handle()])
        return figure


def surface(study: Study, answer: Answer) -> Figure | None:
    """GTR's score over stiffness and radius, a map a suite."""
    table = answer.tables.get("surface")
    if table is None:
        return None
    names = list(dict.fromkeys(scored(table)["suite"]))
    if not names:
        return None
    values = [score.value for score in scored(table)["score"]]
    defaults = numbers(method("gtr"))
    with mpl.rc_context(STYLE):
        columns = min(3, max(2, len(names)))
        lines = -(-len(names) // columns)
        figure = Figure(figsize=(WIDTH, 0.9 + 3.2 * lines), layout="constrained")
        # Below the random policy all is alike: the colours are for what is above it.
        low = max(0.0, min(values))
        tint = Normalize(low, max(max(values), low + 0.1))
        paint = mpl.colormaps["cividis"]
        panels = figure.subplots(lines, columns, squeeze=False).flat
        for axes, suite in zip(panels[: len(names)], names, strict=True):
            here = scored(table[table["suite"] == suite])
            stiffnesses, radii = ordered(table["stiffness"]), ordered(table["radius"])
            best = best_setting(here)
            star_x = _between(defaults["radius"], radii)
            star_y = _between(defaults["stiffness"], stiffnesses)
            _holes(axes, here, radii, stiffnesses)
            for index, entry in here.iterrows():
                x, y = radii.index(entry["radius"]), stiffnesses.index(entry["stiffness"])
                score = entry["score"].value
                under_star = (x, y) == (round(star_x), round(star_y))
                aside = (-0.32 if star_y >= y else 0.32) if under_star else 0.0
                axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=paint(tint(score)), lw=0))
                axes.annotate(
                    number(score, 2),
                    (x, y + aside),
                    ha="center",
                    va="center",
                    color=_ON_DARK if tint(score) < 0.5 else _ON_LIGHT,
                    fontsize=8.5,
                    fontweight="bold" if index == best else "normal",
                )
                if index == best:
                    frame = Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, lw=2.2)
                    frame.set_edgecolor(LOOK.colour("gtr"))
                    axes.add_patch(frame)
            axes.plot(star_x, star_y, "*", ms=12, color=LOOK.colour("gtr"), mec=_ON_DARK, mew=1.1)
            axes.set_xlim(-0.5, len(radii) - 0.5)
            axes.set_ylim(-0.5, len(stiffnesses) - 0.5)
            axes.set_xticks(range(len(radii)), radii)
            axes.set_yticks(range(len(stiffnesses)), stiffnesses)
            axes.set_xlabel("radius")
            axes.set_ylabel("stiffness")
            axes.set_title(suite)
            axes.tick_params(length=0)
            for spine in axes.spines.values():
                spine.set_visible(False)
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        orange = LOOK.colour("gtr")
        legend(
            figure,
            [
                Line2D([], [], ls="", marker="*", ms=12, color=orange, label="GTR's defaults"),
                Patch(fill=False, edgecolor=orange, lw=2.2, label="highest"),
                *(
                    Patch(color=paint(tint(at)), label=number(at, 2))
                    for at in np.linspace(low, tint.vmax or low, 5)
                ),
            ],
        )
        return figure


def shape(study: Study, answer: Answer) -> Figure | None:
    """Score against stiffness for each shape of the penalty, clipped and not."""
    table = answer.tables.get("shape")
    if table is None:
        return None
    rows = list(dict.fromkeys(table["suite"]))
    names = [name for name in ("gtr", *SHAPES) if name in set(table["shape"])]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 2.2 * len(rows)), layout="constrained")
        panels = figure.subplots(len(rows), 2, sharey="row", squeeze=False)
        for (row, suite), (column, clipped) in product(enumerate(rows), enumerate(("yes", "no"))):
            axes = panels[row, column]
            here = table[(table["suite"] == suite) & (table["clipped"] == clipped)]
            values = ordered(table[table["suite"] == suite]["stiffness"])
            _levels(axes, study, "shape", suite, ("ppo",))
            for place, name in enumerate(names):
                shift = 0.09 * (place - (len(names) - 1) / 2)
                own = here[here["shape"] == name]
                _track(axes, own, "stiffness", values, shift, LOOK.line(name), LOOK.marker(name))
            axes.set_xticks(range(len(values)), values)
            axes.set_xlim(-0.5, len(values) - 0.5)
            if row == 0:
                axes.set_title("with PPO's clip" if clipped == "yes" else "without the clip")
            if row == len(rows) - 1:
                axes.set_xlabel("stiffness")
            if column == 0:
                axes.set_ylabel(f"{suite}\n{SCORE}")
        _cover(panels)
        ppo = Line2D([], [], color=LOOK.colour("ppo"), lw=1.6, label="ppo in the comparison")
        legend(figure, [*map(handle, names), ppo, oracle_handle()])
        return figure


def anchor(study: Study, answer: Answer) -> Figure | None:
    """Score by the anchor's kind, the age between snapshots, and their number."""
    table = answer.tables.get("anchor")
    if table is None:
        return None
    names = list(dict.fromkeys(table["suite"]))
    mixtures = ordered(table[table["anchor"] == "mixture"]["count"])
    # From light to dark with the number of snapshots.
    shades = [mpl.colormaps["YlOrRd"](at) for at in np.linspace(0.45, 0.9, max(1, len(mixtures)))]
    lines: list[tuple[str, str, str, str, Any]] = [
        ("stale", "1", "one old snapshot", "D", {"color": "#009e73", "ls": (0, (5, 1.5))})
    ]
    for count, shade, marker in zip(mixtures, shades, "osv^Pp", strict=False):
        lines.append(("mixture", count, f"mixture of {count}", marker, {"color": shade, "ls": "-"}))
    with mpl.rc_context(STYLE):
        columns = min(3, max(2, len(names)))
        height = -(-len(names) // columns)
        figure = Figure(figsize=(WIDTH, 0.9 + 2.9 * height), layout="constrained")
        panels = figure.subplots(height, columns, squeeze=False)
        for axes, suite in zip(panels.flat[: len(names)], names, strict=True):
            here = table[table["suite"] == suite]
            ages = ordered(here[here["anchor"] != "behaviour"]["every"])
            behaviour = here[here["anchor"] == "behaviour"]
            _levels(axes, study, "anchor", suite, ("ppo",))
            for place, (kind, count, _, marker, line) in enumerate(lines):
                own = here[(here["anchor"] == kind) & (here["count"] == count)]
                shift = 0.1 * (place - (len(lines) - 1) / 2)
                _track(axes, own, "every", ages, shift, line, marker)
            ticks = [f"{age}" for age in ages]
            if not behaviour.empty:
                found: Estimate = behaviour["score"].iloc[0]
                _upright(axes, found, -1.0, LOOK.colour("gtr-behaviour"), "P")
                axes.axvline(-0.5, color=GRID, lw=1)
            axes.set_xticks(range(-1, len(ages)), ["behaviour\npolicy", *ticks])
            axes.set_xlim(-1.5, len(ages) - 0.5)
            axes.set_title(suite)
            axes.set_xlabel("iterations between snapshots")
            axes.set_ylabel(SCORE)
        for axes in panels.flat[len(names) :]:
            axes.set_visible(False)
        _cover(panels)
        handles = [
            Line2D([], [], lw=2, marker=marker, ms=7, mec=PAPER, label=label, **line)
            for _, _, label, marker, line in lines
        ]
        handles.append(sample(LOOK.colour("gtr-behaviour"), "P", "behaviour policy", False))
        ppo = Line2D([], [], color=LOOK.colour("ppo"), lw=1.6, label="ppo in the comparison")
        legend(figure, [*handles, ppo, oracle_handle()], columns=4)
        return figure


def advantage(study: Study, answer: Answer) -> Figure | None:
    """PPO and GTR by scale of the advantages, clip range and entropy bonus."""
    table = answer.tables.get("advantage")
    if table is None:
        return None
    rows, clips = list(dict.fromkeys(table["suite"])), ordered(table["clip"])
    values = ordered(table["entropy"])
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.9 + 2.1 * len(rows)), layout="constrained")
        panels = figure.subplots(len(rows), len(clips), sharey="row", squeeze=False)
        kinds = list(product(("ppo", "gtr"), ("batch", "running")))
        for (row, suite), (column, clip) in product(enumerate(rows), enumerate(clips)):
            axes = panels[row, column]
            here = table[(table["suite"] == suite) & (table["clip"] == clip)]
            _levels(axes, study, "advantage", suite, ())
            for place, (name, scale) in enumerate(kinds):
                own = here[(here["method"] == name) & (here["scale"] == scale)]
                shift = 0.1 * (place - 1.5)
                _track(axes, own, "entropy", values, shift, *_pair(name, scale == "running"))
            axes.set_xticks(range(len(values)), values)
            axes.set_xlim(-0.5, len(values) - 0.5)
            if row == 0:
                axes.set_title("no clip" if clip == UNCLIPPED else f"clip {clip}")
            if row == len(rows) - 1:
                axes.set_xlabel("entropy bonus")
            if column == 0:
                axes.set_ylabel(f"{suite}\n{SCORE}")
        _cover(panels)
        handles = [
            _pair_handle(name, scale == "running", f"{scale} scale") for name, scale in kinds
        ]
        legend(figure, [*handles, oracle_handle()])
        return figure


def _pair(name: str, other: bool) -> tuple[dict[str, Any], str]:
    """Line and marker of a method under one of two conditions."""
    line = {"color": LOOK.colour(name), "ls": (0, (5, 1.5)) if other else "-"}
    return line, "s" if other else "o"


def _pair_handle(name: str, other: bool, condition: str) -> Line2D:
    line, marker = _pair(name, other)
    label = f"{name}, {condition}"
    return Line2D([], [], lw=2, marker=marker, ms=7, mec=PAPER, label=label, **line)


def _track(
    axes: Axes,
    table: pd.DataFrame,
    factor: str,
    values: Sequence[str],
    shift: float,
    line: Mapping[str, Any],
    marker: str,
) -> None:
    """A line through the scores at a factor's values, with their intervals.

    Lines are shifted against each other, so that intervals do not hide one another.
    """
    table = scored(table)
    if table.empty:
        return
    order = [values.index(value) for value in table[factor]]
    table = table.iloc[np.argsort(order)]
    x = np.sort(order) + shift
    middle, low, high = as_arrays(table["score"])
    line = {key: value for key, value in line.items() if key != "label"}
    axes.plot(x, middle, lw=1.6, alpha=0.75, zorder=3, **line)
    axes.vlines(x, low, high, color=line["color"], lw=1.6, alpha=0.8, zorder=4)
    axes.plot(x, middle, marker, ms=6, color=line["color"], mec=PAPER, mew=0.8, zorder=5)


def _categories(axes: Axes, table: pd.DataFrame, factor: str, own: str | None) -> None:
    """PPO's scores at a factor's values; its own value is said so."""
    values = ordered(table[factor]) if factor in table else []
    joined = table[table[factor] != UNCLIPPED] if values else table
    line = LOOK.line("ppo")
    for part in (joined, table.drop(joined.index)):
        _track(axes, part, factor, values, 0.0, line, LOOK.marker("ppo"))
    axes.set_xticks(range(len(values)), [f"{v}\n(own)" if v == own else v for v in values])
    axes.set_xlim(-0.5, max(len(values), 1) - 0.5)


def _dots_above(axes: Axes, grid: pd.DataFrame | None, table: pd.DataFrame, factor: str) -> None:
    """Every run of the settings in a table, faintly."""
    if grid is None or table.empty:
        return
    values = ordered(table[factor])
    keys = [key for key in ("suite", "width", "depth", "clip") if key in table]
    runs = grid.merge(table[keys], on=keys)
    for value, own in runs.groupby(factor):
        ripple = 0.12 * np.sin(2.4 * np.arange(len(own)))
        axes.plot(
            values.index(str(value)) + ripple,
            own["value"],
            "o",
            ms=3.5,
            mew=0,
            alpha=0.35,
            color=LOOK.colour("ppo"),
            zorder=2,
        )


def _levels(axes: Axes, study: Study, question: str, suite: str, names: Sequence[str]) -> None:
    """Lines across a panel: the oracle, and methods of the comparison with their intervals."""
    axes.axhline(1.0, color=INK, lw=1, ls=DASHES, zorder=1)
    for name in names:
        found = level(study, question, suite, name)
        if not found.runs:
            continue
        axes.axhline(found.value, color=LOOK.colour(name), lw=1.6, zorder=1)
        if found.low is not None and found.high is not None:
            axes.axhspan(found.low, found.high, color=LOOK.colour(name), alpha=0.12, lw=0)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _cover(panels: np.ndarray) -> None:
    """Axes that show the random policy's score and the oracle's, so that heights compare."""
    for axes in panels.flat:
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, -0.04), max(high, 1.06))


def _upright(axes: Axes, found: Estimate, x: float, colour: str, marker: str) -> None:
    if not found.runs:
        return
    if found.low is not None and found.high is not None:
        axes.vlines(x, found.low, found.high, color=colour, lw=1.6, alpha=0.8, zorder=4)
    axes.plot(x, found.value, marker, ms=7.5, color=colour, mec=PAPER, mew=0.8, zorder=5)


def _holes(axes: Axes, table: pd.DataFrame, radii: list[str], stiffnesses: list[str]) -> None:
    """Grey cells where a map has no score."""
    held = set(zip(table["radius"], table["stiffness"], strict=True))
    for (x, radius), (y, stiffness) in product(enumerate(radii), enumerate(stiffnesses)):
        if (radius, stiffness) not in held:
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=GRID, lw=0))
            axes.annotate("–", (x, y), ha="center", va="center", color=FAINT)


def _between(value: float, found: Sequence[str]) -> float:
    """Where a number lies among cells that are evenly spaced in its logarithm."""
    return float(np.interp(np.log(value), np.log([float(x) for x in found]), range(len(found))))
