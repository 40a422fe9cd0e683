"""What every trainer is asked for; imports nothing but the standard library."""

import argparse
import csv
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """PPO's settings on an environment.

    Attributes:
        environments: copies.
        rollout_length: steps of each copy between two updates.
        epochs: passes over a batch.
        minibatches: gradient steps a pass.
        learning_rate: Adam's, constant.
        clip: the ratio's range is 1 - clip ... 1 + clip.
        entropy: coefficient of the entropy bonus.
        normalise: observations and rewards, by running statistics.
        steps: environment steps of a run.
    """

    environments: int
    rollout_length: int
    epochs: int
    minibatches: int
    learning_rate: float
    clip: float
    entropy: float
    normalise: bool
    steps: int

    @property
    def batch(self) -> int:
        """Environment steps between two updates."""
        return self.environments * self.rollout_length


SETTINGS = {
    # HalfCheetah-v5; two hidden layers of 64, tanh
    "halfcheetah": Settings(16, 128, 10, 32, 3e-4, 0.2, 0.0, True, 1_000_000),
    # Breakout with sticky actions; the Nature CNN, actor and critic apart
    "breakout": Settings(8, 128, 4, 4, 2.5e-4, 0.1, 0.01, False, 20_480),
}


@dataclass(frozen=True)
class Case:
    """One run that a worker is asked for."""

    environment: str
    seed: int
    steps: int
    output: Path

    @property
    def settings(self) -> Settings:
        """PPO's."""
        return SETTINGS[self.environment]

    def report(
        self, seconds: float, curve: Iterable[tuple[int, int, float | None]], packages: list[str]
    ) -> None:
        """Write the learning curve, and say on standard output how long the training took.

        Args:
            seconds: of the whole training, compilation included.
            curve: steps so far, episodes that ended since, and their mean return.
            packages: whose versions to say.
        """
        with self.output.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "seed", "episodes", "return"])
            for step, episodes, mean in curve:
                writer.writerow([step, self.seed, episodes, mean if episodes else ""])
        versions = {name: version(name) for name in packages}
        json.dump({"steps": self.steps, "seconds": seconds, "versions": versions}, sys.stdout)


def parse(description: str | None) -> Case:
    """A worker's command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--environment", required=True, choices=sorted(SETTINGS))
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    steps = given.steps // SETTINGS[given.environment].batch * SETTINGS[given.environment].batch
    return Case(given.environment, given.seed, steps, given.output)
