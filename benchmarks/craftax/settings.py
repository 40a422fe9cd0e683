"""What both trainers are asked for; imports nothing but the standard library."""

import argparse
import json
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

ENVIRONMENT = "Craftax-Classic-Symbolic-v1"
ROLLOUT, EPOCHS, MINIBATCHES = 64, 4, 8
LEARNING_RATE, DISCOUNT, LAMBDA, CLIP, ENTROPY, MAX_GRAD_NORM = 2e-4, 0.99, 0.8, 0.2, 0.01, 1.0
HIDDEN = 3  # layers of actor and of critic, tanh


@dataclass(frozen=True)
class Case:
    """One run that a worker is asked for.

    Attributes:
        environments: copies.
        width: of the hidden layers.
        updates: how many batches are learnt from.
        seed: of the run.
        baselines: the checkout of Craftax_Baselines; only its worker looks at it.
    """

    environments: int
    width: int
    updates: int
    seed: int
    baselines: Path | None

    @property
    def batch(self) -> int:
        """Environment steps between two updates."""
        return self.environments * ROLLOUT

    def report(
        self, *, compiling: float, rate: float, returns: list[float], packages: list[str]
    ) -> None:
        """Say on standard output what was measured.

        Args:
            compiling: seconds before training runs.
            rate: environment steps a second after that.
            returns: of each update in which an episode ended, the mean.
            packages: whose versions to say.
        """
        mean = sum(returns) / len(returns) if returns else None
        versions = ", ".join(f"{name} {version(name)}" for name in packages)
        said = {"compiling": compiling, "rate": rate, "return": mean, "versions": versions}
        json.dump(said, sys.stdout)


def parse(description: str | None) -> Case:
    """A worker's command line."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("environments", "width", "updates", "seed"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--baselines", type=Path)
    return Case(**vars(parser.parse_args()))
