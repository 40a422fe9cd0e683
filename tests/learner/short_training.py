"""A training to be killed.

    python -m tests.learner.short_training DIRECTORY PHASE_ITERATIONS [SEEDS]

Every iteration is a chunk of its own with a checkpoint, so that most of the time is spent writing.
"""

import math
import sys

from gtr.interruption import Interrupted
from gtr.learner import run, store
from gtr.methods import method
from tests.learner.problems import small_suite


def main(directory: str, phase_iterations: str, seeds: str = "2") -> None:
    run._CHUNK_SECONDS = 0.0
    store._CHECKPOINT_SHARE = math.inf
    try:
        run.train(
            small_suite(phase_iterations=int(phase_iterations)),
            method("ppo"),
            seeds=int(seeds),
            directory=directory,
            progress=lambda status: print(status.done, flush=True),
        )
    except Interrupted as interrupted:
        print(f"Interrupted: {interrupted}", flush=True)
        raise SystemExit(3) from None


if __name__ == "__main__":
    main(*sys.argv[1:])
