"""Reading what training left on disk, and refusing what cannot be trusted.

Two kinds of directory are understood: a comparison (`comparison.json` and `runs/<method>/`) and the
directory of a single training (`config.json` and `metrics.csv`). Both become a `Comparison`, so
everything downstream has one input. A file that is damaged raises `GTRError`, which names the
file, what is wrong with it and the mend; a file that is not there yet is only unfinished work.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from gtr.errors import GTRError
from gtr.files import RERUN, read_json, read_text

ORACLE = "oracle"
RANDOM = "random"
STEP = "environment steps"
REQUIRED = ("iteration", "seed", "step", "phase", "episodes", "return")
MEASURED = (
    "entropy",
    "kl",
    "clip_fraction",
    "redescended_fraction",
    "redescended_advantage",
    "anchor_spread",
    "effective_rank",
    "dormant_fraction",
    "step_distance",
    "path_length",
    "net_displacement",
    "directional_efficiency",
    "step_cosine",
)
ACCURACY = "accuracy_"
"""What the columns of a task's held-out accuracy begin with; see docs/language.md."""

T = TypeVar("T")


@dataclass(frozen=True)
class Arm:
    """One method's runs.

    Attributes:
        name: the method's name, or `oracle` or `random`.
        metrics: one row an iteration and seed, sorted by seed and iteration; the columns of
            `REQUIRED` and `MEASURED` are always there, as numbers.
        config: the run's `config.json`.
    """

    name: str
    metrics: pd.DataFrame
    config: dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What was to be run, and what of it is there.

    Attributes:
        directory: where it was read from.
        single: whether it is one training rather than a comparison.
        suite: the suite's name.
        size: the suite's size.
        phases: number of worlds in a lifetime.
        phase_steps: steps in each.
        step: what a step is, in the plural: `STEP`, or the answers of a language model.
        methods: the learning methods, in order; the special arms are not among them.
        references: the special arms that are to be run, of `oracle` and `random`.
        seeds: the seeds that every arm is to be run with.
        versions: version of each library that took part.
        command: the command line that made it; empty where none was recorded.
        arms: what was found, by name.
    """

    directory: Path
    single: bool
    suite: str
    size: str
    phases: int
    phase_steps: int
    step: str
    methods: tuple[str, ...]
    references: tuple[str, ...]
    seeds: tuple[int, ...]
    versions: dict[str, str]
    command: str
    arms: dict[str, Arm]

    def finished_seeds(self, name: str) -> tuple[int, ...]:
        """The seeds whose run of this arm went through all phases.

        A run is over when no further whole iteration fits into its budget of steps.
        """
        if name not in self.arms:
            return ()
        metrics = self.arms[name].metrics
        finished = []
        for seed, run in metrics.groupby("seed"):
            last = int(run["step"].iloc[-1])
            before = int(run["step"].iloc[-2]) if len(run) > 1 else 0
            if last + (last - before) > self.phases * self.phase_steps:
                finished.append(int(str(seed)))
        return tuple(finished)

    def finished(self, name: str) -> pd.DataFrame:
        """The metrics of this arm's finished runs; empty where there are none."""
        if name not in self.arms:
            return pd.DataFrame(columns=pd.Index([*REQUIRED, *MEASURED]), dtype=float)
        metrics = self.arms[name].metrics
        return metrics[metrics["seed"].isin(self.finished_seeds(name))]


def read_directory(directory: str | Path) -> Comparison:
    """Read a comparison, or the directory of a single training.

    Args:
        directory: holds `comparison.json`, or `config.json` and `metrics.csv`.

    Returns:
        What was found; arms that have written nothing yet are left out.

    Raises:
        GTRError: nothing to read there, or a file is damaged.
    """
    directory = Path(directory)
    if (directory / "comparison.json").is_file():
        return _read_comparison(directory)
    if (directory / "metrics.csv").is_file() or (directory / "config.json").is_file():
        return _read_training(directory)
    raise GTRError(
        f"{directory} holds neither comparison.json nor metrics.csv: give the directory that "
        "`gtr compare` or `gtr train` wrote"
    )


def _read_comparison(directory: Path) -> Comparison:
    path = directory / "comparison.json"
    document = read_json(path)
    methods = _field(document, path, "methods", list)
    seeds = _field(document, path, "seeds", list)
    if not methods or not all(isinstance(m, str) and m and Path(m).name == m for m in methods):
        raise GTRError(f"{path}: `methods` must be a list of directory names, not {methods!r}")
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) for s in seeds):
        raise GTRError(f"{path}: `seeds` must be a list of whole numbers, not {seeds!r}")
    for kind, values in (("method", methods), ("seed", seeds)):
        if len(set(values)) < len(values):
            raise GTRError(f"{path}: names a {kind} twice in {values!r}; keep one of each")
    phases, phase_steps = _lifetime(document, path)
    arms: dict[str, Arm] = {}
    for name in dict.fromkeys([*methods, ORACLE, RANDOM]):
        arm = _read_arm(name, directory / "runs" / name)
        if arm is None:
            continue
        where = directory / "runs" / name / "metrics.csv"
        strange = sorted(set(arm.metrics["seed"].astype(int)) - set(seeds))
        if strange:
            raise GTRError(
                f"{where} holds seed {strange[0]}, which {path.name} does not list: add it there, "
                "or take the runs of another comparison out of the file"
            )
        if int(arm.metrics["phase"].max()) >= phases:
            raise GTRError(
                f"{where} holds phase {int(arm.metrics['phase'].max())}, but {path.name} says that "
                f"there are {phases} (0 to {phases - 1}): correct `phases` there"
            )
        arms[name] = arm
    return Comparison(
        directory=directory,
        single=False,
        step=_step(document, path),
        suite=_field(document, path, "suite", str),
        size=_field(document, path, "size", str),
        phases=phases,
        phase_steps=phase_steps,
        methods=tuple(m for m in methods if m not in (ORACLE, RANDOM)),
        references=_references(document, path),
        seeds=tuple(sorted(seeds)),
        versions=_versions(document, path),
        command=_field(document, path, "command", str),
        arms=arms,
    )


def _read_training(directory: Path) -> Comparison:
    path = directory / "config.json"
    config = read_json(path)
    metrics = read_metrics(directory / "metrics.csv")
    if metrics.empty:
        raise GTRError(
            f"{directory / 'metrics.csv'} has a header but no rows: wait for the first iteration"
        )
    name = _field(config, path, "method", str)
    phases, phase_steps = _lifetime(config, path)
    if phases <= metrics["phase"].max():
        raise GTRError(
            f"{directory / 'metrics.csv'} holds phase {metrics['phase'].max():.0f}, but "
            f"{path.name} says that there are {phases} (from 0): one of them is of another run"
        )
    command = config.get("command")
    return Comparison(
        directory=directory,
        single=True,
        step=_step(config, path),
        suite=_field(config, path, "suite", str),
        size=_field(config, path, "size", str),
        phases=phases,
        phase_steps=phase_steps,
        methods=(name,),
        references=(),
        seeds=tuple(sorted({int(s) for s in metrics["seed"]})),
        versions=_versions(config, path),
        command=command if isinstance(command, str) else "",
        arms={name: Arm(name, metrics, config)},
    )


def _read_arm(name: str, directory: Path) -> Arm | None:
    if not (directory / "metrics.csv").is_file():
        return None
    metrics = read_metrics(directory / "metrics.csv")
    if metrics.empty:
        return None
    return Arm(name, metrics, read_json(directory / "config.json"))


def read_metrics(path: Path) -> pd.DataFrame:
    """Read and check a `metrics.csv`.

    Args:
        path: the file; its columns are described in docs/architecture.md.

    Returns:
        One row an iteration and seed, sorted by seed and iteration. The columns of `REQUIRED` and
        `MEASURED`, and held-out accuracies where there are any, are floats (`seed` is an integer);
        what was not measured is NaN.

    Raises:
        GTRError: the file is missing, empty or cut short, a required column is missing, a cell
            is no number, or rows contradict each other.
    """
    text = read_text(path)
    if not text.endswith("\n"):
        raise GTRError(
            f"{path} ends in the middle of line {text.count(chr(10)) + 1}, it was cut short: "
            f"delete that line, or {RERUN}"
        )
    header, *lines = text.rstrip("\n").split("\n")
    columns = [column.strip() for column in header.split(",")]
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise GTRError(f"{path} lacks the column {', '.join(missing)}: {RERUN}")
    for number, line in enumerate(lines, start=2):
        if line.count(",") != len(columns) - 1:
            raise GTRError(
                f"{path} line {number} has {line.count(',') + 1} cells where the header has "
                f"{len(columns)}: delete that line, or {RERUN}"
            )
    held_out = [c for c in columns if c.removeprefix("before_").startswith(ACCURACY)]
    raw = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    metrics = pd.DataFrame(
        {
            column: _numbers(raw[column], path) if column in columns else np.nan
            for column in (*REQUIRED, *MEASURED, *held_out)
        },
        index=raw.index,
        dtype=float,
    )
    metrics["episodes"] = metrics["episodes"].fillna(0)
    for column in ("iteration", "seed", "step", "phase", "episodes"):
        values = metrics[column]
        wrong = ~np.isfinite(values) | (values < 0) | (values % 1 != 0)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise GTRError(
                f"{path} line {row + 2}: `{column}` must be a whole number from 0, not "
                f"{raw[column].iloc[row]!r}: {RERUN}"
            )
    wrong = (metrics["episodes"] > 0) & ~np.isfinite(metrics["return"])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise GTRError(
            f"{path} line {row + 2}: episodes ended but `return` is {raw['return'].iloc[row]!r}: "
            f"the training may have diverged; {RERUN}"
        )
    metrics["return"] = metrics["return"].where(metrics["episodes"] > 0)
    metrics["seed"] = metrics["seed"].astype(int)
    metrics = metrics.sort_values(["seed", "iteration"], kind="stable", ignore_index=True)
    twice = metrics.duplicated(["seed", "iteration"])
    if twice.any():
        row = metrics[twice].iloc[0]
        raise GTRError(
            f"{path} holds iteration {row['iteration']:.0f} of seed {row['seed']:.0f} twice, two "
            f"runs may have written to it: {RERUN}"
        )
    runs = metrics.groupby("seed")
    if ((runs["step"].diff() <= 0) | (runs["phase"].diff() < 0)).any():
        raise GTRError(f"{path}: `step` or `phase` goes back within a seed: {RERUN}")
    return metrics


def _numbers(cells: pd.Series, path: Path) -> pd.Series:
    stripped = cells.str.strip()
    values = pd.to_numeric(stripped.where(stripped != "", "nan"), errors="coerce").astype(float)
    wrong = values.isna() & ~stripped.str.lower().isin(["", "nan", "-nan"])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise GTRError(
            f"{path} line {row + 2}: `{cells.name}` must be a number, not {cells.iloc[row]!r}: "
            f"{RERUN}"
        )
    return values


def _field(document: dict[str, Any], path: Path, key: str, kind: type[T]) -> T:
    if key not in document:
        raise GTRError(f"{path} lacks `{key}`: {RERUN}")
    value = document[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise GTRError(f"{path}: `{key}` must be of type {kind.__name__}, not {value!r}: {RERUN}")
    return value


def _step(document: dict[str, Any], path: Path) -> str:
    return _field({"step": STEP} | document, path, "step", str)


def _references(document: dict[str, Any], path: Path) -> tuple[str, ...]:
    both = [ORACLE, RANDOM]
    found = _field({"references": both} | document, path, "references", list)
    if any(name not in both for name in found):
        raise GTRError(f"{path}: `references` may hold {' and '.join(both)}, not {found!r}")
    return tuple(found)


def _versions(document: dict[str, Any], path: Path) -> dict[str, str]:
    return {str(k): str(v) for k, v in _field(document, path, "versions", dict).items()}


def _lifetime(document: dict[str, Any], path: Path) -> tuple[int, int]:
    phases = _field(document, path, "phases", int)
    phase_steps = _field(document, path, "phase_steps", int)
    if phases < 1 or phase_steps < 1:
        raise GTRError(f"{path}: `phases` and `phase_steps` must be at least 1: {RERUN}")
    return phases, phase_steps
