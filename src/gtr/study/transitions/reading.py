"""What a study's directory holds, finished or not, read and checked.

Scores of the comparisons are normalised seed by seed. The grids are trained on other seeds and some
of them on the first phases only, so their returns are normalised by the oracle's and the random
policy's means, over seeds, in the same phases of the suite's comparison.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gtr.errors import GTRError
from gtr.files import read_text
from gtr.study.records import ORACLE, RANDOM, read_metrics
from gtr.study.transitions.plan import MAIN, QUESTIONS, Extent
from gtr.study.tune import read_tuned

UNCLIPPED = "none"
"""How a clip range that no ratio reaches is written."""

_NO_CLIP = 1e6
_CURVES = ("suite", "method", "measure", "step", "value", "value_low", "value_high", "value_runs")
_MEND = "delete it and run the study again, which goes on from what is trained"


@dataclass(frozen=True)
class Study:
    """What a directory holds.

    Attributes:
        extent: how much of everything was asked for.
        changing: scores of the comparisons; columns suite, method, seed, metric, value.
        stationary: the same, on the twins that never change.
        wide: the suites on which all arms are there.
        grids: by the question's name; columns suite, its factors as text, seed, value
            (normalised).
        lost: by the question's name, how many settings have no score and were left out.
        unscaled: by the question's name, suites whose grid cannot be normalised.
        levels: by question, suite and method, the runs of `ppo` and `gtr` in the comparison on the
            scale of the question's grid.
        tuned: columns suite, arm, number, value.
        metrics: raw rows by suite and method, of `ppo` and `gtr`, where they are kept.
        curves: `tables/relaxation.csv` as it was last written, without the suites whose raw rows
            are kept: those rows are large and need not come along with what was found.
    """

    extent: Extent
    changing: pd.DataFrame
    stationary: pd.DataFrame
    wide: tuple[str, ...]
    grids: Mapping[str, pd.DataFrame]
    lost: Mapping[str, int]
    unscaled: Mapping[str, tuple[str, ...]]
    levels: Mapping[tuple[str, str, str], pd.Series]
    tuned: pd.DataFrame
    metrics: Mapping[tuple[str, str], pd.DataFrame]
    curves: pd.DataFrame

    def runs(self, suite: str, method: str, metric: str = "normalised") -> pd.Series:
        """Finite scores of a method's runs on a changing suite, by seed."""
        return runs_of(self.changing, suite, method, metric)

    @property
    def suites(self) -> tuple[str, ...]:
        """The changing suites that have a comparison, in the order of the plan."""
        found = set(self.changing["suite"])
        return tuple(name for name in self.extent.main if name in found)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the comparisons on the changing suites."""
        return tuple(sorted({int(seed) for seed in self.changing["seed"]}))

    @property
    def grid_seeds(self) -> tuple[int, ...]:
        """Of the grids."""
        return tuple(sorted({int(s) for grid in self.grids.values() for s in grid["seed"]}))


def read_study(extent: Extent, directory: Path) -> Study:
    """Reads what `gtr study transitions` has left so far.

    Args:
        extent: how much of everything was asked for.
        directory: of the study.

    Returns:
        What is there; what is not there yet is left out.

    Raises:
        GTRError: there is nothing at all, or a file is damaged.
    """
    changing, stationary, tuned = [], [], []
    metrics: dict[tuple[str, str], pd.DataFrame] = {}
    wide = []
    for name in extent.main:
        home = directory / name
        for place in ("all", "main"):
            if (home / place / "scores.csv").exists():
                changing.append(_read_scores(home / place / "scores.csv", name))
                wide += [name] if place == "all" else []
                break
        if (home / "stationary" / "scores.csv").exists():
            stationary.append(_read_scores(home / "stationary" / "scores.csv", name))
        for arm in extent.arms(name):
            tuned += _read_choice(home / "tuning" / arm.name / "tuned.json", name, arm.name)
        for arm in MAIN[:2]:
            kept = [home / place / "runs" / arm / "metrics.csv" for place in ("main", "all")]
            for path in [path for path in kept if path.exists()][:1]:
                metrics[name, arm] = read_metrics(path)
    scores = _joined(changing)
    grids: dict[str, list[pd.DataFrame]] = {}
    lost: dict[str, int] = {}
    unscaled: dict[str, tuple[str, ...]] = {}
    levels: dict[tuple[str, str, str], pd.Series] = {}
    for question in QUESTIONS:
        for name in extent.wide:
            path = directory / name / f"{question.name}.csv"
            if not path.exists():
                continue
            grid, phases, gone = _read_grid(path, question.factors)
            lost[question.name] = lost.get(question.name, 0) + gone
            if grid.empty:
                continue
            returns = _same_phases(scores, name, phases)
            floor, top = (returns(special).mean() for special in (RANDOM, ORACLE))
            if not top > floor:
                unscaled[question.name] = (*unscaled.get(question.name, ()), name)
                continue
            grid["value"] = (grid["value"] - floor) / (top - floor)
            grid.insert(0, "suite", name)
            grids.setdefault(question.name, []).append(grid)
            for arm in MAIN[:2]:
                levels[question.name, name, arm] = (returns(arm) - floor) / (top - floor)
    if not (changing or stationary or tuned or grids or unscaled or metrics):
        raise GTRError(
            f"{directory} holds nothing of the study yet: run `gtr study transitions` into it, or "
            "give the directory that it writes to"
        )
    compared = {str(name) for name in scores["suite"]}
    return Study(
        extent=extent,
        changing=scores,
        stationary=_joined(stationary),
        wide=tuple(wide),
        grids={name: pd.concat(tables, ignore_index=True) for name, tables in grids.items()},
        lost=lost,
        unscaled=unscaled,
        levels=levels,
        tuned=pd.DataFrame(tuned, columns=pd.Index(["suite", "arm", "number", "value"])),
        metrics=metrics,
        curves=_read_curves(directory / "tables" / "relaxation.csv", compared, metrics),
    )


def _read_curves(
    path: Path, compared: Iterable[str], metrics: Mapping[tuple[str, str], pd.DataFrame]
) -> pd.DataFrame:
    """What an earlier page drew of the compared suites whose raw rows are not here."""
    if not path.exists():
        return pd.DataFrame(columns=pd.Index(_CURVES))
    mend = "delete it; the page is drawn without it, or from the raw rows where they are kept"
    try:
        table = pd.read_csv(StringIO(read_text(path)))
        table = table.astype(dict.fromkeys(_CURVES[3:], float))
    except (ValueError, KeyError) as error:
        raise GTRError(f"{path} is damaged ({error}): {mend}") from None
    lacking = [name for name in _CURVES if name not in table.columns]
    if lacking or table[[*_CURVES[:5], _CURVES[-1]]].isna().any(axis=None):
        raise GTRError(f"{path} is damaged (a cell or a column is missing): {mend}")
    gone = set(compared) - {suite for suite, _ in metrics}
    return table[table["suite"].isin(gone)].reset_index(drop=True)


def _read_table(path: Path, text: Sequence[str]) -> pd.DataFrame:
    """A table with the columns `text`, seed, metric and value, whole and with numbers in it."""
    content = read_text(path)
    if not content.endswith("\n"):
        raise GTRError(f"{path} ends in the middle of a line, it was cut short: {_MEND}")
    header, *lines = content.rstrip("\n").split("\n")
    columns = header.split(",")
    wanted = [*text, "seed", "metric", "value"]
    lacking = [column for column in wanted if column not in columns]
    if lacking:
        raise GTRError(f"{path} lacks the column {', '.join(lacking)}: {_MEND}")
    for number, line in enumerate(lines, start=2):
        if line.count(",") != len(columns) - 1:
            raise GTRError(
                f"{path} line {number} has {line.count(',') + 1} cells where the header has "
                f"{len(columns)}: {_MEND}"
            )
    raw = pd.read_csv(StringIO(content), dtype=str, keep_default_na=False)[wanted]
    table = raw.copy()
    for column in ("seed", "value"):
        cells = raw[column].replace("", "nan")
        table[column] = pd.to_numeric(cells, errors="coerce").astype(float)
        wrong = table[column].isna() & (cells.str.lower() != "nan")
        wrong |= table[column].isna() if column == "seed" else False
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise GTRError(
                f"{path} line {row + 2}: `{column}` must be a number, not "
                f"{raw[column].iloc[row]!r}: {_MEND}"
            )
    table["seed"] = table["seed"].astype(int)
    twice = table.duplicated([*text, "seed", "metric"])
    if twice.any():
        row = table[twice].iloc[0]
        raise GTRError(
            f"{path} holds {row['metric']} of {' '.join(row[list(text)])} with seed {row['seed']} "
            f"twice: {_MEND}"
        )
    return table


def _read_scores(path: Path, suite: str) -> pd.DataFrame:
    scores = _read_table(path, ["method"])
    scores.insert(0, "suite", suite)
    return scores


def _joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    columns = pd.Index(["suite", "method", "seed", "metric", "value"])
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _read_choice(path: Path, suite: str, arm: str) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    chosen = read_tuned(path)
    if arm not in chosen:
        raise GTRError(f"{path} holds no choice for {arm}: {_MEND}")
    found = dict(chosen[arm].numbers) | dict(chosen[arm].learner)
    return [{"suite": suite, "arm": arm, "number": k, "value": v} for k, v in found.items()]


def _read_grid(path: Path, factors: tuple[str, ...]) -> tuple[pd.DataFrame, int, int]:
    """Returns after the first phase, the number of phases, and how many settings were left out."""
    table = _read_table(path, factors)
    if "clip" in factors:
        # Before sorting, so that no clip comes after all clips.
        wide = pd.to_numeric(table["clip"], errors="coerce") >= _NO_CLIP
        table["clip"] = table["clip"].mask(wide, UNCLIPPED)
    keys, is_phase = list(factors), table["metric"].str.startswith("return_phase_")
    phases = table[is_phase].groupby(keys)["metric"].nunique().rename("phases").reset_index()
    returns = table[table["metric"] == "later_return"].drop(columns="metric")
    if phases.empty or returns.empty:
        raise GTRError(f"{path} holds no return_phase_0, or no later_return: {_MEND}")
    most = int(phases["phases"].max())
    # A setting that met a NaN has no rows from there on: its mean would be that of fewer phases.
    placed = returns.merge(phases, on=keys, how="left")
    kept = placed[(placed["phases"] == most) & np.isfinite(placed["value"])]
    kept = kept.drop(columns="phases")
    kept = kept.sort_values([*keys, "seed"], key=_sort_key, ignore_index=True)
    asked, held = (one[keys].drop_duplicates() for one in (table, kept))
    return kept, most, len(asked) - len(held)


def _same_phases(scores: pd.DataFrame, suite: str, phases: int) -> Callable[[str], pd.Series]:
    """Mean return of a method's runs in the phases of a grid that has so many of them, by seed."""
    counted = [f"return_phase_{phase}" for phase in range(1, phases)] or ["return_phase_0"]

    def returns(method: str) -> pd.Series:
        runs = [runs_of(scores, suite, method, metric) for metric in counted]
        return pd.concat(runs, axis=1).mean(axis=1, skipna=False).dropna()

    return returns


def normalised(scores: pd.DataFrame) -> pd.DataFrame:
    """The finite normalised scores, as `aggregate` takes them: suite, method, seed, value."""
    rows = scores[scores["metric"] == "normalised"].drop(columns="metric")
    return rows[np.isfinite(rows["value"].to_numpy(dtype=float))]


def runs_of(scores: pd.DataFrame, suite: str, method: str, metric: str) -> pd.Series:
    """Finite scores of a method's runs on one suite, by seed."""
    rows = scores[
        (scores["suite"] == suite) & (scores["method"] == method) & (scores["metric"] == metric)
    ]
    values = rows.set_index("seed")["value"].astype(float)
    return values[np.isfinite(values.to_numpy())]


def in_order(found: Iterable[str], planned: Sequence[str]) -> tuple[str, ...]:
    """What of the plan was found, in the order of the plan."""
    held = set(found)
    return tuple(name for name in planned if name in held)


def lacking(planned: Sequence[str], found: Iterable[str]) -> tuple[str, ...]:
    """What of the plan was not found, in the order of the plan."""
    held = set(found)
    return tuple(name for name in planned if name not in held)


def ordered(values: Iterable[str]) -> list[str]:
    """Different values, numbers by size and before words."""
    return sorted(set(values), key=_sort_value)


def _sort_value(value: str) -> tuple[int, float, str]:
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value


def _sort_key(column: pd.Series) -> pd.Series:
    place = {value: number for number, value in enumerate(ordered(map(str, column)))}
    return column.astype(str).map(place)
