"""Trainings so small that what they do can be compared bit for bit, and known by hand."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gtr.environments.corner_switch import CornerSwitch
from gtr.learner.config import LearnerConfig
from gtr.learner.run import problem_of as problem_of
from gtr.networks.architectures import MLP
from gtr.suites import Suite

# A grid of 3 x 3 and 6 steps, so that episodes terminate, are truncated, and cross batches of 8.
CORNERS = CornerSwitch(3, limit=6)
TINY = LearnerConfig(
    environments=4,
    rollout_length=8,
    epochs=2,
    minibatches=2,
    learning_rate=1e-2,
    network=MLP((8,)),
)
# A single gradient step an iteration: every policy is seen between two iterations.
ONE_STEP = replace(TINY, epochs=1, minibatches=1)


def small_suite(
    environment: Any = CORNERS,
    config: LearnerConfig = TINY,
    *,
    phases: int = 2,
    phase_iterations: int = 20,
) -> Suite:
    return Suite(
        name="small",
        size="cpu",
        domain="control",
        description="",
        source="",
        make=lambda: environment,
        phases=phases,
        phase_budget=phase_iterations * config.environments * config.rollout_length,
        seeds=1,
        config=config,
    )


def assert_same(a: Any, b: Any) -> None:
    """Two pytrees of arrays, bit for bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for (path, x), y in zip(
        jax.tree_util.tree_leaves_with_path(a), jax.tree.leaves(b), strict=True
    ):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.dtype, x.shape) == (y.dtype, y.shape), path
        assert x.tobytes() == y.tobytes(), jax.tree_util.keystr(path)


def differ(a: Any, b: Any) -> bool:
    return any(
        np.asarray(x).tobytes() != np.asarray(y).tobytes()
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def digest(tree: Any) -> str:
    """Of a pytree's bits, to compare across processes."""
    leaves = [np.ascontiguousarray(x) for x in jax.tree.leaves(tree)]
    return hashlib.sha256(b"".join(x.tobytes() for x in leaves)).hexdigest()


@dataclass(frozen=True)
class Clock:
    """Observations tell the time, and nothing depends on actions: every return is known.

    Reward t at the t-th step; after `limit` steps the episode is truncated, and in odd phases
    terminated.
    """

    limit: int = 3
    observation_shape: tuple[int, ...] = (1,)

    @property
    def action_space(self) -> Any:
        return CORNERS.action_space

    def world(self, key: Any, phase: Any) -> Any:
        return phase % 2 == 1

    def reset(self, key: Any, world: Any) -> tuple[Any, Any]:
        time = jax.numpy.int32(0)
        return time, self._observe(time)

    def step(self, key: Any, state: Any, action: Any, world: Any) -> Any:
        from gtr.environments.protocol import Step

        time = state + jax.numpy.int32(1)
        over = time >= self.limit
        reward = time.astype(jax.numpy.float32)
        return Step(time, self._observe(time), reward, over & world, over & ~world)

    def action_mask(self, state: Any, world: Any) -> None:
        return None

    def _observe(self, time: Any) -> Any:
        return (time / self.limit).astype(jax.numpy.float32)[None]


def checkpoints(directory: Path) -> list[Path]:
    return sorted((directory / "checkpoints").glob("*.safetensors"))
