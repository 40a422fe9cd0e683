"""Many settings of one suite, in as few programs as their static parts allow."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import pandas as pd

from gtr.errors import GTRError
from gtr.learner.config import rates
from gtr.learner.faults import Diverged
from gtr.learner.run import Setting, sweep
from gtr.study.workers import ArmProgress
from gtr.suites import Suite


def train_grid(
    suite: Suite,
    settings: Sequence[Setting],
    *,
    seeds: Sequence[int],
    directory: Path,
    iterations: int | None = None,
    title: str = "",
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
        progress: told the title and how far it is.

    Returns:
        The rows of metrics.csv of all of them, with a column `setting`.

    Raises:
        GTRError: as `gtr.train`.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    tables = []
    for number, group in enumerate(_programs(settings)):
        name = f"{title}, program {number + 1}" if title else f"program {number + 1}"
        try:
            run = sweep(
                suite,
                group,
                seeds=seeds,
                directory=directory / f"program-{number + 1}",
                iterations=iterations,
                progress=None if progress is None else partial(progress, name),
            )
        except Diverged as error:
            print(f"given up: {name}: {str(error).split(';')[0]}", flush=True)
            continue
        except GTRError as error:
            raise GTRError(f"{name}: {error}") from error
        metrics = run.metrics
        if "setting" not in metrics:
            metrics = metrics.assign(setting=group[0].label)
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
