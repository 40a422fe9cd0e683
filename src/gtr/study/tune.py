"""Tuning every arm as hard as every other.

Each arm gets the same number of configurations: its defaults, and others drawn from `LEARNER`,
`METHOD` and `CURE`. Every number has a random stream of its own, so two arms that share a number
are given the same draws of it, and differ in their own numbers only. All are trained on the first
part of the lifetime, on seeds that no comparison uses. Successive halving (Jamieson & Talwalkar
2016, arXiv:1502.07943) prunes them: in each round a third survives, and is trained on more seeds.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gtr.errors import GTRError
from gtr.files import read_json, write_whole
from gtr.learner.config import LearnerConfig, Setting, configure
from gtr.learner.run import check_network, describe
from gtr.methods import method, numbers
from gtr.plan import claim
from gtr.study.arms import Arm, arm
from gtr.study.grid import grid_metrics, grid_tasks
from gtr.study.scores import phase_returns
from gtr.study.space import CURE, LEARNER, METHOD, described, draws
from gtr.study.workers import ArmProgress, Place, Task, place, train_in_turn
from gtr.suites import Suite

FIRST_SEED = 1_000_000
"""Seeds from here on are for tuning; comparisons use small ones."""

SHARE = 0.3
"""The part of the lifetime to tune on, in whole phases and with at least one change."""

HALVING = 3
"""Of so many configurations a round keeps one, and gives those it keeps so many times the seeds."""


@dataclass(frozen=True)
class Round:
    """A round of halving: so many of the best so far, on seeds that were not used before."""

    configurations: int
    seeds: range


@dataclass(frozen=True)
class Tuned:
    """What tuning chose for an arm.

    Attributes:
        numbers: of the method, as `gtr.method` takes them.
        learner: fields of `LearnerConfig` that were tuned.
    """

    numbers: Mapping[str, Any]
    learner: Mapping[str, Any]

    def setting(self, name: str, config: LearnerConfig) -> Setting:
        """The tuned method and the configuration with its tuned numbers.

        Args:
            name: the arm's name.
            config: what was not tuned is taken from here.

        Raises:
            GTRError: a number is unknown or out of its range.
        """
        one = arm(name)
        learner = configure(one.config(config), **self.learner)
        return Setting(method(one.method, **self.numbers), learner, name)


def rounds(configurations: int, seeds: int) -> list[Round]:
    """The rounds of halving, the last of which leaves one configuration.

    Args:
        configurations: in the first round.
        seeds: of each in the first round.
    """
    found, used = [], 0
    while not found or configurations > 1:
        configurations = configurations if not found else -(-configurations // HALVING)
        until = seeds if not found else used * HALVING
        found.append(Round(configurations, range(FIRST_SEED + used, FIRST_SEED + until)))
        used = until
    # One that is left alone has nothing to be compared with.
    return found[:-1] or found


def tuning_steps(suite: Suite, configurations: int, seeds: int) -> int:
    """Environment steps that tuning one arm takes."""
    runs = sum(one.configurations * len(one.seeds) for one in rounds(configurations, seeds))
    return runs * tuning_iterations(suite) * suite.phase_steps // suite.phase_iterations


def tune(
    suite: Suite,
    arms: Sequence[str | Arm],
    *,
    directory: Path | str,
    configurations: int = 12,
    seeds: int = 1,
    draw: int = 0,
    config: LearnerConfig | None = None,
    workers: int | Place = 1,
    command: str = "",
    progress: ArmProgress | None = None,
) -> Path:
    """Finds good numbers for each arm, with an equal budget for each.

    The score of a configuration is its mean return over the phases after the first (over all
    phases where the suite never changes), averaged over seeds. The same call continues a tuning
    that was cut short.

    Args:
        suite: what to tune on.
        arms: methods, or methods with cures (`gtr.study.arms`).
        directory: where to keep tuned.json, configurations.csv and the runs.
        configurations: how many for each arm in the first round; the first are its defaults.
        seeds: how many for each of them, from `FIRST_SEED` on; the rounds after it have more.
        draw: seed of the configurations.
        config: the learner's defaults; the suite's where None.
        workers: how many programs of a round to train at a time, or where (see `compare`).
        command: the command line, kept in tuned.json.
        progress: told an arm's name and how far it is.

    Returns:
        The path of tuned.json.

    Raises:
        GTRError: for settings that cannot be, a directory that holds something else or cannot be
            written, and an arm of which no configuration can be scored.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    if configurations < 1:
        raise GTRError(f"{configurations} configurations: use 1 or more")
    if seeds < 1:
        raise GTRError(f"{seeds} seeds: use 1 or more")
    chosen = [arm(one) if isinstance(one, str) else one for one in arms]
    names = [one.name for one in chosen]
    if not names or len(set(names)) < len(names):
        raise GTRError("name at least one method, and each once")
    where = place(workers)
    directory = Path(directory)
    # The suite counts its phases in batches of its configuration.
    suite = replace(suite, config=config or suite.config)
    check_network(suite, suite.config.network)
    drawn = {one.name: candidates(one, suite.config, configurations, draw) for one in chosen}
    every = [replace(one, label=f"{name} {one.label}") for name in names for one in drawn[name]]
    plan = describe(suite, every, [], tuning_iterations(suite), False)
    del plan["fresh_each_phase"], plan["seeds"]
    plan["rounds"] = [
        {"configurations": one.configurations, "seeds": list(one.seeds)}
        for one in rounds(configurations, seeds)
    ]
    plan |= {"methods": names, "configurations": configurations, "draw": draw}
    plan |= {"space": described(), "command": command}
    claim(directory / "tuning.json", plan)
    path = directory / "tuned.json"
    # Written last: the runs, which are large, need not have come along.
    if path.exists():
        return path
    found = {name: Halving(suite, name, drawn[name], directory / "runs" / name) for name in names}
    # A single worker has one arm ready before the next, so that a failure is told early.
    abreast = [[one] for one in found.values()] if workers == 1 else [list(found.values())]
    for halvings in abreast:
        for one in rounds(configurations, seeds):
            train_round(halvings, one, where, progress)
    table = pd.concat([halving.table for halving in found.values()], ignore_index=True)
    write_whole(directory / "configurations.csv", table.to_csv(index=False).encode())
    document = {
        key: plan[key]
        for key in ("suite", "size", "iterations", "rounds", "configurations", "draw", "space")
    }
    document["versions"], document["command"] = plan["versions"], command
    document["methods"] = {name: _choice(halving) for name, halving in found.items()}
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


def candidates(one: Arm, config: LearnerConfig, count: int, draw: int) -> list[Setting]:
    """The configurations of an arm; the first is what it is without tuning.

    Args:
        one: the arm.
        config: the learner's defaults.
        count: how many.
        draw: seed of the draws.

    Returns:
        Settings, labelled by their number.
    """
    config = one.config(config)
    settings = [Setting(method(one.method), config, "0")]
    own = [key for key in METHOD if key in numbers(method(one.method))]
    learner = draws(LEARNER, LEARNER, count - 1, draw)
    kind = draws(METHOD, own if one.tuned else [], count - 1, draw)
    strengths = draws(CURE, CURE, count - 1, draw).get(one.cure or "")
    for number in range(count - 1):
        fields = {key: values[number] for key, values in learner.items()}
        fields["adam_b1"], fields["adam_b2"] = fields.pop("adam_betas")
        if strengths:
            fields["regularisation"] = strengths[number]
        changed = {key: values[number] for key, values in kind.items()}
        # the cure comes last: an arm with Adam's betas fixed draws them as all do, and drops them
        learnt = one.config(configure(config, **fields))
        settings.append(Setting(method(one.method, **changed), learnt, str(number + 1)))
    return settings


def tuning_iterations(suite: Suite) -> int:
    """Iterations of the part of the lifetime that is tuned on."""
    phases = min(suite.phases, max(2, round(SHARE * suite.phases)))
    return phases * suite.phase_iterations


class Halving:
    """The rounds of one arm: what was trained so far, and who is left.

    Args:
        suite: what to tune on.
        name: the arm's, for its table and progress.
        settings: labelled by their number, as `candidates` gives them.
        directory: where to keep the runs.
    """

    def __init__(
        self,
        suite: Suite,
        name: str,
        settings: list[Setting],
        directory: Path,
    ) -> None:
        self._suite, self._name, self._settings = suite, name, settings
        self._directory = directory
        self._returns: dict[str, list[float]] = {one.label: [] for one in settings}
        self._round = 0

    def tasks(self, one: Round) -> list[Task]:
        """The next round: the best so far on its seeds; as many epochs make one program."""
        # a stable sort: of equals the first survive, the defaults before all
        order = sorted(self._settings, key=lambda setting: self._rank(setting.label), reverse=True)
        alive = order[: one.configurations]
        self._round += 1
        return grid_tasks(
            self._suite,
            # in the order of their numbers, whatever their rank
            [setting for setting in self._settings if setting in alive],
            seeds=one.seeds,
            directory=self._directory / f"round-{self._round}",
            iterations=tuning_iterations(self._suite),
            title=f"{self._name}, round {self._round}",
        )

    def score(self, tasks: Sequence[Task], failures: Mapping[str, GTRError]) -> None:
        """Takes note of a round, once its tasks are trained.

        Raises:
            GTRError: what went wrong, or none of the configurations can be scored.
        """
        metrics = grid_metrics(tasks, failures)
        iterations = tuning_iterations(self._suite)
        alive = [setting for task in tasks for setting in task.settings]
        for setting in alive:
            rows = metrics[metrics["setting"] == setting.label]
            self._returns[setting.label] += _seed_scores(
                rows, self._suite, len(tasks[0].seeds), iterations
            )
        # here, before others are trained for long
        if not any(math.isfinite(self._score(setting.label)) for setting in alive):
            raise GTRError(
                f"no configuration of {self._name} was without a NaN and ended an episode in "
                "every phase"
            )

    @property
    def table(self) -> pd.DataFrame:
        """A row a configuration: its score, on how many seeds it rests, and its numbers."""
        return pd.DataFrame(
            {
                "method": self._name,
                "configuration": int(setting.label),
                "seeds": len(self._returns[setting.label]),
                "score": self._score(setting.label),
            }
            | _tuned_numbers(setting)
            for setting in self._settings
        )

    @property
    def best(self) -> Setting:
        """The best of those that came farthest; of equals the first."""
        table = self.table
        last = table[table["seeds"] == table["seeds"].max()]
        return self._settings[int(last["score"].fillna(-math.inf).idxmax())]

    def _score(self, label: str) -> float:
        return float(np.mean(self._returns[label])) if self._returns[label] else math.nan

    def _rank(self, label: str) -> tuple[int, float]:
        score = self._score(label)
        return len(self._returns[label]), score if math.isfinite(score) else -math.inf


def train_round(
    arms: Sequence[Halving],
    one: Round,
    where: Place = train_in_turn,
    progress: ArmProgress | None = None,
) -> None:
    """Trains a round of some arms.

    Args:
        arms: each where the round before has left it.
        one: the round.
        where: its programs are trained.
        progress: told an arm's name, the round and program, and how far it is.

    Raises:
        GTRError: something went wrong, or none of an arm's configurations can be scored.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    tasks = [halving.tasks(one) for halving in arms]
    failures = where([task for theirs in tasks for task in theirs], progress)
    for halving, theirs in zip(arms, tasks, strict=True):
        halving.score(theirs, failures)


def _seed_scores(metrics: pd.DataFrame, suite: Suite, seeds: int, iterations: int) -> list[float]:
    """A score a seed: NaN where a phase saw no episode end, or a NaN met ended the rows early."""
    if len(metrics) < seeds * iterations:
        return [math.nan] * seeds
    returns = phase_returns(metrics).to_numpy()
    if suite.changing and returns.shape[1] > 1:
        returns = returns[:, 1:]
    return [float(x) for x in returns.mean(1)]


def _choice(halving: Halving) -> dict[str, Any]:
    best, scores = halving.best, halving.table["score"]
    chosen = float(scores[int(best.label)])
    return {
        "configuration": int(best.label),
        "score": chosen,
        "score_of_defaults": float(scores[0]) if math.isfinite(scores[0]) else None,
        "numbers": numbers(best.method),
        "learner": _learner_numbers(best.config),
    }


def _learner_numbers(config: LearnerConfig) -> dict[str, Any]:
    names = [name for name in LEARNER if name != "adam_betas"] + ["adam_b1", "adam_b2"]
    if config.regulariser != "none":
        names.append("regularisation")
    return {name: getattr(config, name) for name in names}


def _tuned_numbers(setting: Setting) -> dict[str, Any]:
    own = numbers(setting.method)
    return _learner_numbers(setting.config) | {key: own[key] for key in METHOD if key in own}
