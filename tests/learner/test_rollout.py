"""What an environment may promise beside the protocol: dear resets, and measures of episodes."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from gtr.environments.changes import RewardSign
from gtr.environments.protocol import Step
from gtr.learner.rollout import Episodes, collect
from gtr.learner.run import train
from gtr.methods import method
from gtr.networks.distributions import distribution_for
from tests.learner.problems import CORNERS, Clock, assert_same, small_suite

STEPS, COPIES = 8, 3
FALSE = jnp.zeros((), bool)


class Ticket(NamedTuple):
    number: Any
    time: Any


@dataclass(frozen=True)
class Tickets:
    """An episode shows the random number it began with, and is over after two steps."""

    reset_interval: int
    observation_shape: tuple[int, ...] = (1,)

    @property
    def action_space(self):
        return CORNERS.action_space

    def world(self, key, phase):
        return ()

    def reset(self, key, world):
        number = jax.random.uniform(key)
        return Ticket(number, jnp.int32(0)), number[None]

    def step(self, key, state, action, world):
        time = state.time + jnp.int32(1)
        after = Ticket(state.number, time)
        return Step(after, state.number[None], jnp.float32(0), time >= 2, FALSE)

    def action_mask(self, state, world):
        return None


def numbers_seen(interval, anew):
    """The number shown at each step to each copy, and that of each reset key, (9, copies)."""
    env = Tickets(interval)
    distribution = distribution_for(env.action_space, squash=False)
    resets, steps = (jax.random.split(jax.random.key(i), (STEPS + 1 - i, COPIES)) for i in range(2))
    nothing = jnp.zeros(COPIES)
    standing = Ticket(jnp.full(COPIES, -1.0), jnp.zeros(COPIES, jnp.int32))
    _, batch, finished = collect(
        env,
        distribution,
        lambda memory, seen: (memory, jnp.zeros((len(seen), distribution.outputs))),
        jnp.array(anew),
        (),
        Episodes(standing, standing.number[:, None], nothing, nothing, None),
        jnp.full((STEPS, COPIES, distribution.randomness), 0.5),
        resets,
        steps,
    )
    assert finished.measures == {}
    drawn = jax.vmap(jax.vmap(jax.random.uniform))(resets)
    return np.asarray(batch.observation[..., 0]), np.asarray(drawn)


@pytest.mark.parametrize(
    ("interval", "rows"),
    # Episodes end with the steps 1, 3, 5 and 7, of which the last begins after the batch.
    [(1, [2, 4, 6]), (2, [1, 2, 3]), (3, [1, 2, 2]), (4, [1, 1, 2]), (8, [1, 1, 1]), (99, [1] * 3)],
)
@pytest.mark.parametrize("anew", [True, False])
def test_episodes_of_an_interval_begin_alike_and_those_of_others_do_not(interval, rows, anew):
    seen, drawn = numbers_seen(interval, anew)
    first = drawn[:1] if anew else np.full((1, COPIES), -1, np.float32)
    np.testing.assert_array_equal(seen, np.repeat(np.concatenate([first, drawn[rows]]), 2, axis=0))


@dataclass(frozen=True)
class Telling(Clock):
    """A clock that tells twice its time, and whether the world is odd."""

    def episode_measures(self, state, world):
        return {"twice": 2.0 * state, "an/odd": world.astype(jnp.float32)}


def test_measures_of_episodes_are_means_over_those_that_ended(tmp_path):
    # Episodes of 11 steps among batches of 8: in every fourth batch or so none ends.
    def run(clock):
        suite = small_suite(RewardSign(clock), phase_iterations=5)
        return train(suite, method("ppo"), seeds=2, directory=tmp_path / type(clock).__name__)

    telling, silent = run(Telling(limit=11)), run(Clock(limit=11))
    rows = telling.metrics
    told = ["an/odd", "twice"]
    assert list(rows.columns) == [*silent.metrics.columns, *told]
    ended = rows["episodes"] > 0
    assert 0 < ended.sum() < len(rows)
    assert (rows.loc[ended, "twice"] == 22).all()
    assert (rows.loc[ended, "an/odd"] == rows.loc[ended, "phase"]).all()
    assert rows.loc[~ended, told].isna().all(axis=None)
    # and telling changes nothing else
    pd.testing.assert_frame_equal(rows[silent.metrics.columns], silent.metrics)
    assert_same(telling.state, silent.state)
