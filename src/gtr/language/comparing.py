"""Several methods on the same tasks and seeds; the study's machinery reports."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from gtr.errors import GTRError
from gtr.files import write_whole
from gtr.language.learner import Settings
from gtr.language.losses import Rule, numbers_of, rule
from gtr.language.schedule import Schedule
from gtr.language.tasks import Task, require
from gtr.language.training import lifetime, train, versions
from gtr.objective.numerics import Number
from gtr.plan import claim
from gtr.study.report import write_report
from gtr.study.statistics import estimate_iqm
from gtr.study.workers import train_in_turn, train_side_by_side

HELD_OUT = "held_out.csv"


def compare(
    where: str | Path,
    methods: Sequence[str],
    schedule: Schedule,
    settings: Settings,
    *,
    numbers: Mapping[str, Number],
    seeds: Sequence[int],
    directory: Path,
    command: str = "",
    tasks: Mapping[str, Task] | None = None,
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> Path:
    """Trains each method with each seed, or goes on where an earlier call was cut.

    Args:
        where: the model, as `gtr.language.models.load` takes it.
        methods: names of `gtr.language.losses.RULES`.
        schedule: which task when.
        settings: the learner's numbers, the same for all.
        numbers: of `gtr`, and of `gtr-behaviour` those that it has.
        seeds: one training of each method each.
        directory: gets comparison.json, runs/<method>/, held_out.csv and the report.
        command: the command line, for the record.
        tasks: by name, in place of the built-in ones.
        workers: processes, each of which trains a method with its share of the cores.
        say: is told a line for each iteration.

    Returns:
        The report's path.

    Raises:
        GTRError: as `train`; or numbers are given that no method has.
        Interrupted: as `train`.
    """
    if workers < 1:
        raise GTRError(f"{workers} workers: use 1 or more")
    rules = _rules(methods, numbers)
    for name in schedule.names:
        if name not in (tasks or {}):
            require(name)
    document = {
        **lifetime(schedule, settings),
        "methods": list(methods),
        "references": [],
        "seeds": list(seeds),
        "versions": versions(),
        "command": command,
    }
    claim(directory / "comparison.json", document)
    trainings = [
        _Training(
            one.name,
            where,
            one,
            schedule,
            settings,
            tuple(seeds),
            directory / "runs" / one.name,
            command,
            tasks,
        )
        for one in rules
    ]

    def told(name: str, line: str) -> None:
        say(line)

    if workers == 1:
        failures = train_in_turn(trainings, told)
    else:
        failures = train_side_by_side(trainings, workers, told)
    if failures:
        names = [one.name for one in rules if one.name in failures]
        # A missing model is every method's failure, told once.
        causes = dict.fromkeys(str(failures[name]) for name in names)
        raise GTRError(
            f"{', '.join(names)} failed: {'; '.join(causes)}; what was done is kept, and the "
            "same command continues"
        )
    write_whole(directory / HELD_OUT, held_out(directory, methods, schedule).to_csv().encode())
    return write_report(directory)


@dataclass(frozen=True)
class _Training:
    """A method to be trained with all seeds, here or in a process of its own."""

    name: str
    where: str | Path
    rule: Rule
    schedule: Schedule
    settings: Settings
    seeds: tuple[int, ...]
    directory: Path
    command: str
    tasks: Mapping[str, Task] | None

    def train(self, progress: Callable[[str, Any], None] | None) -> None:
        """As `training.train`; `progress` is told its lines."""
        if hasattr(os, "sched_getaffinity"):
            # PyTorch counts the machine's cores, not those that its process may use.
            cores = len(os.sched_getaffinity(0))
            torch.set_num_threads(min(cores, torch.get_num_threads()))
        train(
            self.where,
            self.rule,
            self.schedule,
            self.settings,
            seeds=self.seeds,
            directory=self.directory,
            command=self.command,
            tasks=self.tasks,
            say=lambda line: None if progress is None else progress(self.name, line),
        )


def _rules(methods: Sequence[str], numbers: Mapping[str, Number]) -> list[Rule]:
    """The methods, each with those of the numbers that it has."""
    for name in numbers:
        if not any(name in numbers_of(one) for one in methods):
            has = ", ".join(sorted(numbers_of("gtr")))
            raise GTRError(f"no method here has a number {name!r}; gtr has {has}")
    return [
        rule(one, **{key: value for key, value in numbers.items() if key in numbers_of(one)})
        for one in methods
    ]


def held_out(directory: Path, methods: Sequence[str], schedule: Schedule) -> pd.DataFrame:
    """Held-out answers at each phase's end: interquartile means over seeds and their intervals.

    Args:
        directory: of a comparison.
        methods: its methods.
        schedule: its tasks.

    Returns:
        Columns value, low, high, runs; indexed by method, phase, measure (`accuracy_sums`, ...).
        What an earlier phase's task has lost in a later phase is what was forgotten.
    """
    found = {}
    for method in methods:
        metrics = pd.read_csv(directory / "runs" / method / "metrics.csv")
        ends = metrics[(metrics["iteration"] + 1) % schedule.iterations == 0]
        for phase, rows in ends.groupby("phase"):
            for name in schedule.names:
                for measure in (f"accuracy_{name}", f"pass_{name}"):
                    spread = estimate_iqm(rows[measure])
                    found[method, phase, measure] = {
                        "value": spread.value,
                        "low": spread.low,
                        "high": spread.high,
                        "runs": spread.runs,
                    }
    table = pd.DataFrame.from_dict(found, orient="index")
    table.index.names = ["method", "phase", "measure"]
    return table
