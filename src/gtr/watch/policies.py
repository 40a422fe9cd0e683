"""What was kept of a training or of a comparison, and which change of it can be looked at."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gtr.errors import GTRError
from gtr.files import RERUN
from gtr.learner import policies
from gtr.learner.anchors import Policy
from gtr.learner.config import LearnerConfig, from_description
from gtr.learner.normalisation import no_moments
from gtr.learner.run import problem_of
from gtr.learner.state import Problem
from gtr.networks.agent import build_agent
from gtr.study.records import Comparison, read_directory
from gtr.study.wording import listed
from gtr.suites import Suite


@dataclass(frozen=True)
class Change:
    """One change of one run of each method.

    Attributes:
        phase: of the world that it leads to, from 1; phase - 1 is the one before.
        seed: of the runs.
    """

    phase: int
    seed: int


@dataclass(frozen=True)
class Kept:
    """One method's kept policies.

    Attributes:
        directory: of its training.
        problem: what it was trained on.
    """

    directory: Path
    problem: Problem

    def policy(self, phase: int, seed: int) -> Policy:
        """The policy that a phase left behind, as host arrays."""
        return policies.read(self.directory, blank_policy(self.problem), phase=phase, seed=seed)


def find(directory: Path, suite: Suite | None) -> tuple[Comparison, dict[str, Kept]]:
    """What a directory tells of its methods, and where their policies are.

    Args:
        directory: of `gtr train` or `gtr compare`.
        suite: that was trained on; None finds it by its name.

    Raises:
        GTRError: there is nothing to read, or no suite of that name.
    """
    found = read_directory(directory)
    if suite is None:
        from gtr.suites import suite as by_name

        suite = by_name(found.suite, found.size)
    kept = {}
    for name in found.methods:
        if name not in found.arms:
            continue
        own = directory if found.single else directory / "runs" / name
        config = _config(own, found.arms[name].config)
        kept[name] = Kept(own, problem_of(replace(suite, config=config)))
    return found, kept


def choose(
    found: Comparison, kept: Mapping[str, Kept], phase: int | None, seed: int | None
) -> Change:
    """The change that is asked for, or the last one whose phase is over for every method.

    Args:
        found: what the directory tells.
        kept: where the policies are, by method.
        phase: of the world that the change leads to; None for the last.
        seed: of the runs; None for the first.

    Raises:
        GTRError: there is no such change or seed, or its policies are not there; how to get them.
    """
    if found.phases < 2:
        raise GTRError(f"{found.directory} has one phase, and so no change to watch")
    if phase is not None and not 1 <= phase < found.phases:
        raise GTRError(
            f"there is no change into phase {phase}: give --phase 1 to {found.phases - 1}"
        )
    seeds = _seeds(found, kept)
    passed = [number for number in seeds if number - 1 in seeds]
    if not passed:
        raise GTRError(
            f"{found.directory} is not through a change and the phase after it with every method; "
            "the same command as before trains on"
        )
    chosen = max(passed) if phase is None else phase
    if chosen not in passed:
        raise GTRError(
            f"phase {chosen} is not over for every method, or was over before policies were kept; "
            f"train on, or give --phase {_either(passed)}"
        )
    known = [one for one in seeds[chosen] if one in seeds[chosen - 1]]
    if seed is not None and seed not in known:
        reason = "was not trained" if seed not in found.seeds else "has no policies kept"
        raise GTRError(f"seed {seed} {reason}; give --seed {_either(known)}")
    return Change(chosen, known[0] if seed is None else seed)


def _seeds(found: Comparison, kept: Mapping[str, Kept]) -> dict[int, list[int]]:
    """By phase, the seeds whose policies of its end are there for every method; no empty lists.

    Raises:
        GTRError: methods that were trained for long enough have none.
    """
    each = {
        name: [policies.kept_seeds(one.directory, phase) for phase in range(found.phases)]
        for name, one in kept.items()
    }
    old = [
        name for name in each if found.arms[name].metrics["phase"].max() > 0 and not any(each[name])
    ]
    if old:
        raise GTRError(
            f"{found.directory} keeps no policies of {listed(old)}: an earlier gtr trained there; "
            "train again in another directory, and the policies of each phase's end are kept"
        )
    common = {}
    for phase, lists in enumerate(zip(*each.values(), strict=True)):
        common[phase] = [seed for seed in lists[0] if all(seed in other for other in lists)]
    return {phase: seeds for phase, seeds in common.items() if seeds}


def _either(numbers: list[int]) -> str:
    return " or ".join(map(str, numbers))


def _config(directory: Path, description: dict) -> LearnerConfig:
    try:
        return from_description(description["learner"])
    except (KeyError, TypeError, ValueError) as error:
        raise GTRError(
            f"{directory / 'config.json'} tells no learner that this version of gtr knows "
            f"({type(error).__name__}: {error}): {RERUN}"
        ) from None


def blank_policy(problem: Problem) -> Policy:
    """A policy of the shapes that a problem's have."""
    shape, config = problem.environment.observation_shape, problem.config
    actor, _ = build_agent(np.random.default_rng(0), config.network, shape, problem.distribution)
    return Policy(actor, no_moments(shape) if config.normalise_observations else None)
