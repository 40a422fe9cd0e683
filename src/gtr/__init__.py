"""Gaussian trust regions for policies in worlds that keep changing.

Names are imported when they are first used, so that `gtr.objective` and the command line's help
come without JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gtr import methods, suites
    from gtr.errors import GTRError
    from gtr.learner.config import LearnerConfig
    from gtr.learner.run import Run, train
    from gtr.methods import method
    from gtr.study.compare import compare
    from gtr.study.plot import plot
    from gtr.study.tune import tune
    from gtr.suites import suite

__all__ = [
    "GTRError",
    "LearnerConfig",
    "Run",
    "compare",
    "method",
    "methods",
    "plot",
    "suite",
    "suites",
    "train",
    "tune",
]

_HOMES = {
    "GTRError": "gtr.errors",
    "LearnerConfig": "gtr.learner.config",
    "Run": "gtr.learner.run",
    "compare": "gtr.study.compare",
    "method": "gtr.methods",
    "plot": "gtr.study.plot",
    "suite": "gtr.suites",
    "train": "gtr.learner.run",
    "tune": "gtr.study.tune",
}


def __getattr__(name: str) -> Any:
    if name in ("methods", "suites"):
        return import_module(f"gtr.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'gtr' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
