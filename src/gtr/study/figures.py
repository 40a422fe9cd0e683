"""The figures of a report.

Every figure is a `matplotlib.figure.Figure` made without global state, so that a library user, a
thread and a test can draw side by side. A method keeps its colour in all figures (`style`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gtr.study.drawing import WIDTH, as_steps, dots, finite, folded, label_rows, mark, whisker
from gtr.study.records import ACCURACY, ORACLE, RANDOM
from gtr.study.results import Results
from gtr.study.scores import binned
from gtr.study.statistics import iqm_curve, performance_profile
from gtr.study.style import FAINT, GRID, INK, STRIPE, STYLE, Look
from gtr.study.wording import LABELS, share

HEALTH = (
    "entropy",
    "kl",
    "clip_fraction",
    "redescended_fraction",
    "anchor_spread",
    "effective_rank",
    "dormant_fraction",
)
MOVEMENT = ("path_length", "net_displacement", "directional_efficiency", "step_cosine")

_CROWD = 4
"""With more methods than this, runs get a panel for each, and shared panels no intervals."""


def learning_curves(results: Results) -> Figure:
    """Return over the changes: every run faint, the interquartile mean bold with its interval.

    With many methods, a first panel shows the means and one panel for each its runs.
    """
    with mpl.rc_context(STYLE):
        look, names = Look(results.comparison.methods), list(results.learners)
        crowded = len(names) > _CROWD
        columns = 3
        rows = -(-len(names) // columns) if crowded else 0
        figure = Figure(figsize=(WIDTH, 4.4 + 2.1 * rows), layout="constrained")
        grid = figure.add_gridspec(1 + rows, columns, height_ratios=[2.0] + [1.0] * rows)
        top = figure.add_subplot(grid[0, :])
        curves = {name: _curve(results, name, "return") for name in [*names, ORACLE, RANDOM]}
        for name in (RANDOM, ORACLE, *names):
            special = name in (ORACLE, RANDOM)
            _draw(top, curves[name], look.line(name), thin=special, band=not (special or crowded))
            if not crowded and name in names:
                _draw_runs(top, curves[name], look.colour(name))
        _frame_phases(top, results, ticks=True)
        top.set_ylabel("return of an episode")
        _legend(figure, top, columns=7)
        for place, name in enumerate(names if crowded else []):
            axes = figure.add_subplot(grid[1 + place // columns, place % columns], sharey=top)
            if results.reference and name != results.reference:
                reference = results.reference
                _draw(axes, curves[reference], look.line(reference), thin=True, band=False)
            _draw_runs(axes, curves[name], look.colour(name))
            _draw(axes, curves[name], look.line(name))
            _frame_phases(axes, results, ticks=False)
            axes.set_title(name, color=look.colour(name))
        return figure


def normalised_scores(results: Results) -> Figure | None:
    """Each run's score and the interquartile mean with its interval, a row a method.

    The score is the normalised one where it is defined, else the raw return. None before any run
    has finished.
    """
    names = [n for n in results.comparison.methods if len(results.of(n, results.metric))]
    if not names:
        return None
    with mpl.rc_context(STYLE):
        look = Look(results.comparison.methods)
        figure, axes = _rows(names, look)
        for row, name in enumerate(names):
            runs = results.of(name, results.metric).to_numpy()
            dots(axes, row, runs, look.colour(name))
            whisker(axes, row, results.estimates[name][results.metric], look, name)
        if results.metric == "normalised":
            mark(axes, 0.0, "random", FAINT)
            mark(axes, 1.0, "oracle", INK)
        axes.set_xlabel(f"{LABELS[results.metric]} (interquartile mean, 95% interval; every run)")
        return figure


def improvement(results: Results) -> Figure | None:
    """Probability that a run of each method beats a run of the reference. None without a pair."""
    names = [n for n in results.comparison.methods if n in results.improvement]
    if not names or not results.reference:
        return None
    with mpl.rc_context(STYLE):
        look = Look(results.comparison.methods)
        figure, axes = _rows(names, look)
        for row, name in enumerate(names):
            whisker(axes, row, results.improvement[name], look, name)
        mark(axes, 0.5, "even", INK)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: share(x)))
        axes.set_xlabel(f"chance that a run scores higher than a run of {results.reference}")
        return figure


def adaptation_time(results: Results) -> Figure | None:
    """Time to adapt after a change, and the share of changes not adapted to.

    None where it is not defined: it takes finished oracle and random runs.
    """
    names = [
        n for n in [*results.comparison.methods, ORACLE] if len(results.of(n, "adaptation_time"))
    ]
    if not any(n in results.comparison.methods for n in names):
        return None
    with mpl.rc_context(STYLE):
        look = Look(results.comparison.methods)
        figure = Figure(figsize=(WIDTH, _height(names)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=[2.2, 1], sharey=True)
        label_rows(left, names, look)
        for row, name in enumerate(names):
            runs = results.of(name, "adaptation_time").to_numpy()
            dots(left, row, runs, look.colour(name))
            whisker(left, row, results.estimates[name]["adaptation_time"], look, name)
            whisker(right, row, results.estimates[name]["adaptation_censored"], look, name)
        left.set_xlim(0, results.comparison.phase_steps * 1.04)
        mark(left, results.comparison.phase_steps, "next change", FAINT)
        left.xaxis.set_major_formatter(FuncFormatter(as_steps))
        left.set_xlabel("steps from a change to 80% of the way to the oracle")
        right.set_xlim(-0.04, 1.04)
        right.xaxis.set_major_formatter(FuncFormatter(lambda x, _: share(x)))
        right.set_xlabel("changes not adapted to")
        right.grid(axis="x")
        right.tick_params(left=False, labelleft=False)
        return figure


def profile(results: Results) -> Figure | None:
    """Share of runs above each score: the whole distribution. None before any run has finished."""
    names = [n for n in results.comparison.methods if len(results.of(n, results.metric))]
    if not names:
        return None
    with mpl.rc_context(STYLE):
        look = Look(results.comparison.methods)
        scores = {name: results.of(name, results.metric).to_numpy() for name in names}
        low = min(float(s.min()) for s in scores.values())
        high = max(float(s.max()) for s in scores.values())
        margin = 0.06 * (high - low) or 0.06 * max(abs(high), 1.0)
        thresholds = np.linspace(low - margin, high + margin, 201)
        figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
        axes = figure.subplots()
        for name in names:
            middle, lower, upper = performance_profile(scores[name], thresholds)
            axes.plot(thresholds, middle, lw=2, drawstyle="steps-post", **look.line(name))
            if len(names) <= _CROWD:
                axes.fill_between(
                    thresholds, lower, upper, step="post", lw=0, alpha=0.13, color=look.colour(name)
                )
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlim(thresholds[0], thresholds[-1])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: share(y)))
        axes.set_xlabel(LABELS[results.metric])
        axes.set_ylabel("runs above that score")
        axes.grid(axis="y")
        _legend(figure, axes, columns=7)
        return figure


def movement(results: Results) -> Figure | None:
    """How far, how straight and how steadily the policy moves after a change.

    The phases after the first are laid over each other (the first, where there is no other), so
    the axis is steps since the change. None where movement was not measured.
    """
    arms = results.comparison.arms
    return _panels(
        results, MOVEMENT, lambda name, column: folded(arms[name].metrics, column), fold=True
    )


def health(results: Results) -> Figure | None:
    """Entropy, trust region, and the network's plasticity over the lifetime.

    None where nothing of it was measured.
    """
    return _panels(results, HEALTH, lambda name, column: _curve(results, name, column), fold=False)


def held_out(results: Results) -> Figure | None:
    """Share of held-out problems of each task that are answered right, over the lifetime.

    What a task gains is learning, what it loses later is forgetting. None where nothing is asked.
    """
    arms = results.comparison.arms
    columns = dict.fromkeys(
        column
        for name in results.learners
        for column in map(str, arms[name].metrics)
        if column.startswith(ACCURACY)
    )
    titles = {column: f"held-out {column.removeprefix(ACCURACY)}" for column in columns}
    return _panels(
        results,
        columns,
        lambda name, column: _asked(arms[name].metrics, column),
        fold=False,
        titles=titles,
    )


def _asked(metrics: pd.DataFrame, column: str) -> pd.DataFrame:
    """A row a seed; one line over all phases, from before the first step on."""
    if column not in metrics:
        return pd.DataFrame()
    first = metrics[metrics["iteration"] == 0].assign(step=0)
    first = first.assign(**{column: first[f"before_{column}"]})
    rows = pd.concat([first, metrics]).dropna(subset=[column]).assign(phase=0)
    return rows.pivot(index="seed", columns=["phase", "step"], values=column)


def _curve(results: Results, name: str, column: str) -> pd.DataFrame:
    if name not in results.comparison.arms:
        return pd.DataFrame()
    metrics = results.comparison.arms[name].metrics
    if not np.isfinite(metrics[column]).any():
        return pd.DataFrame()
    return finite(binned(metrics, column))


def _draw(
    axes: Axes, curve: pd.DataFrame, line: dict[str, Any], thin: bool = False, band: bool = True
) -> None:
    """Draw mean and band, broken at the changes so that no line joins two worlds."""
    if curve.empty:
        return
    middle, low, high = iqm_curve(curve.to_numpy(), band)
    phases = curve.columns.get_level_values("phase").to_numpy()
    steps = curve.columns.get_level_values("step").to_numpy(dtype=float)
    for number, phase in enumerate(np.unique(phases)):
        here = phases == phase
        style = line if number == 0 else {**line, "label": None}
        few = {"marker": "o", "ms": 3, "clip_on": False} if here.sum() <= 8 else {}
        axes.plot(
            steps[here],
            middle[here],
            lw=1.4 if thin else 2.0,
            zorder=3 if thin else 5,
            **style,
            **few,
        )
        if np.isfinite(low[here]).any():
            axes.fill_between(
                steps[here], low[here], high[here], color=line["color"], alpha=0.16, lw=0, zorder=2
            )


def _draw_runs(axes: Axes, curve: pd.DataFrame, colour: str) -> None:
    if len(curve) < 2:
        return
    phases = curve.columns.get_level_values("phase").to_numpy()
    steps = curve.columns.get_level_values("step").to_numpy(dtype=float)
    for phase in np.unique(phases):
        here = phases == phase
        runs = curve.to_numpy()[:, here].T
        axes.plot(steps[here], runs, color=colour, lw=0.6, alpha=max(0.15, 1 / len(curve)))


def _frame_phases(axes: Axes, results: Results, ticks: bool) -> None:
    comparison = results.comparison
    end = comparison.phases * comparison.phase_steps
    for phase in range(comparison.phases):
        begin = phase * comparison.phase_steps
        if phase % 2:
            axes.axvspan(begin, begin + comparison.phase_steps, color=STRIPE, lw=0, zorder=0)
        if phase:
            axes.axvline(begin, color=GRID, lw=1, zorder=1)
        if ticks and comparison.phases <= 20:
            axes.annotate(
                f"world {phase}" if comparison.phases <= 10 else f"{phase}",
                ((begin + comparison.phase_steps / 2) / end, 1.0),
                xycoords="axes fraction",
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                color=FAINT,
                fontsize=8.5,
            )
    axes.set_xlim(0, end)
    axes.margins(y=0.06)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(8 if ticks else 4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(as_steps))
    if ticks:
        axes.set_xlabel(results.comparison.step)


def _panels(
    results: Results,
    columns: Iterable[str],
    curve: Callable[[str, str], pd.DataFrame],
    fold: bool,
    titles: Mapping[str, str] = LABELS,
) -> Figure | None:
    names = list(results.learners)
    curves = {
        column: {name: table for name in names if not (table := curve(name, column)).empty}
        for column in columns
    }
    shown = [column for column in curves if curves[column]]
    if not shown:
        return None
    with mpl.rc_context(STYLE):
        look = Look(results.comparison.methods)
        across = min(2, len(shown))
        rows, crowded = -(-len(shown) // across), len(names) > _CROWD
        figure = Figure(figsize=(WIDTH, 0.6 + 2.15 * rows), layout="constrained")
        for place, column in enumerate(shown):
            axes = figure.add_subplot(rows, across, place + 1)
            for name, table in curves[column].items():
                _draw(axes, table, look.line(name), thin=crowded, band=not crowded)
            axes.set_title(titles[column])
            if fold:
                axes.set_xlim(0, results.comparison.phase_steps)
                axes.margins(y=0.06)
                axes.grid(axis="y")
                axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
                axes.xaxis.set_major_formatter(FuncFormatter(as_steps))
            else:
                _frame_phases(axes, results, ticks=False)
            if place >= len(shown) - across:
                axes.set_xlabel(results.comparison.step + (" since the change" if fold else ""))
        present = [n for n in names if any(n in curves[c] for c in shown)]
        figure.legend(
            handles=[Line2D([], [], lw=2, **look.line(name)) for name in present],
            loc="outside upper left",
            ncols=7,
            handlelength=2.2,
        )
        return figure


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda i: labels[i] in (ORACLE, RANDOM))
    figure.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="outside upper left",
        ncols=columns,
        handlelength=2.2,
    )


def _height(names: Sequence[str]) -> float:
    return 1.15 + 0.42 * len(names)


def _rows(names: Sequence[str], look: Look) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, _height(names)), layout="constrained")
    axes = figure.subplots()
    label_rows(axes, names, look)
    return figure, axes
