"""What an environment is here: pure functions of a state and of the world's present parameters.

A *world* is the pytree of parameters that a change alters (an offset, a permutation, which corner
pays). It is a pure function of a schedule key and the phase's number, so that every method run with
the same seed meets the same changes, and a resumed run needs nothing saved to meet them again.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

State = Any
World = Any


@dataclass(frozen=True)
class Discrete:
    """Actions 0 ... n - 1, as int32 scalars."""

    n: int


@dataclass(frozen=True)
class Box:
    """Actions in a box: float32 arrays of `shape`, each component between `low` and `high`."""

    shape: tuple[int, ...]
    low: float
    high: float


class Step(NamedTuple):
    """What one step of one environment gives back; nothing is reset automatically."""

    state: State
    observation: Array
    reward: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]


class Environment(Protocol):
    """One environment, unbatched; the learner maps it over copies and seeds.

    Everything static (shapes, spaces, sizes) is an attribute; everything that changes from phase
    to phase is in `world`. Methods are traced by JAX: no Python control flow on array values.

    Four promises that the learner builds on:

    - States and observations have the same structure, shapes, dtypes and weak types from `reset`
      and from `step`, so both can be the carry of a scan.
    - `step` never calls `reset`: the learner draws the resets of a whole rollout at once, outside
      the scan, and selects them where an episode ended. `reset` is cheap, or says how seldom it is
      to be called (`reset_interval`).
    - A state belongs to the world it was made in. When the phase changes, start fresh episodes.
    - Instances are hashable and equal when they behave alike, so they can be static arguments of
      a jitted function without compiling it anew.

    Call `world` where the phase is not mapped over (inside the function that is mapped over seeds,
    the phase passed in unmapped): then what depends on the phase alone, such as which of several
    environments is active, stays a real branch instead of a selection among all results.
    """

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one observation; networks cast it to float32."""
        ...

    @property
    def action_space(self) -> Discrete | Box:
        """The actions that `step` takes."""
        ...

    def world(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> World:
        """Parameters of the world in `phase`, drawn from the schedule's `key`.

        Phase 0 is the unchanged world, for every key.
        """
        ...

    def reset(self, key: PRNGKeyArray, world: World) -> tuple[State, Array]:
        """A fresh episode: its state and first observation."""
        ...

    def step(self, key: PRNGKeyArray, state: State, action: Array, world: World) -> Step:
        """One transition. `observation` is the successor's even where the episode ends.

        At most one of `terminated` and `truncated` is true. A terminal state is never stepped.
        """
        ...

    def action_mask(self, state: State, world: World) -> Bool[Array, " n"] | None:
        """Which discrete actions are allowed in `state`; None where all always are."""
        ...


def reset_interval(environment: Environment) -> int:
    """For how many steps of a rollout one fresh episode of a copy has to do; 1 where not stated.

    Every fresh episode is made before it is known whether an episode ends, so a copy whose `reset`
    is dear states how long its episodes usually are at least. Should two of one copy end within the
    same interval, both are followed by the same beginning.
    """
    return getattr(environment, "reset_interval", 1)


def episode_measures(
    environment: Environment, state: State, world: World
) -> dict[str, Float[Array, ""]]:
    """What an environment tells of an episode by its last state: float32 scalars, by name.

    The learner writes the mean of each over the episodes that ended in an iteration into a column
    of metrics.csv. The names are always the same ones; none where the environment has no such
    method.
    """
    told = getattr(environment, "episode_measures", None)
    return {} if told is None else told(state, world)
