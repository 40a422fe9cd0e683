"""What a suite is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from gtr.learner.config import LearnerConfig

if TYPE_CHECKING:
    from gtr.environments.host import HostEnvironment
    from gtr.environments.protocol import Environment, World

Size = Literal["cpu", "full"]
STATIONARY = "-stationary"


@dataclass(frozen=True)
class Suite:
    """An environment, what changes in it and when, and the budget of one run.

    A suite is cheap to build and to list: JAX and the environment are imported when `environment`
    is first asked for.

    Attributes:
        name: what `suite` finds it by.
        size: "cpu" (minutes on two cores) or "full" (a GPU).
        domain: "control", "games", "open world" or "robotics".
        description: what changes, in a sentence.
        source: where the problem comes from.
        make: builds the environment.
        phases: how many worlds a run meets.
        phase_budget: environment steps a run should spend in each; see `phase_steps`.
        seeds: how many runs a comparison should have.
        config: learner configuration that suits the environment.
        changing: False in a stationary twin, whose world is that of phase 0 throughout.
    """

    name: str
    size: Size
    domain: str
    description: str
    source: str
    make: Callable[[], Environment | HostEnvironment]
    phases: int
    phase_budget: int
    seeds: int
    config: LearnerConfig
    changing: bool = True

    @cached_property
    def environment(self) -> Environment | HostEnvironment:
        """The environment; building it imports JAX and takes seconds the first time."""
        return self.make()

    @property
    def phase_iterations(self) -> int:
        """Updates per phase: `phase_budget` in batches, to the nearest whole one, at least 1."""
        return max(1, round(self.phase_budget / self._batch))

    @property
    def phase_steps(self) -> int:
        """Environment steps of one run in each phase: a whole number of batches."""
        return self.phase_iterations * self._batch

    @property
    def iterations(self) -> int:
        """Updates in a whole run."""
        return self.phases * self.phase_iterations

    @property
    def steps(self) -> int:
        """Environment steps in a whole run."""
        return self.phases * self.phase_steps

    @property
    def twin(self) -> Suite:
        """The same without the change: same phases, budget and configuration. Its own twin."""
        if not self.changing:
            return self
        return replace(
            self,
            name=self.name + STATIONARY,
            description=f"Stationary twin of {self.name}: the world of phase 0 throughout.",
            changing=False,
        )

    def world(self, schedule: Any, phase: Any) -> World:
        """The world of a phase of a schedule, in a twin that of phase 0.

        Args:
            schedule: what it is drawn from: a key in JAX, a seed outside.
            phase: its number.
        """
        return self.environment.world(schedule, phase if self.changing else 0 * phase)

    @property
    def _batch(self) -> int:
        return self.config.environments * self.config.rollout_length
