"""The command line: parses, calls, prints."""

import difflib
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional, UseAppendAction, arg

from gtr.errors import GTRError
from gtr.language.command import language

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gtr.learner.run import Setting
    from gtr.study.workers import Place
    from gtr.suites import Suite

# What a command needs is imported when it runs: JAX alone takes as long as a help text may.

_DESCRIPTION = """Gaussian trust regions: policies that are trained in worlds that keep changing.

`gtr suites` lists the worlds, `gtr methods` the methods. Every command that trains writes into the
directory given by --out, may be stopped at any time with Ctrl-C, and goes on when given again."""

_AS_SUITE = "(default: as many as the suite asks for)"
_NONE = "(default: none)"
_UNTUNED = "(default: untuned)"
_LAST_CHANGE = "(default: the last change whose phase is over for all)"
_FIRST_SEED = "(default: the first)"
_ONLY = "(default: the only one)"
_LAST_OVER = "(default: the last that is over)"
_BESIDE = "(default: DIR/watch.gif)"
_OWN = "(default: the suite's own)"

_SuiteName = Positional[Annotated[str, arg(metavar="SUITE")]]
_Out = Annotated[Path, arg(metavar="DIR")]
_Size = Annotated[str, arg(metavar="cpu|full")]
_Log = Annotated[tuple[str, ...], arg(metavar="tensorboard|wandb|mlflow|none [...]")]
_Methods = Annotated[tuple[str, ...], arg(metavar="METHOD [METHOD ...]", aliases=("--method",))]
_Network = Annotated[str | None, arg(metavar="NAME", help_behavior_hint=_OWN)]
# Appended, since an option that is given twice forgets what it was given first.
_Set = Annotated[
    tuple[tuple[str, ...], ...],
    arg(metavar="NAME=VALUE [...]", help_behavior_hint=_NONE),
    UseAppendAction,
]

_Ray = Annotated[
    tuple[str, ...] | None, arg(metavar="[ADDRESS]", help_behavior_hint="(default: not on Ray)")
]

_Assigned = Sequence[Sequence[str]]  # what --set was given, each time it was


def main() -> None:
    """Runs a command; mistakes that the user can mend are one line on standard error."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            {
                "methods": _methods,
                "suites": _suites,
                "train": _train,
                "compare": _compare,
                "tune": _tune,
                "study": _study,
                "report": _report,
                "watch": _watch,
                "export": _export,
                "language": language,
            },
            prog="gtr",
            description=_DESCRIPTION,
        )
    except GTRError as error:
        print("gtr:", " ".join(str(error).split()), file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as error:
        print("gtr:", str(error) or "stopped; the same command continues", file=sys.stderr)
        raise SystemExit(130) from None


def _methods() -> None:
    """List the methods and their numbers."""
    from gtr import methods

    table = _table("method", "what it is", "numbers, for --set")
    for name in methods.names():
        numbers = methods.numbers(methods.method(name))
        written = " ".join(f"{key}={value:g}" for key, value in numbers.items())
        table.add_row(name, methods.describe(name), written)
    _print(table)


def _suites(size: _Size = "cpu") -> None:
    """List the suites: what changes, and how much training a run has; and networks by name.

    Args:
        size: `cpu` for minutes on two cores, `full` for a GPU.
    """
    from gtr.networks import named
    from gtr.suites import suites

    table = _table("suite", "phases x steps", "seeds", "what changes")
    for one in suites(size):
        if one.changing:
            budget = f"{one.phases} x {one.phase_steps:,}"
            table.add_row(one.name, budget, str(one.seeds), one.description)
    _print(table)
    print("\nEach has a twin in which nothing changes: add -stationary to its name.\n")
    table = _table("network", "in place of a suite's own, for --network")
    for name in named.names():
        table.add_row(name, named.describe(name))
    _print(table)


def _train(
    suite: _SuiteName,
    *,
    out: _Out,
    method: str = "gtr",
    seeds: Annotated[int, arg(metavar="N")] = 1,
    size: _Size = "cpu",
    network: _Network = None,
    set: _Set = (),
    log: _Log = ("tensorboard",),
) -> None:
    """Train one method on a suite.

    For example: gtr train corner-switch --method gtr --seeds 4 --out runs/corner

    Args:
        suite: what to train on; `gtr suites` lists them.
        out: where to keep metrics.csv, checkpoints and the report; the same command continues.
        method: what to train; `gtr methods` lists them.
        seeds: how many runs, with seeds 0, 1, ...; they are trained together.
        size: `cpu` for minutes on two cores, `full` for a GPU.
        network: of actor and critic, in place of the suite's own; `gtr suites` lists them.
        set: numbers of the method or of the learner, such as `--set radius=.3 learning_rate=1e-3`.
        log: where to show the measures too, some of tensorboard (in DIR), wandb and mlflow, or
            none; the latter two need `pip install 'gtr-rl[wandb,mlflow]'`.
    """
    from gtr.learner.run import train
    from gtr.plan import refuse_others
    from gtr.progress import Display
    from gtr.study.report import write_report

    problem = _problem(suite, size, network)
    [setting] = _settings(problem, (method,), set)
    problem = replace(problem, config=setting.config)
    refuse_others(out, "config.json")
    with Display(problem.steps * max(seeds, 1)) as display:
        train(
            problem,
            setting.method,
            seeds=seeds,
            directory=out,
            log=log,
            progress=partial(display, method),
        )
    page = write_report(out)
    _print_scores(out)
    print(f"\nmetrics  {out / 'metrics.csv'}\nreport   {page}")


def _compare(
    suite: _SuiteName,
    *,
    out: _Out,
    methods: _Methods = ("ppo", "gtr"),
    seeds: Annotated[int | None, arg(metavar="N", help_behavior_hint=_AS_SUITE)] = None,
    size: _Size = "cpu",
    network: _Network = None,
    workers: Annotated[int, arg(metavar="N")] = 1,
    ray: _Ray = None,
    settings: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint=_UNTUNED)] = None,
    set: _Set = (),
) -> None:
    """Train several methods on the same seeds and report which is better.

    For example: gtr compare corner-switch --methods ppo gtr --seeds 10 --out runs/duel

    Args:
        suite: what to train on; `gtr suites` lists them.
        out: where to keep the runs and report.html; the same command continues.
        methods: what to compare; a cure may follow, as in `gtr+layer-norm`. Beside them an oracle
            that begins anew at every change and a random policy are trained, which are the 1 and
            the 0 of the scores.
        seeds: how many runs of each, with seeds 0, 1, ...; a claim needs 10.
        size: `cpu` for minutes on two cores, `full` for a GPU.
        network: of actor and critic, in place of the suite's own; `gtr suites` lists them.
        workers: how many methods to train at a time, each in its own process with its share of the
            cores.
        ray: train the methods on the Ray cluster at ADDRESS (`auto`: the one that this machine is
            part of), or on one that is started here; DIR must be where all its machines see it.
        settings: tuned.json of `gtr tune`: each method is trained with what was chosen for it.
        set: numbers of the methods that have them and of the learner, such as `--set clip=.1`;
            they come before what was tuned.
    """
    from gtr.progress import Display
    from gtr.study.compare import compare

    problem = _problem(suite, size, network)
    chosen = _settings(problem, methods, set, settings)
    problem = replace(problem, config=_shared(problem, set))
    [oracle] = _settings(problem, ("ppo",), set, settings, strict=False)
    arms, runs = len(methods) + 2, problem.seeds if seeds is None else seeds
    total = arms * max(runs, 1) * problem.steps
    with _place(ray, workers) as where, Display(total) as display:
        page = compare(
            problem,
            chosen,
            directory=out,
            seeds=seeds,
            oracle=oracle,
            workers=where,
            command=_command(),
            progress=display,
        )
    _print_scores(out)
    print(f"\nreport  {page}")


def _tune(
    suite: _SuiteName,
    *,
    out: _Out,
    methods: _Methods = ("ppo", "gtr"),
    configurations: Annotated[int, arg(metavar="N")] = 12,
    seeds: Annotated[int, arg(metavar="N")] = 1,
    size: _Size = "cpu",
    network: _Network = None,
    draw: Annotated[int, arg(metavar="SEED")] = 0,
    ray: _Ray = None,
    set: _Set = (),
) -> None:
    """Find good numbers for each method, with the same budget for each.

    For example: gtr tune corner-switch --methods ppo gtr --configurations 12 --out runs/tuning

    Args:
        suite: what to tune on; `gtr suites` lists them.
        out: where to keep tuned.json, for `gtr compare --settings`; the same command continues.
        methods: what to tune; `gtr methods` lists them. A cure may follow, as in `ppo+layer-norm`.
        configurations: how many for each method, its defaults among them.
        seeds: how many runs of each before a third is kept and trained on twice as many more, and
            so on; no comparison uses these seeds.
        size: `cpu` for minutes on two cores, `full` for a GPU.
        network: of actor and critic, in place of the suite's own; `gtr suites` lists them.
        draw: seed of the random configurations.
        ray: train all methods' configurations on the Ray cluster at ADDRESS (`auto`: the one that
            this machine is part of), or on one that is started here; DIR must be where all its
            machines see it.
        set: numbers of the learner that all configurations begin with.
    """
    from gtr.progress import Display
    from gtr.study.tune import read_tuned, tune, tuning_steps

    problem = _problem(suite, size, network)
    problem = replace(problem, config=_shared(problem, set, only=True))
    steps = tuning_steps(problem, max(configurations, 1), max(seeds, 1))
    with _place(ray) as where, Display(len(methods) * steps) as display:
        path = tune(
            problem,
            methods,
            directory=out,
            configurations=configurations,
            seeds=seeds,
            draw=draw,
            workers=where,
            command=_command(),
            progress=display,
        )
    table = _table("method", "chosen numbers")
    for name, tuned in read_tuned(path).items():
        numbers = {**tuned.learner, **tuned.numbers}
        table.add_row(name, " ".join(f"{key}={value:g}" for key, value in numbers.items()))
    _print(table)
    print(f"\nall scores  {out / 'configurations.csv'}\ntuned       {path}")
    with_network = "" if network is None else f" --network {network}"
    tuned_file = shlex.quote(str(path))
    print(f"now         gtr compare {suite}{with_network} --settings {tuned_file} --out ...")


def _study(
    name: Positional[Annotated[str, arg(metavar="STUDY")]],
    *,
    out: _Out,
    size: Annotated[str, arg(metavar="smoke|cpu|full")] = "cpu",
    ray: _Ray = None,
) -> None:
    """Run a whole study: many methods on many suites, tuned, compared and explained on one page.

    For example: gtr study transitions --size smoke --out runs/study

    Args:
        name: `transitions`: does GTR help in changing worlds, and why?
        out: where to keep it; the same command continues.
        size: `smoke` for minutes and a first look, `cpu` for hours on two cores, `full` for a GPU.
        ray: train on the Ray cluster at ADDRESS (`auto`: the one that this machine is part of), or
            on one that is started here; DIR must be where all its machines see it.
    """
    if name != "transitions":
        raise GTRError(f"there is no study {name!r}; there is transitions")
    from gtr.progress import Display
    from gtr.study.transitions import extent, steps, study

    chosen = extent(size)
    with _place(ray) as where, Display(steps(chosen)) as display:
        page = study(chosen, directory=out, workers=where, command=_command(), progress=display)
    print(f"\nstudy  {page}")


def _report(directory: Positional[Annotated[Path, arg(metavar="DIR")]]) -> None:
    """Write the report of a comparison or a training anew, finished or not.

    For example: gtr report runs/duel

    Args:
        directory: what `gtr compare` or `gtr train` was given as --out.
    """
    from gtr.study.report import write_report

    page = write_report(directory)
    _print_scores(directory)
    print(f"\nreport  {page}")


def _watch(
    directory: Positional[Annotated[Path, arg(metavar="DIR")]],
    *,
    phase: Annotated[int | None, arg(metavar="N", help_behavior_hint=_LAST_CHANGE)] = None,
    seed: Annotated[int | None, arg(metavar="SEED", help_behavior_hint=_FIRST_SEED)] = None,
    out: Annotated[Path | None, arg(metavar="FILE.gif", help_behavior_hint=_BESIDE)] = None,
    seconds: float = 8.0,
) -> None:
    """Film policies before and after a change, the methods of a comparison side by side.

    For example: gtr watch runs/duel --phase 3

    A row is a method. Its columns are the policy that a phase left behind, in its own world; the
    same policy in the next world; and the policy that the phase there left behind. The clip is a
    GIF, and an MP4 beside it where `pip install 'gtr-rl[video]'` was done.

    Args:
        directory: what `gtr compare` or `gtr train` was given as --out; they keep the policies of
            each phase's end, of the first 3 seeds.
        phase: number of the world that the change leads to, from 1.
        seed: of the runs to be shown.
        out: where to write the clip; in DIR it becomes part of the report.
        seconds: how long the clip is.
    """
    from gtr.study.report import CLIP, write_report
    from gtr.watch.film import film

    made = film(directory, phase=phase, seed=seed, out=out, seconds=seconds)
    print(f"clip    {made.gif} (change into phase {made.change.phase}, seed {made.change.seed})")
    if made.mp4 is None:
        print("        an MP4 too: pip install 'gtr-rl[video]', then the same command")
    else:
        print(f"        {made.mp4}")
    if made.gif == directory / CLIP:
        print(f"report  {write_report(directory)}")


def _export(
    directory: Positional[Annotated[Path, arg(metavar="DIR")]],
    *,
    out: Annotated[Path, arg(metavar="FILE.onnx|.pt2|.safetensors")],
    method: Annotated[str | None, arg(metavar="METHOD", help_behavior_hint=_ONLY)] = None,
    phase: Annotated[int | None, arg(metavar="N", help_behavior_hint=_LAST_OVER)] = None,
    seed: Annotated[int | None, arg(metavar="SEED", help_behavior_hint=_FIRST_SEED)] = None,
) -> None:
    """Write a trained policy for a runtime without JAX: ONNX's or PyTorch's.

    For example: gtr export runs/corner --out policy.onnx

    Raw observations go in; the most likely action and the distribution's parameters come out. A
    policy with a memory takes it and gives it back. It needs `pip install 'gtr-rl[export]'`.

    Args:
        directory: what `gtr train` or `gtr compare` was given as --out; they keep the policies of
            each phase's end, of the first 3 seeds.
        out: the file; its ending says of which kind: an ONNX model, a program for
            torch.export.load, or weights for gtr.export.load.
        method: of a comparison's.
        phase: number of the phase that left the policy, from 0.
        seed: of the run.
    """
    from gtr.export import export

    phase, seed = export(directory, out, method=method, phase=phase, seed=seed)
    print(f"policy  {out} (as phase {phase} left it, seed {seed})")


def _place(ray: tuple[str, ...] | None, workers: int = 1) -> "AbstractContextManager[int | Place]":
    """Where `--ray` and `--workers` say that the training is to be done."""
    if ray is None:
        return nullcontext(workers)
    if len(ray) > 1:
        raise GTRError(f"--ray takes one address, not {' and '.join(ray)}")
    if workers != 1:
        raise GTRError("a Ray cluster has workers of its own: leave out --workers")
    from gtr.study.on_ray import on_ray

    return on_ray(*ray)


def _problem(name: str, size: str, network: str | None) -> "Suite":
    from gtr.networks import named
    from gtr.suites import suite

    problem = suite(name, size)
    if network is None:
        return problem
    chosen = named.network(network, problem.config.network)
    return replace(problem, config=replace(problem.config, network=chosen))


def _settings(
    problem: "Suite",
    names: Sequence[str],
    assigned: _Assigned,
    file: Path | None = None,
    strict: bool = True,
) -> "list[Setting]":
    """Each method with what was tuned and, before that, what was assigned.

    With `strict`, every assigned number must be one of the learner or of some of the methods, and
    every method must be in the file.
    """
    from gtr.learner.config import configure
    from gtr.learner.run import Setting
    from gtr.methods import method, numbers
    from gtr.study.arms import arm
    from gtr.study.tune import Tuned, read_tuned

    learner, own = _assignments(assigned)
    arms = {name: arm(name) for name in names}
    known = {name: numbers(method(one.method)) for name, one in arms.items()}
    if strict:
        for name in own:
            if not any(name in one for one in known.values()):
                raise _unknown(name, known)
    tuned = {} if file is None else read_tuned(file)
    settings = []
    for name in names:
        if strict and file is not None and name not in tuned:
            raise GTRError(f"{file} has no settings for {name!r}; tune it too, or leave it out")
        found = tuned.get(name, Tuned({}, {}))
        mine = {key: value for key, value in own.items() if key in known[name]}
        chosen = method(arms[name].method, **{**found.numbers, **mine})
        cured = arms[name].config(problem.config)
        config = configure(cured, **{**found.learner, **learner})
        settings.append(Setting(chosen, config, name))
    return settings


def _shared(problem: "Suite", assigned: _Assigned, only: bool = False) -> Any:
    """The learner's configuration that all arms begin with; `only` refuses methods' numbers."""
    from gtr.learner.config import configure

    learner, own = _assignments(assigned)
    for name in own if only else ():
        raise _unknown(name, {})
    return configure(problem.config, **learner)


def _assignments(assigned: _Assigned) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `--set` assigns to the learner, and what to methods."""
    from gtr.learner.config import LearnerConfig

    learner, own = {}, {}
    defaults = LearnerConfig()
    for pair in chain.from_iterable(assigned):
        name, equals, text = pair.partition("=")
        if not equals or not name or not text:
            raise GTRError(f"--set takes NAME=VALUE, not {pair!r}")
        value = _value(text)
        if name not in _learner_numbers():
            own[name] = value
            continue
        if isinstance(getattr(defaults, name), bool) and not isinstance(value, bool):
            raise GTRError(f"{name} is {text!r}; give true or false")
        # Elsewhere "none" is a choice of its own (of advantage_scale, of regulariser).
        if getattr(defaults, name) is None and text.lower() == "none":
            value = None
        learner[name] = value
    return learner, own


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def _learner_numbers() -> list[str]:
    from gtr.learner.config import LearnerConfig

    return [field.name for field in fields(LearnerConfig) if field.name != "network"]


def _unknown(name: str, known: dict[str, dict[str, Any]]) -> GTRError:
    owners = {"the learner": _learner_numbers()} | {key: list(one) for key, one in known.items()}
    close = difflib.get_close_matches(name, [n for one in owners.values() for n in one], 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    listed = "; ".join(f"{owner} has {', '.join(one)}" for owner, one in owners.items())
    return GTRError(f"there is no number {name!r}{hint} ({listed})")


def _command() -> str:
    return shlex.join(["gtr", *sys.argv[1:]])


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0)
    return table


def _print(what: "RenderableType") -> None:
    from rich.console import Console

    Console(highlight=False).print(what)


def _print_scores(directory: Path) -> None:
    from gtr.study.records import read_directory
    from gtr.study.results import evaluate
    from gtr.study.table import score_table

    _print(score_table(evaluate(read_directory(directory))))


if __name__ == "__main__":
    main()
