"""Tuning every method as hard as every other.

Each method gets the same number of configurations: its defaults, and others drawn from `LEARNER`
and `METHOD`. Every number has a random stream of its own, so two methods that share a number are
given the same draws of it, and differ in their own numbers only. All are trained on the first part
of the lifetime, on seeds that no comparison uses, and the best by its mean return is kept.
"""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gtr.errors import GTRError
from gtr.files import read_json, write_whole
from gtr.learner.config import LearnerConfig, configure
from gtr.learner.faults import Diverged
from gtr.learner.run import Setting, describe, sweep
from gtr.methods import method, numbers
from gtr.plan import claim
from gtr.study.scores import phase_returns
from gtr.study.workers import ArmProgress
from gtr.suites import Suite

FIRST_SEED = 1_000_000
"""Seeds from here on are for tuning; comparisons use small ones."""

SHARE = 0.3
"""The part of the lifetime to tune on, in whole phases and with at least one change."""


@dataclass(frozen=True)
class LogUniform:
    """The logarithm is uniform between those of `low` and `high`; 0 in a share `zero` of draws."""

    low: float
    high: float
    zero: float = 0.0

    def draw(self, random: np.random.Generator) -> float:
        """One value."""
        # Both draws are made always, so that a stream's later values do not depend on a 0.
        is_zero = random.random() < self.zero
        exponent = random.uniform(math.log(self.low), math.log(self.high))
        return 0.0 if is_zero else _rounded(math.exp(exponent))


@dataclass(frozen=True)
class OneMinus:
    """One minus a draw, for what is counted in distance from 1."""

    rest: LogUniform

    def draw(self, random: np.random.Generator) -> float:
        """One value."""
        return _rounded(1 - self.rest.draw(random))


@dataclass(frozen=True)
class Choice:
    """One of some values, each as likely."""

    values: tuple[Any, ...]

    def draw(self, random: np.random.Generator) -> Any:
        """One value."""
        return self.values[random.integers(len(self.values))]


LEARNER: dict[str, LogUniform | OneMinus | Choice] = {
    "learning_rate": LogUniform(1e-4, 1e-2),
    # Each value is a program of its own to compile.
    "epochs": Choice((2, 4, 8)),
    "entropy": LogUniform(1e-3, 1e-1, zero=0.2),
    # Equal betas are the cure for changing worlds of Dohare et al. 2024 and others before.
    "adam_betas": Choice(((0.9, 0.999), (0.99, 0.99))),
}
"""What every method's configurations are drawn from; see `LearnerConfig`."""

METHOD: dict[str, LogUniform | OneMinus | Choice] = {
    "clip": LogUniform(0.05, 0.4),
    "stiffness": LogUniform(0.05, 5.0),
    "radius": LogUniform(0.1, 2.0),
    "decay": OneMinus(LogUniform(0.03, 0.7)),
    "target_kl": LogUniform(0.003, 0.1),
}
"""A method's own numbers, of those that it has; `anchors` and `every` stay at their defaults."""


@dataclass(frozen=True)
class Tuned:
    """What tuning chose for a method.

    Attributes:
        numbers: of the method, as `gtr.method` takes them.
        learner: fields of `LearnerConfig` that were tuned.
    """

    numbers: Mapping[str, Any]
    learner: Mapping[str, Any]

    def setting(self, name: str, config: LearnerConfig) -> Setting:
        """The tuned method and the configuration with its tuned numbers.

        Args:
            name: the method's name.
            config: what was not tuned is taken from here.

        Raises:
            GTRError: a number is unknown or out of its range.
        """
        return Setting(method(name, **self.numbers), configure(config, **self.learner), name)


def tune(
    suite: Suite,
    methods: Sequence[str],
    *,
    directory: Path | str,
    configurations: int = 12,
    seeds: int = 3,
    draw: int = 0,
    config: LearnerConfig | None = None,
    command: str = "",
    progress: ArmProgress | None = None,
) -> Path:
    """Finds good numbers for each method, with an equal budget for each.

    The score of a configuration is its mean return over the phases after the first (over all
    phases where the suite never changes), averaged over seeds. The same call continues a tuning
    that was cut short.

    Args:
        suite: what to tune on.
        methods: their names.
        directory: where to keep tuned.json, configurations.csv and the runs.
        configurations: how many for each method; the first are its defaults.
        seeds: how many, from `FIRST_SEED` on.
        draw: seed of the configurations.
        config: the learner's defaults; the suite's where None.
        command: the command line, kept in tuned.json.
        progress: told a method's name and how far it is.

    Returns:
        The path of tuned.json.

    Raises:
        GTRError: for settings that cannot be, a directory that holds something else or cannot be
            written, and a method of which no configuration can be scored.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    if configurations < 1:
        raise GTRError(f"{configurations} configurations: use 1 or more")
    if seeds < 1:
        raise GTRError(f"{seeds} seeds: use 1 or more")
    if not methods or len(set(methods)) < len(methods):
        raise GTRError("name at least one method, and each once")
    directory = Path(directory)
    # The suite counts its phases in batches of its configuration.
    suite = replace(suite, config=config or suite.config)
    iterations = tuning_iterations(suite)
    chosen = list(range(FIRST_SEED, FIRST_SEED + seeds))
    drawn = {name: candidates(name, suite.config, configurations, draw) for name in methods}
    every = [replace(one, label=f"{name} {one.label}") for name in methods for one in drawn[name]]
    plan = describe(suite, every, chosen, iterations, False)
    del plan["fresh_each_phase"]
    plan |= {"methods": list(methods), "configurations": configurations, "draw": draw}
    plan |= {"space": _described_space(), "command": command}
    claim(directory / "tuning.json", plan)
    rows = []
    for name in methods:
        scores = _train(suite, name, drawn[name], chosen, iterations, directory, progress)
        # here, before other methods are trained for long
        if not np.isfinite(scores).any():
            raise GTRError(
                f"no configuration of {name} was without a NaN and ended an episode in every phase"
            )
        rows += [
            {"method": name, "configuration": int(one.label), "score": score} | _tuned_numbers(one)
            for one, score in zip(drawn[name], scores, strict=True)
        ]
    table = pd.DataFrame(rows)
    write_whole(directory / "configurations.csv", table.to_csv(index=False).encode())
    document = {
        key: plan[key]
        for key in ("suite", "size", "iterations", "seeds", "configurations", "draw", "space")
    }
    document["steps"] = iterations * suite.phase_steps // suite.phase_iterations
    document["versions"], document["command"] = plan["versions"], command
    document["methods"] = {
        name: _choice(name, drawn[name], table[table["method"] == name]["score"].to_numpy())
        for name in methods
    }
    path = directory / "tuned.json"
    write_whole(path, (json.dumps(document, indent=2) + "\n").encode())
    return path


def read_tuned(path: Path | str) -> dict[str, Tuned]:
    """What `tune` chose, by method.

    Raises:
        GTRError: the file is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise GTRError(f"{path} is missing: give the tuned.json that `gtr tune` wrote")
    document = read_json(path)
    try:
        return {
            name: Tuned(dict(one["numbers"]), dict(one["learner"]))
            for name, one in document["methods"].items()
        }
    except (AttributeError, KeyError, TypeError, ValueError):
        raise GTRError(
            f"{path} is not what `gtr tune` writes: give its tuned.json, or tune again"
        ) from None


def candidates(name: str, config: LearnerConfig, count: int, draw: int) -> list[Setting]:
    """The configurations of a method; the first is what it is without tuning.

    Args:
        name: the method's name.
        config: the learner's defaults.
        count: how many.
        draw: seed of the draws.

    Returns:
        Settings, labelled by their number.
    """
    settings = [Setting(method(name), config, "0")]
    own = [number for number in METHOD if number in numbers(method(name))]
    learner, kind = _draws(LEARNER, LEARNER, count - 1, draw), _draws(METHOD, own, count - 1, draw)
    for number in range(count - 1):
        fields = {key: values[number] for key, values in learner.items()}
        fields["adam_b1"], fields["adam_b2"] = fields.pop("adam_betas")
        changed = {key: values[number] for key, values in kind.items()}
        settings.append(
            Setting(method(name, **changed), configure(config, **fields), str(number + 1))
        )
    return settings


def tuning_iterations(suite: Suite) -> int:
    """Iterations of the part of the lifetime that is tuned on."""
    phases = min(suite.phases, max(2, round(SHARE * suite.phases)))
    return phases * suite.phase_iterations


def _draws(space: Mapping[str, Any], names: Any, count: int, draw: int) -> dict[str, list[Any]]:
    streams = {name: np.random.default_rng([draw, zlib.crc32(name.encode())]) for name in names}
    return {
        name: [space[name].draw(stream) for _ in range(count)] for name, stream in streams.items()
    }


def _train(
    suite: Suite,
    name: str,
    settings: list[Setting],
    seeds: list[int],
    iterations: int,
    directory: Path,
    progress: ArmProgress | None,
) -> list[float]:
    """The score of each setting, NaN where it met a NaN; as many epochs make one program."""
    scores = {}
    for epochs in sorted({setting.config.epochs for setting in settings}):
        group = [setting for setting in settings if setting.config.epochs == epochs]
        arm = f"{name}, {epochs} epochs"
        try:
            run = sweep(
                suite,
                group,
                seeds=seeds,
                directory=directory / "runs" / name / f"epochs-{epochs}",
                iterations=iterations,
                progress=None if progress is None else partial(progress, arm),
            )
        except Diverged as error:
            print(f"given up: {arm}: {str(error).split(';')[0]}", flush=True)
            continue
        except GTRError as error:
            raise GTRError(f"{arm}: {error}") from error
        metrics = run.metrics
        if "setting" not in metrics:
            metrics = metrics.assign(setting=group[0].label)
        for label, rows in metrics.groupby(metrics["setting"].astype(str)):
            scores[label] = _score(rows, suite, len(seeds) * iterations)
    return [scores.get(setting.label, math.nan) for setting in settings]


def _score(metrics: pd.DataFrame, suite: Suite, expected: int) -> float:
    """NaN where some phase saw no episode end, or a NaN met ended the rows before the expected."""
    if len(metrics) < expected:
        return math.nan
    returns = phase_returns(metrics).to_numpy()
    if suite.changing and returns.shape[1] > 1:
        returns = returns[:, 1:]
    return float(returns.mean())


def _choice(name: str, settings: list[Setting], scores: np.ndarray) -> dict[str, Any]:
    # argmax gives the first of equals: the defaults, where nothing beats them.
    best = int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))
    return {
        "configuration": best,
        "score": float(scores[best]),
        "score_of_defaults": float(scores[0]) if math.isfinite(scores[0]) else None,
        "numbers": numbers(settings[best].method),
        "learner": _learner_numbers(settings[best].config),
    }


def _learner_numbers(config: LearnerConfig) -> dict[str, Any]:
    names = [name for name in LEARNER if name != "adam_betas"] + ["adam_b1", "adam_b2"]
    return {name: getattr(config, name) for name in names}


def _tuned_numbers(setting: Setting) -> dict[str, Any]:
    own = numbers(setting.method)
    return _learner_numbers(setting.config) | {key: own[key] for key in METHOD if key in own}


def _described_space() -> dict[str, Any]:
    return {name: {type(one).__name__: asdict(one)} for name, one in (LEARNER | METHOD).items()}


def _rounded(value: float) -> float:
    """To three digits, so that a file says all there is."""
    return float(f"{value:.3g}")
