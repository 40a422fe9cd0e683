"""Weights & Biases: a run there for each seed, in one group."""

import os
import secrets
from pathlib import Path
from typing import Any

from gtr.loggers.follower import Point
from gtr.loggers.identities import keep, recalled
from gtr.loggers.wandb_files import last_step


class WeightsAndBiases:
    """A `Service`; its own variables say where and how (WANDB_PROJECT, WANDB_MODE, ...).

    Which steps it has is told by the server, and offline by the files.
    """

    def __init__(
        self, directory: Path, seeds: list[int], description: dict[str, Any], kept: Path
    ) -> None:
        """Begins the runs, or goes on with them.

        Args:
            directory: the training's; wandb's files go into it.
            seeds: of the training.
            description: what config.json holds.
            kept: where identities are noted.
        """
        import wandb

        identities = recalled(kept)
        for seed in seeds:
            identities.setdefault(str(seed), secrets.token_hex(4))
        keep(kept, identities)
        # several runs at a time; what a terminal shows is the training's own
        settings = wandb.Settings(reinit="create_new", console="off", silent=True)
        name = directory.resolve().name
        self._runs, self._last = {}, {}
        for seed in seeds:
            identity = identities[str(seed)]
            on_disk = last_step(directory, identity)
            run = wandb.init(
                id=identity,
                resume="allow",
                project=os.environ.get("WANDB_PROJECT", "gtr"),
                group=os.environ.get("WANDB_RUN_GROUP", name),
                name=f"{name} seed {seed}",
                config=description | {"seed": seed},
                dir=directory,
                settings=settings,
            )
            self._runs[seed] = run
            self._last[seed] = on_disk if run.offline else run.starting_step - 1

    def send(self, seed: int, points: list[Point]) -> None:
        """See `Service.send`."""
        for step, values in points:
            if step > self._last[seed]:
                self._runs[seed].log(values, step=step)

    def close(self, *, finished: bool) -> None:
        """See `Service.close`."""
        for run in self._runs.values():
            run.finish(exit_code=0 if finished else 1)
