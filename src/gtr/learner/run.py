"""The host's loop: chunks of iterations on the device, and between them records and checkpoints."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from gtr import loggers
from gtr.environments.host import HostEnvironment
from gtr.errors import GTRError
from gtr.interruption import Interrupted, stop_requests
from gtr.learner import records
from gtr.learner.config import LearnerConfig, Setting, check, rates
from gtr.learner.faults import FaultWatch
from gtr.learner.hosted import HostProgram
from gtr.learner.program import CAPACITY, Program
from gtr.learner.state import Problem, RunState
from gtr.learner.store import Store
from gtr.methods import numbers
from gtr.networks.architectures import MLP, Architecture, as_json, body_of
from gtr.networks.torsos import check_fits
from gtr.objective import Method, validate
from gtr.suites import Suite

# Seconds that a chunk should take: often enough for a progress bar and for Ctrl-C.
_CHUNK_SECONDS = 1.0


@dataclass(frozen=True)
class Run:
    """What training leaves: its measures, its final state, and where both are kept."""

    suite: Suite
    method: Method
    metrics: pd.DataFrame
    state: RunState
    directory: Path | None


class Status(NamedTuple):
    """How far a run is, after a chunk; steps are those of one of its `runs`.

    `recent_return` is the mean over the episodes that ended in the chunk, NaN if none did.
    """

    done: int
    total: int
    runs: int
    recent_return: float


Progress = Callable[[Status], None]


def train(
    suite: Suite,
    method: Method,
    *,
    seeds: int | Sequence[int] = 1,
    directory: Path | str | None = None,
    config: LearnerConfig | None = None,
    fresh_each_phase: bool = False,
    devices_per_run: int | None = None,
    log: str | Sequence[str] = "none",
    progress: Progress | None = None,
) -> Run:
    """Trains a method on a suite, all seeds in one program.

    With a directory the run is recorded and checkpointed there, and the same call continues it
    from its last checkpoint; the result is that of an uninterrupted run, bit for bit.

    Args:
        suite: what to train on.
        method: what to train.
        seeds: seeds, or how many (0, 1, ...).
        directory: where to keep the run; None keeps nothing.
        config: learner configuration; the suite's where None.
        fresh_each_phase: begin anew at every change: the reset oracle.
        devices_per_run: how many devices share a run; None leaves it to us (docs/scale.md).
        log: where its measures are shown too: some of "tensorboard", "wandb" and "mlflow", or
            "none" (docs/logging.md).
        progress: told after every chunk how far the run is.

    Returns:
        The measures, as in metrics.csv, and the final state of all seeds.

    Raises:
        GTRError: for settings that cannot be, a directory that holds something else or cannot be
            written, a logger that is not installed, and a NaN or Inf, which it names.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    setting = Setting(method, config or suite.config)
    return sweep(
        suite,
        [setting],
        seeds=seeds,
        directory=directory,
        fresh_each_phase=fresh_each_phase,
        devices_per_run=devices_per_run,
        log=log,
        progress=progress,
    )


def sweep(
    suite: Suite,
    settings: Sequence[Setting],
    *,
    seeds: int | Sequence[int] = 1,
    directory: Path | str | None = None,
    iterations: int | None = None,
    fresh_each_phase: bool = False,
    devices_per_run: int | None = None,
    log: str | Sequence[str] = "none",
    progress: Progress | None = None,
) -> Run:
    """Trains several settings, each on all seeds, in one program; otherwise as `train`.

    The settings may differ in numbers only: what is static in method and configuration must agree.
    With more than one, the metrics have a column `setting`, and a setting that meets a NaN or Inf
    is given up: its rows end there, and the others go on. `iterations` stops early.
    """
    seeds, log = seed_list(seeds), loggers.chosen(log)
    if log and directory is None:
        raise GTRError(f"log={log[0]!r} needs a directory, which the run can go on from")
    if log and len(settings) > 1:
        raise GTRError(f"log={log[0]!r} is for one setting; train the others apart")
    for setting in settings:
        validate(setting.method)
        check(setting.config)
    # The budget of a phase is in steps: iterations follow from the configuration's batch.
    suite = replace(suite, config=_static(settings))
    check_network(suite, suite.config.network)
    problem = problem_of(suite)
    total = suite.iterations if iterations is None else min(iterations, suite.iterations)
    labels = pd.DataFrame(
        [(setting.label, seed) for setting in settings for seed in seeds],
        columns=["setting", "seed"],
    )
    trainer = HostProgram if isinstance(problem.environment, HostEnvironment) else Program
    program = trainer(
        problem,
        _stack([setting.method for setting in settings for _ in seeds]),
        _stack([rates(setting.config) for setting in settings for _ in seeds]),
        labels["seed"].to_numpy(),
        devices_per_run=devices_per_run,
    )
    if len(settings) == 1:
        labels = labels.drop(columns="setting")
    description = describe(suite, settings, seeds, total, fresh_each_phase)
    home = None if directory is None else Path(directory)
    store = None
    if home is not None:
        store = Store(home, description, log=log, seeds=seeds, batch=problem.batch)
    state, metrics = _loop(
        program, labels, total, store, progress, fresh_each_phase=fresh_each_phase
    )
    return Run(suite, settings[0].method, metrics, state, home)


def check_network(suite: Suite, network: Architecture) -> None:
    """Refuses a network that cannot see what the suite shows.

    The environment is built for it, unless the network takes observations of any shape.

    Raises:
        GTRError: as `gtr.networks.torsos.build_torso`.
    """
    if not isinstance(body_of(network), MLP):
        check_fits(network, suite.environment.observation_shape)


def problem_of(suite: Suite) -> Problem:
    """What the learner needs of a suite; builds the environment."""
    return Problem(
        environment=suite.environment,
        changing=suite.changing,
        phase_iterations=suite.phase_iterations,
        iterations=suite.iterations,
        config=suite.config,
    )


def _loop(
    program: Program | HostProgram,
    labels: pd.DataFrame,
    total: int,
    store: Store | None,
    progress: Progress | None,
    *,
    fresh_each_phase: bool,
) -> tuple[RunState, pd.DataFrame]:
    problem = program.problem
    batch = problem.batch
    watch = FaultWatch(labels, batch)
    held, done = program.begin(0), 0
    tables = []
    # Of several settings only numbers are asked for.
    keeps = store is not None and "setting" not in labels
    if store is not None:
        found, done = store.open(held)
        held = held if found is None else found
    state = program.place(held)
    count, first = 1, True
    kept = nullcontext() if store is None else closing(store)
    with stop_requests() as stopping, kept, closing(program):
        while done < total:
            began = time.monotonic()
            taken = min(count, total - done)
            if fresh_each_phase:
                into = done % problem.phase_iterations
                taken = min(taken, problem.phase_iterations - into)
                if into == 0:
                    state = program.place(program.begin(done // problem.phase_iterations))
            newer, measures, ends = _advance(program, state, done, taken, looks=keeps)
            sound = watch.sound(measures, done)
            state, start, done = newer, done, done + taken
            table = records.rows(
                measures,
                labels,
                start=start,
                phase_iterations=problem.phase_iterations,
                batch=batch,
            )[sound.T.reshape(-1)]
            if store is None:
                tables.append(table)
            else:
                store.append(table)
                for phase, end in ends.items():
                    store.keep(end, phase)
                store.save(program.fetch(state), done, now=done == total or bool(stopping))
            seconds = time.monotonic() - began
            if progress is not None:
                recent = float(table["return"].mean())
                progress(Status(done * batch, total * batch, program.runs, recent))
            if stopping:
                if store is not None:
                    # The signal may have come after the chunk's own chance of a checkpoint.
                    store.save(program.fetch(state), done, now=True)
                raise Interrupted(
                    f"stopped at step {done * batch:,} of {total * batch:,}; "
                    + ("nothing was kept" if store is None else "the same command continues")
                )
            # The first chunk is one iteration with compilation in it: it says nothing of the pace.
            if not first:
                count = int(np.clip(_CHUNK_SECONDS * taken / seconds, 1, CAPACITY))
            first = False
        state = program.fetch(state)
    if store is None:
        return state, pd.concat(tables, ignore_index=True)
    return state, store.read_metrics()


def _advance(
    program: Program | HostProgram, state: RunState, start: int, count: int, *, looks: bool
) -> tuple[RunState, dict[str, np.ndarray], dict[int, RunState]]:
    """As `Program.advance`; with `looks` also each phase's last state, by phase, as host arrays."""
    if not looks:
        state, measures = program.advance(state, start, count)
        return state, measures, {}
    each = program.problem.phase_iterations
    parts, ends, stop = [], {}, start + count
    while start < stop:
        following = min(stop, start - start % each + each)
        state, measures = program.advance(state, start, following - start)
        parts.append(measures)
        start = following
        if start % each == 0:
            ends[start // each - 1] = program.fetch(state)
    return (
        state,
        {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]},
        ends,
    )


def seed_list(seeds: int | Sequence[int]) -> list[int]:
    """Seeds, or how many, as a list.

    Raises:
        GTRError: none, one twice, or one that is no 32-bit number.
    """
    chosen = list(range(seeds)) if isinstance(seeds, int) else [int(seed) for seed in seeds]
    if not chosen:
        raise GTRError("no seeds: ask for at least 1")
    if len(set(chosen)) < len(chosen) or min(chosen) < 0 or max(chosen) >= 2**32:
        raise GTRError(f"seeds {chosen}: give different whole numbers from 0 to {2**32 - 1}")
    return chosen


def _static(settings: Sequence[Setting]) -> LearnerConfig:
    """The configuration that all settings share, once their leaves are left out."""
    first = settings[0]
    for setting in settings[1:]:
        same = replace(setting.config, **rates(first.config)._asdict()) == first.config
        if not same or jax.tree.structure(setting.method) != jax.tree.structure(first.method):
            raise GTRError(
                f"settings {first.label!r} and {setting.label!r} differ in more than numbers; "
                "train them apart"
            )
    return first.config


def _stack(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.array(leaves, np.float32), *trees)


def describe(
    suite: Suite, settings: Sequence[Setting], seeds: list[int], total: int, fresh: bool
) -> dict[str, Any]:
    """What config.json holds: all that decides a run's numbers, and the versions it began with."""
    described = [
        {
            "method": setting.method.name,
            "numbers": numbers(setting.method),
            "learner": asdict(setting.config) | {"network": as_json(setting.config.network)},
        }
        | ({"label": setting.label} if len(settings) > 1 else {})
        for setting in settings
    ]
    return {
        "suite": suite.name,
        "size": suite.size,
        "phases": suite.phases,
        "phase_steps": suite.phase_steps,
        "iterations": total,
        "fresh_each_phase": fresh,
        "seeds": seeds,
        **(described[0] if len(settings) == 1 else {"settings": described}),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of what decides a run's numbers beside its configuration."""
    return {name: version(name) for name in ("gtr-rl", "jax", "jaxlib", "gymnax", "numpy")}
