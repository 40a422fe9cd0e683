"""Gaussian trust regions for policies in worlds that keep changing."""

from gtr import runtime

runtime.prepare()  # before anything below can start JAX's backend

from gtr.errors import GTRError  # noqa: E402
from gtr.learner.config import LearnerConfig  # noqa: E402
from gtr.learner.run import Run, train  # noqa: E402
from gtr.methods import method  # noqa: E402
from gtr.suites import suite  # noqa: E402

__all__ = ["GTRError", "LearnerConfig", "Run", "method", "suite", "train"]
