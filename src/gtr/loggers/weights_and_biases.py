"""Weights & Biases: a run there for each seed, in one group."""

import os
import secrets
from pathlib import Path
from typing import Any

from gtr.loggers.follower import Point
from gtr.loggers.identities import keep, recalled


class WeightsAndBiases:
    """A `Service`; its own variables say where and how (WANDB_PROJECT, WANDB_MODE, ...).

    The server knows which steps it has. Offline there is none, so what was sent is also noted in
    the run's directory.
    """

    def __init__(
        self, directory: Path, seeds: list[int], description: dict[str, Any], kept: Path
    ) -> None:
        """Begins the runs, or goes on with them.

        Args:
            directory: the training's; wandb's files go into it.
            seeds: of the training.
            description: what config.json holds.
            kept: where identities and steps are noted.
        """
        import wandb

        self._kept = kept
        self._known = {"runs": {}, "steps": {}} | recalled(kept)
        ids = self._known["runs"]
        for seed in seeds:
            ids.setdefault(str(seed), secrets.token_hex(4))
        keep(kept, self._known)
        # several runs at a time; what a terminal shows is the training's own
        settings = wandb.Settings(reinit="create_new", console="off", silent=True)
        self._runs = {
            seed: wandb.init(
                id=ids[str(seed)],
                resume="allow",
                project=os.environ.get("WANDB_PROJECT", "gtr"),
                group=os.environ.get("WANDB_RUN_GROUP", directory.resolve().name),
                name=f"{directory.resolve().name} seed {seed}",
                config=description | {"seed": seed},
                dir=directory,
                settings=settings,
            )
            for seed in seeds
        }
        for seed, run in self._runs.items():
            if not run.offline:
                self._known["steps"][str(seed)] = run.starting_step - 1

    def send(self, seed: int, points: list[Point]) -> None:
        """See `Service.send`."""
        last = self._known["steps"].get(str(seed), -1)
        new = [point for point in points if point.step > last]
        for step, values in new:
            self._runs[seed].log(values, step=step)
        if new:
            self._known["steps"][str(seed)] = new[-1].step
            keep(self._kept, self._known)

    def close(self, *, finished: bool) -> None:
        """See `Service.close`."""
        for run in self._runs.values():
            run.finish(exit_code=0 if finished else 1)
