"""Options that several commands have, and what they choose."""

import shlex
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, UseAppendAction, arg

from gtr.errors import GTRError

if TYPE_CHECKING:
    from gtr.study.workers import Place
    from gtr.suites import Suite

AS_SUITE = "(default: as many as the suite asks for)"
NONE = "(default: none)"
UNTUNED = "(default: untuned)"
LAST_CHANGE = "(default: the last change whose phase is over for all)"
FIRST_SEED = "(default: the first)"
ONLY = "(default: the only one)"
LAST_OVER = "(default: the last that is over)"
BESIDE = "(default: DIR/watch.gif)"
OWN = "(default: the suite's own)"

SuiteName = Positional[Annotated[str, arg(metavar="SUITE")]]
Out = Annotated[Path, arg(metavar="DIR")]
Size = Annotated[str, arg(metavar="cpu|full")]
Log = Annotated[tuple[str, ...], arg(metavar="tensorboard|wandb|mlflow|none [...]")]
Methods = Annotated[tuple[str, ...], arg(metavar="METHOD [METHOD ...]", aliases=("--method",))]
Network = Annotated[str | None, arg(metavar="NAME", help_behavior_hint=OWN)]
# Appended, since an option that is given twice forgets what it was given first.
Set = Annotated[
    tuple[tuple[str, ...], ...],
    arg(metavar="NAME=VALUE [...]", help_behavior_hint=NONE),
    UseAppendAction,
]

Ray = Annotated[
    tuple[str, ...] | None, arg(metavar="[ADDRESS]", help_behavior_hint="(default: not on Ray)")
]


def suite_of(name: str, size: str, network: str | None) -> "Suite":
    """The suite that is named, with the network that is, if any."""
    from gtr.networks import named
    from gtr.suites import suite

    problem = suite(name, size)
    if network is None:
        return problem
    chosen = named.network(network, problem.config.network)
    return replace(problem, config=replace(problem.config, network=chosen))


def place_of(
    ray: tuple[str, ...] | None, workers: int = 1
) -> "AbstractContextManager[int | Place]":
    """Where `--ray` and `--workers` say that the training is to be done."""
    if ray is None:
        return nullcontext(workers)
    if len(ray) > 1:
        raise GTRError(f"--ray takes one address, not {' and '.join(ray)}")
    if workers != 1:
        raise GTRError("a Ray cluster has workers of its own: leave out --workers")
    from gtr.study.on_ray import on_ray

    return on_ray(*ray)


def command_line() -> str:
    """What was typed, for the record."""
    return shlex.join(["gtr", *sys.argv[1:]])
