"""One trainer on one environment, as `settings.json` has it; and the file its curves go to."""

import argparse
import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settings import PPOSettings

HERE = Path(__file__).parent
FILE: dict[str, Any] = json.loads((HERE / "settings.json").read_text())
COLUMNS = ["step", "seed", "episodes", "return"]


@dataclass(frozen=True)
class Case:
    """What a worker is asked to do."""

    environment: str
    settings: PPOSettings
    steps: int
    seeds: int
    output: Path

    @property
    def iterations(self) -> int:
        """Updates of a run."""
        return self.steps // self.settings.batch

    def write(self, totals: Iterable[Iterable[float]], episodes: Iterable[Iterable[int]]) -> None:
        """Write learning curves.

        Args:
            totals: for each seed and iteration the sum of the returns of episodes that ended in it.
            episodes: likewise, how many ended.
        """
        with self.output.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for seed, row in enumerate(zip(totals, episodes, strict=True)):
                for iteration, (total, count) in enumerate(zip(*row, strict=True), start=1):
                    mean = float(total) / int(count) if count else ""
                    writer.writerow([iteration * self.settings.batch, seed, int(count), mean])


def settings(trainer: str, environment: str) -> PPOSettings:
    """PPO's settings: the common ones, then the environment's, then the trainer's own."""
    values = {
        **FILE["common"],
        **FILE["environments"][environment]["settings"],
        **FILE["trainers"][trainer]["settings"],
    }
    return PPOSettings(**{**values, "hidden": tuple(values["hidden"])})


def parse(description: str | None) -> Case:
    """A worker's command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--trainer", required=True, choices=sorted(FILE["trainers"]))
    parser.add_argument("--environment", required=True, choices=sorted(FILE["environments"]))
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    chosen = settings(given.trainer, given.environment)
    return Case(given.environment, chosen, given.steps, given.seeds, given.output)
