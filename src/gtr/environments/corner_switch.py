"""A grid whose corners end the episode, and of which one pays: the smallest change of a goal."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gtr.environments.protocol import Discrete, Step
from gtr.errors import GTRError

# Left, right, up, down, as (column, row).
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))


class Position(NamedTuple):
    """Where the agent stands, and for how many steps it has been walking (int32 each)."""

    column: Int[Array, ""]
    row: Int[Array, ""]
    time: Int[Array, ""]


@dataclass(frozen=True)
class CornerSwitch:
    """A square grid; the agent starts in the centre, and each corner ends the episode.

    One corner pays 1, the others nothing, and so does every other cell. Walls block. Which corner
    pays changes with the phase, never to the same one twice in a row; in phase 0 it is the first,
    (column 0, row 0), for every schedule. A policy that has learnt one corner has to unlearn the
    walk to it before it can find the next, so this isolates the return to exploration.

    The world is the paying corner, int32: 0 ... 3 are (left, top), (right, top), (left, bottom),
    (right, bottom). Observations are the column and the row as one-hot vectors, float32
    (2 * size,). Actions are left, right, up, down.

    Attributes:
        size: cells along a side; odd, so that every corner is equally far.
        limit: steps after which an episode is truncated.

    Raises:
        GTRError: the size is even or below 3, or the limit is too short to reach a corner.
    """

    size: int = 9
    limit: int = 60

    def __post_init__(self) -> None:
        if self.size < 3 or self.size % 2 == 0:
            raise GTRError(f"size must be odd and at least 3, not {self.size}.")
        if self.limit < self.size - 1:
            raise GTRError(
                f"limit must be at least {self.size - 1}, the way to a corner, not {self.limit}."
            )

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return (2 * self.size,)

    @property
    def action_space(self) -> Discrete:
        """Left, right, up, down."""
        return Discrete(len(MOVES))

    def world(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> Int[Array, ""]:
        """The corner that pays: 0 in phase 0, then each time one of the three others."""

        def turn(number: Int[Array, ""], corner: Int[Array, ""]) -> Int[Array, ""]:
            shift = jax.random.randint(jax.random.fold_in(key, number), (), 1, 4, jnp.int32)
            return (corner + shift) % 4

        return jax.lax.fori_loop(1, jnp.asarray(phase, jnp.int32) + 1, turn, jnp.int32(0))

    def reset(
        self, key: PRNGKeyArray, world: Int[Array, ""]
    ) -> tuple[Position, Float[Array, " features"]]:
        """The centre of the grid."""
        del key, world
        centre = jnp.int32(self.size // 2)
        state = Position(centre, centre, jnp.int32(0))
        return state, self._observe(state)

    def step(
        self, key: PRNGKeyArray, state: Position, action: Int[Array, ""], world: Int[Array, ""]
    ) -> Step:
        """One move, which a wall may block."""
        del key
        last = self.size - 1
        move = jnp.array(MOVES, jnp.int32)[action]
        state = Position(
            jnp.clip(state.column + move[0], 0, last),
            jnp.clip(state.row + move[1], 0, last),
            state.time + jnp.int32(1),
        )
        right, bottom = state.column == last, state.row == last
        terminated = ((state.column == 0) | right) & ((state.row == 0) | bottom)
        corner = right.astype(jnp.int32) + 2 * bottom.astype(jnp.int32)
        return Step(
            state=state,
            observation=self._observe(state),
            reward=(terminated & (corner == world)).astype(jnp.float32),
            terminated=terminated,
            truncated=(state.time >= self.limit) & ~terminated,
        )

    def action_mask(self, state: Position, world: Int[Array, ""]) -> Bool[Array, " n"] | None:
        """None: all moves are always allowed."""
        del state, world
        return None

    def optimal_return(self, discount: float = 1.0) -> float:
        """Value of the start under the best policy, in every phase.

        The nearest way to a corner takes size - 1 moves, the last of which pays, so the value is
        discount ** (size - 2).
        """
        return discount ** (self.size - 2)

    def _observe(self, state: Position) -> Float[Array, " features"]:
        cells = jnp.arange(self.size)
        return jnp.concatenate([cells == state.column, cells == state.row]).astype(jnp.float32)
