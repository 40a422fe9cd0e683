"""The commands: each parses, calls and prints."""

import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from gtr.cli.options import (
    AS_SUITE,
    BESIDE,
    FIRST_SEED,
    LAST_CHANGE,
    LAST_OVER,
    ONLY,
    UNTUNED,
    Log,
    Methods,
    Network,
    Out,
    Ray,
    Set,
    Size,
    SuiteName,
    command_line,
    place_of,
    suite_of,
)
from gtr.cli.settings import settings_of, shared_config
from gtr.cli.tables import new_table, show, show_scores
from gtr.errors import GTRError

# What a command needs is imported when it runs: JAX alone takes as long as a help text may.


def methods() -> None:
    """List the methods and their numbers."""
    from gtr import methods as known

    table = new_table("method", "what it is", "numbers, for --set")
    for name in known.names():
        numbers = known.numbers(known.method(name))
        written = " ".join(f"{key}={value:g}" for key, value in numbers.items())
        table.add_row(name, known.describe(name), written)
    show(table)


def suites(size: Size = "cpu") -> None:
    """List the suites: what changes, and how much training a run has; and networks by name.

    Args:
        size: `cpu` for minutes on two cores, `full` for a GPU.
    """
    from gtr.networks import named
    from gtr.suites import suites

    table = new_table("suite", "phases x steps", "seeds", "what changes")
    for one in suites(size):
        if one.changing:
            budget = f"{one.phases} x {one.phase_steps:,}"
            table.add_row(one.name, budget, str(one.seeds), one.description)
    show(table)
    print("\nEach has a twin in which nothing changes: add -stationary to its name.\n")
    table = new_table("network", "in place of a suite's own, for --network")
    for name in named.names():
        table.add_row(name, named.describe(name))
    show(table)


def train(
    suite: SuiteName,
    *,
    out: Out,
    method: str = "gtr",
    seeds: Annotated[int, arg(metavar="N")] = 1,
    size: Size = "cpu",
    network: Network = None,
    set: Set = (),
    log: Log = ("tensorboard",),
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

    problem = suite_of(suite, size, network)
    [setting] = settings_of(problem, (method,), set)
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
    show_scores(out)
    print(f"\nmetrics  {out / 'metrics.csv'}\nreport   {page}")


def compare(
    suite: SuiteName,
    *,
    out: Out,
    methods: Methods = ("ppo", "gtr"),
    seeds: Annotated[int | None, arg(metavar="N", help_behavior_hint=AS_SUITE)] = None,
    size: Size = "cpu",
    network: Network = None,
    workers: Annotated[int, arg(metavar="N")] = 1,
    ray: Ray = None,
    settings: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint=UNTUNED)] = None,
    set: Set = (),
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

    problem = suite_of(suite, size, network)
    chosen = settings_of(problem, methods, set, settings)
    problem = replace(problem, config=shared_config(problem, set))
    [oracle] = settings_of(problem, ("ppo",), set, settings, strict=False)
    arms, runs = len(methods) + 2, problem.seeds if seeds is None else seeds
    total = arms * max(runs, 1) * problem.steps
    with place_of(ray, workers) as where, Display(total) as display:
        page = compare(
            problem,
            chosen,
            directory=out,
            seeds=seeds,
            oracle=oracle,
            workers=where,
            command=command_line(),
            progress=display,
        )
    show_scores(out)
    print(f"\nreport  {page}")


def tune(
    suite: SuiteName,
    *,
    out: Out,
    methods: Methods = ("ppo", "gtr"),
    configurations: Annotated[int, arg(metavar="N")] = 12,
    seeds: Annotated[int, arg(metavar="N")] = 1,
    size: Size = "cpu",
    network: Network = None,
    draw: Annotated[int, arg(metavar="SEED")] = 0,
    ray: Ray = None,
    set: Set = (),
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

    problem = suite_of(suite, size, network)
    problem = replace(problem, config=shared_config(problem, set, only=True))
    steps = tuning_steps(problem, max(configurations, 1), max(seeds, 1))
    with place_of(ray) as where, Display(len(methods) * steps) as display:
        path = tune(
            problem,
            methods,
            directory=out,
            configurations=configurations,
            seeds=seeds,
            draw=draw,
            workers=where,
            command=command_line(),
            progress=display,
        )
    table = new_table("method", "chosen numbers")
    for name, tuned in read_tuned(path).items():
        numbers = {**tuned.learner, **tuned.numbers}
        table.add_row(name, " ".join(f"{key}={value:g}" for key, value in numbers.items()))
    show(table)
    print(f"\nall scores  {out / 'configurations.csv'}\ntuned       {path}")
    with_network = "" if network is None else f" --network {network}"
    tuned_file = shlex.quote(str(path))
    print(f"now         gtr compare {suite}{with_network} --settings {tuned_file} --out ...")


def study(
    name: Positional[Annotated[str, arg(metavar="STUDY")]],
    *,
    out: Out,
    size: Annotated[str, arg(metavar="smoke|cpu|full")] = "cpu",
    ray: Ray = None,
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
    with place_of(ray) as where, Display(steps(chosen)) as display:
        page = study(chosen, directory=out, workers=where, command=command_line(), progress=display)
    print(f"\nstudy  {page}")


def report(directory: Positional[Annotated[Path, arg(metavar="DIR")]]) -> None:
    """Write the report of a comparison or a training anew, finished or not.

    For example: gtr report runs/duel

    Args:
        directory: what `gtr compare` or `gtr train` was given as --out.
    """
    from gtr.study.report import write_report

    page = write_report(directory)
    show_scores(directory)
    print(f"\nreport  {page}")


def watch(
    directory: Positional[Annotated[Path, arg(metavar="DIR")]],
    *,
    phase: Annotated[int | None, arg(metavar="N", help_behavior_hint=LAST_CHANGE)] = None,
    seed: Annotated[int | None, arg(metavar="SEED", help_behavior_hint=FIRST_SEED)] = None,
    out: Annotated[Path | None, arg(metavar="FILE.gif", help_behavior_hint=BESIDE)] = None,
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


def export(
    directory: Positional[Annotated[Path, arg(metavar="DIR")]],
    *,
    out: Annotated[Path, arg(metavar="FILE.onnx|.pt2|.safetensors")],
    method: Annotated[str | None, arg(metavar="METHOD", help_behavior_hint=ONLY)] = None,
    phase: Annotated[int | None, arg(metavar="N", help_behavior_hint=LAST_OVER)] = None,
    seed: Annotated[int | None, arg(metavar="SEED", help_behavior_hint=FIRST_SEED)] = None,
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
