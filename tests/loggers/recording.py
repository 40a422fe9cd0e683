"""A training's records without its training: rows that are known, and checkpoints now and then.

    python -m tests.loggers.recording DIRECTORY LOGGERS KILLED

Rows of two seeds; a checkpoint after every 7th iteration. Is killed at iteration KILLED or soon
after it, when the files of Weights & Biases are ahead of the checkpoint; never at -1.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from gtr.learner.store import Store
from gtr.loggers import follower
from gtr.loggers.wandb_files import last_step

SEEDS, BATCH, PHASE, TOTAL = [3, 8], 32, 10, 30
DESCRIPTION = {
    "suite": "known",
    "phase_steps": PHASE * BATCH,
    "iterations": TOTAL,
    "learner": {"epochs": 2, "network": {"MLP": {"widths": [8]}}},
    "versions": {},
}


def rows(iteration: int) -> pd.DataFrame:
    """Of both seeds; `return` is measured in even iterations alone."""
    seeds = np.array(SEEDS)
    return pd.DataFrame(
        {
            "iteration": iteration,
            "seed": seeds,
            "step": (iteration + 1) * BATCH,
            "phase": iteration // PHASE,
            "return": np.where(iteration % 2, np.nan, iteration + seeds / 10),
            "kl": 1 / (1 + iteration) + seeds,
            "kernel_mean": iteration / 64,
        }
        # so many that files are written to while it goes on
        | {f"measure_{k}": iteration + k / 128 for k in range(120)}
    )


def record(directory: Path, log: tuple[str, ...], killed: int = -1, pause: float = 0.0) -> None:
    state = {"x": np.zeros(1)}
    store = Store(directory, DESCRIPTION, log=log, seeds=SEEDS, batch=BATCH)
    _, start = store.open(state)  # pyright: ignore[reportArgumentType]
    for iteration in range(start, TOTAL):
        store.append(rows(iteration))
        time.sleep(pause)
        done = iteration + 1
        if done % 7 == 0 or done == TOTAL:
            store.save(state, done, now=True)  # pyright: ignore[reportArgumentType]
        if killed >= 0 and iteration >= killed and ahead(directory, done):
            os.kill(os.getpid(), signal.SIGKILL)
    store.close()


def ahead(directory: Path, iteration: int) -> bool:
    """Whether Weights & Biases has on disk what the newest checkpoint does not know of."""
    identities = json.loads((directory / "loggers/wandb.json").read_text()).values()
    known = iteration // 7 * 7 * BATCH
    return all(last_step(directory, identity) > known for identity in identities)


if __name__ == "__main__":
    # so that what is sent gets ahead of the checkpoints
    follower._SHARE = float("inf")
    record(Path(sys.argv[1]), tuple(sys.argv[2].split(",")), int(sys.argv[3]), pause=0.05)
