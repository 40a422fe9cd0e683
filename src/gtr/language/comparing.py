"""Several methods on the same tasks and seeds; the study's machinery reports."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from gtr.errors import GTRError
from gtr.files import write_whole
from gtr.language.learner import Settings
from gtr.language.losses import rule
from gtr.language.schedule import Schedule
from gtr.language.tasks import Task
from gtr.language.training import phase_steps, suite_name, train, versions
from gtr.objective.numerics import Number
from gtr.plan import claim
from gtr.study.report import write_report
from gtr.study.statistics import estimate_iqm

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
    say: Callable[[str], None] = print,
) -> Path:
    """Trains each method with each seed, or goes on where an earlier call was cut.

    Args:
        where: the model, as `gtr.language.models.load` takes it.
        methods: names of `gtr.language.losses.RULES`.
        schedule: which task when.
        settings: the learner's numbers, the same for all.
        numbers: of `gtr`.
        seeds: one training of each method each.
        directory: gets comparison.json, runs/<method>/, held_out.csv and the report.
        command: the command line, for the record.
        tasks: by name, in place of the built-in ones.
        say: is told a line for each iteration.

    Returns:
        The report's path.

    Raises:
        GTRError: as `train`; or numbers are given that no method has.
    """
    if numbers and "gtr" not in methods:
        raise GTRError(f"no method here has a number {next(iter(numbers))!r}: add gtr to --methods")
    rules = [rule(name, **(numbers if name == "gtr" else {})) for name in methods]
    document = {
        "suite": suite_name(schedule),
        "size": "cpu",
        "phases": len(schedule.tasks),
        "phase_steps": phase_steps(schedule, settings),
        "methods": list(methods),
        "seeds": list(seeds),
        "versions": versions(),
        "command": command,
    }
    claim(directory / "comparison.json", document)
    for one in rules:
        train(
            where,
            one,
            schedule,
            settings,
            seeds=seeds,
            directory=directory / "runs" / one.name,
            command=command,
            tasks=tasks,
            say=say,
        )
    write_whole(directory / HELD_OUT, held_out(directory, methods, schedule).to_csv().encode())
    return write_report(directory)


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
