"""Where a run's measures are shown while it trains: TensorBoard, Weights & Biases, MLflow.

metrics.csv is the record; these follow it (docs/logging.md).
"""

import difflib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from gtr.errors import GTRError
from gtr.loggers.follower import Follower, Service
from gtr.loggers.logger import Logger
from gtr.loggers.thinning import Schedule
from gtr.loggers.tolerant import Tolerant

NAMES = ("tensorboard", "wandb", "mlflow")
NONE = "none"


def chosen(names: str | Sequence[str]) -> tuple[str, ...]:
    """The loggers that are asked for, each once.

    Args:
        names: one of `NAMES`, several of them, or "none".

    Raises:
        GTRError: there is no such logger, or its package is not installed.
    """
    given = (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))
    if given in ((), (NONE,)):
        return ()
    for name in given:
        if name not in NAMES:
            close = difflib.get_close_matches(name, NAMES, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise GTRError(
                f"there is no logger {name!r}{hint}; give some of {', '.join(NAMES)}, or {NONE}"
            )
        # tensorboardX is of the base install
        if name != "tensorboard" and find_spec(name) is None:
            raise GTRError(f"{name} is not installed: pip install 'gtr-rl[{name}]'")
    return given


def open_all(
    names: Sequence[str],
    directory: Path,
    description: dict[str, Any],
    *,
    seeds: list[int],
    batch: int,
    so_far: Callable[[], pd.DataFrame],
    start: int,
) -> list[Logger]:
    """Opens loggers for a run that begins or goes on; none of them can end it.

    Args:
        names: of `chosen`.
        directory: the run's.
        description: what config.json holds.
        seeds: of the run.
        batch: environment steps of a seed in an iteration.
        so_far: reads the rows of metrics.csv that the run goes on from.
        start: its next iteration.
    """
    schedule = Schedule(description["iterations"], description["phase_steps"] // batch)

    def tensorboard() -> Logger:
        from gtr.loggers.tensorboard import TensorBoard

        return TensorBoard(directory / "tensorboard", seeds, next_step=start * batch)

    def following(name: str) -> Logger:
        service = _service(name)
        kept = directory / "loggers" / f"{name}.json"
        return Follower(service(directory, seeds, description, kept), schedule, so_far())

    return [
        Tolerant(name, tensorboard if name == "tensorboard" else lambda name=name: following(name))
        for name in names
    ]


def _service(name: str) -> Callable[..., Service]:
    if name == "wandb":
        from gtr.loggers.weights_and_biases import WeightsAndBiases

        return WeightsAndBiases
    from gtr.loggers.mlflow_tracking import MLflow

    return MLflow
