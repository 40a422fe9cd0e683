"""A training of a language model in a directory: what it is, its rows, and going on after a cut."""

import csv
import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gtr.errors import GTRError
from gtr.files import read_text, write_whole
from gtr.integrations import tensor_files
from gtr.interruption import Interrupted, stop_requests
from gtr.language.learner import Learner, Settings
from gtr.language.losses import Rule
from gtr.language.models import load
from gtr.language.schedule import Schedule
from gtr.language.tasks import Task, task
from gtr.plan import claim

_CHECKPOINT = "checkpoint.safetensors"
_CHECKPOINT_SECONDS = 300.0
_LIBRARIES = ("gtr-rl", "torch", "transformers", "reasoning-gym", "numpy")


def train(
    where: str | Path,
    rule: Rule,
    schedule: Schedule,
    settings: Settings,
    *,
    seeds: Sequence[int],
    directory: Path,
    evaluate_every: int = 5,
    keep_model: bool = False,
    command: str = "",
    tasks: Mapping[str, Task] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Trains the model anew with each seed, or goes on where an earlier call was cut.

    Args:
        where: the model, as `gtr.language.models.load` takes it.
        rule: the method.
        schedule: which task when.
        settings: the learner's numbers.
        seeds: one training each.
        directory: gets config.json, metrics.csv (one row an iteration and seed, the columns of
            docs/language.md) and, if asked for, the trained models.
        evaluate_every: iterations between two looks at the held-out problems; one comes before the
            first iteration and one after each phase besides.
        keep_model: whether to keep the trained models, in model-<seed>/.
        command: the command line, for the record.
        tasks: by name, in place of the built-in ones.
        say: is told a line for each iteration.

    Raises:
        GTRError: the directory is for something else, the model is missing, or the training
            diverged.
        Interrupted: Ctrl-C or SIGTERM; the iteration that was under way is done, all is saved.
    """
    if evaluate_every < 1:
        raise GTRError(f"evaluate_every is {evaluate_every}; it must be 1 or more")
    tasks = {name: (tasks or {}).get(name) or task(name) for name in schedule.names}
    claim(directory / "config.json", plan(where, rule, schedule, settings, command))
    checkpoint = directory / _CHECKPOINT
    held = tensor_files.load(checkpoint) if checkpoint.exists() else None
    rows = _rows(directory / "metrics.csv")
    with stop_requests() as stopping:
        for seed in seeds:
            own = [row for row in rows if int(row["seed"]) == seed]
            kept = held if held is not None and held["seed"] == seed else None
            if len(own) == schedule.length and kept is None:
                continue
            model, tokenizer = load(where)
            learner = Learner(model, tokenizer, rule, schedule, settings, tasks, seed=seed)
            begin = 0
            if kept is not None:
                learner.load_state_dict(kept["learner"])
                begin = kept["iteration"]
            held = kept = None
            rows = [row for row in rows if int(row["seed"]) != seed] + own[:begin]
            saved = time.monotonic()
            for iteration in range(begin, schedule.length):
                row = _measured(learner, schedule, iteration, evaluate_every)
                rows.append({key: str(value) for key, value in row.items()})
                write_whole(directory / "metrics.csv", _table(rows).encode())
                say(_line(rule.name, row, schedule.length))
                ended = iteration + 1 == schedule.length
                if stopping or (time.monotonic() - saved > _CHECKPOINT_SECONDS and not ended):
                    _save(checkpoint, learner, seed, iteration + 1)
                    saved = time.monotonic()
                if stopping:
                    raise Interrupted(
                        f"{rule.name} stopped after iteration {iteration + 1} of "
                        f"{schedule.length}; the same command continues"
                    )
            if keep_model:
                model.save_pretrained(directory / f"model-{seed}")
                tokenizer.save_pretrained(directory / f"model-{seed}")
            checkpoint.unlink(missing_ok=True)


def _measured(
    learner: Learner, schedule: Schedule, iteration: int, evaluate_every: int
) -> dict[str, Any]:
    """An iteration's row, with the looks at the held-out problems that are due."""
    before = learner.evaluate() if iteration == 0 else {}
    row = learner.step(iteration)
    row |= {f"before_{key}": value for key, value in before.items()}
    ends = (iteration + 1) % schedule.iterations == 0
    if ends or (iteration + 1) % evaluate_every == 0:
        row |= learner.evaluate()
    return row


def plan(
    where: str | Path, rule: Rule, schedule: Schedule, settings: Settings, command: str
) -> dict[str, Any]:
    """What config.json holds: all that decides the numbers but the seeds, and the versions."""
    return {
        **lifetime(schedule, settings),
        "method": rule.name,
        "numbers": repr(rule.method),
        "model": str(where),
        "tasks": list(schedule.tasks),
        "settings": asdict(settings),
        "versions": versions(),
        "command": command,
    }


def lifetime(schedule: Schedule, settings: Settings) -> dict[str, Any]:
    """What a report is to know of the problem; a step is an answer."""
    return {
        "suite": "language: " + ", ".join(schedule.tasks),
        "size": "cpu",
        "phases": len(schedule.tasks),
        "phase_steps": schedule.iterations * settings.problems * settings.answers,
        "step": "answers",
    }


def versions() -> dict[str, str]:
    """Of the libraries that decide a run's numbers."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _save(path: Path, learner: Learner, seed: int, iteration: int) -> None:
    state = {"seed": seed, "iteration": iteration, "learner": learner.state_dict()}
    tensor_files.save(path, state)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    return list(csv.DictReader(io.StringIO(read_text(path))))


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    # Held-out columns come with the first row that has them.
    columns = list(dict.fromkeys(key for row in rows for key in row))
    written = io.StringIO()
    writer = csv.DictWriter(written, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()


def _line(method: str, row: Mapping[str, Any], length: int) -> str:
    looked = [
        f"{key.removeprefix('accuracy_')} {row[key]:.2f}"
        for key in row
        if key.startswith("accuracy_")
    ]
    held_out = f"  held-out {', '.join(looked)}" if looked else ""
    return (
        f"{method} seed {row['seed']}  {row['iteration'] + 1}/{length}  {row['task']}  "
        f"reward {row['return']:.2f}  entropy {row['entropy']:.2f}  ratio up to "
        f"{row['ratio_max']:.2f}  {row['seconds']:.1f} s{held_out}"
    )
