"""Many settings of one suite, in as few programs as their static parts allow."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import pandas as pd

from gtr.errors import GTRError
from gtr.learner.config import Setting, rates
from gtr.learner.faults import Diverged
from gtr.study.workers import ArmProgress, Place, Task, train_in_turn
from gtr.suites import Suite


def train_grid(
    suite: Suite,
    settings: Sequence[Setting],
    *,
    seeds: Sequence[int],
    directory: Path,
    iterations: int | None = None,
    title: str = "",
    where: Place = train_in_turn,
    progress: ArmProgress | None = None,
) -> pd.DataFrame:
    """Trains settings, those that differ in numbers only side by side.

    A setting that meets a NaN is given up and told; its rows end there. The same call continues.

    Args:
        suite: what to train on.
        settings: each with a label of its own.
        seeds: of each.
        directory: where to keep the runs, one directory a program.
        iterations: stop early.
        title: for progress.
        where: the programs are trained.
        progress: told the title and how far it is.

    Returns:
        The rows of metrics.csv of all of them, with a column `setting`.

    Raises:
        GTRError: as `gtr.train`.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    tasks = grid_tasks(
        suite, settings, seeds=seeds, directory=directory, iterations=iterations, title=title
    )
    return grid_metrics(tasks, where(tasks, progress))


def grid_tasks(
    suite: Suite,
    settings: Sequence[Setting],
    *,
    seeds: Sequence[int],
    directory: Path,
    iterations: int | None = None,
    title: str = "",
) -> list[Task]:
    """A task for each program; see `train_grid`."""
    return [
        Task(
            f"{title}, program {number}" if title else f"program {number}",
            suite,
            tuple(group),
            tuple(seeds),
            directory / f"program-{number}",
            iterations=iterations,
        )
        for number, group in enumerate(_programs(settings), start=1)
    ]


def grid_metrics(tasks: Sequence[Task], failures: Mapping[str, GTRError]) -> pd.DataFrame:
    """What the tasks of a grid measured, once they are trained; see `train_grid`.

    Args:
        tasks: as `grid_tasks` gave them.
        failures: what went wrong, by name.

    Raises:
        GTRError: what went wrong, unless it is a NaN.
    """
    tables = []
    for task in tasks:
        failure = failures.get(task.name)
        if isinstance(failure, Diverged):
            print(f"given up: {task.name}: {str(failure).split(';')[0]}", flush=True)
            continue
        if failure is not None:
            raise GTRError(f"{task.name}: {failure}") from failure
        metrics = pd.read_csv(task.directory / "metrics.csv")
        if "setting" not in metrics:
            metrics = metrics.assign(setting=task.settings[0].label)
        tables.append(metrics.assign(setting=metrics["setting"].astype(str)))
    if not tables:
        return pd.DataFrame(columns=pd.Index(["setting", "seed"]))
    return pd.concat(tables, ignore_index=True)


def _programs(settings: Sequence[Setting]) -> list[list[Setting]]:
    """Settings that share a program, in the order in which each program is first met."""
    programs: dict[Any, list[Setting]] = {}
    for setting in settings:
        config = setting.config
        leaves = tuple(rates(config)._asdict())
        static = tuple((k, v) for k, v in vars(config).items() if k not in leaves)
        programs.setdefault((jax.tree.structure(setting.method), static), []).append(setting)
    return list(programs.values())
