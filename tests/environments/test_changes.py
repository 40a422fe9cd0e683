from collections import Counter
from dataclasses import dataclass, field
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtr.environments.changes import (
    ActionPermutation,
    Cycle,
    ObservationOffset,
    ObservationPermutation,
    RewardSign,
)
from gtr.environments.corner_switch import CornerSwitch
from gtr.environments.protocol import Discrete, Step
from gtr.errors import GTRError
from tests.environments.contract import assert_keeps_promises
from tests.probes import ConstantReward, MaskedBandit, Quadratic

KEY = jax.random.key(5)
GRID = CornerSwitch(5)
lean = settings(derandomize=True, deadline=None, max_examples=15)
NO = jnp.zeros((), bool)
keys = st.integers(0, 2**31 - 1).map(jax.random.key)
phases = st.integers(1, 1000).map(jnp.int32)
CHANGES = (
    ObservationOffset(GRID),
    ObservationPermutation(GRID),
    ActionPermutation(GRID),
    RewardSign(GRID),
)
each = pytest.mark.parametrize("env", CHANGES, ids=lambda env: type(env).__name__)


@dataclass(frozen=True)
class Tall:
    """A (3, 2, 4) grid of its own flat index; three actions, the last one masked; counts calls."""

    calls: Counter = field(compare=False)
    tag: str = "tall"
    observation_shape: tuple[int, ...] = (3, 2, 4)

    @property
    def action_space(self):
        return Discrete(3)

    def world(self, key, phase):
        return phase

    def reset(self, key, world):
        return jnp.float32(0), self.grid()

    def step(self, key, state, action, world):
        jax.debug.callback(lambda: self.calls.update([self.tag]))
        return Step(state + action, self.grid(), jnp.float32(action), NO, NO)

    def action_mask(self, state, world):
        return jnp.arange(3) < 2

    def grid(self):
        return jnp.arange(24, dtype=jnp.float32).reshape(3, 2, 4)


@dataclass(frozen=True)
class Flat(Tall):
    """The same with fewer rows, more columns, five actions and no mask."""

    tag: str = "flat"
    observation_shape: tuple[int, ...] = (2, 3, 4)

    @property
    def action_space(self):
        return Discrete(5)

    def action_mask(self, state, world):
        return None

    def grid(self):
        return jnp.ones((2, 3, 4), bool)


@cache
def world_of(env):
    """The compiled `world`, kept over the examples of a property."""
    return jax.jit(env.world)


def equal(a, b) -> bool:
    return all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@each
def test_promises(env):
    assert_keeps_promises(env)
    assert env.action_mask(*[None, world_of(env)(KEY, 1)]) is None


@each
def test_phase_0_is_the_environment_unchanged(env):
    world = world_of(env)(KEY, jnp.int32(0))
    state, observation = env.reset(KEY, world)
    inner_state, inner_observation = GRID.reset(KEY, world.inner)
    assert equal((state, observation), (inner_state, inner_observation))
    for action in range(4):
        inner = GRID.step(KEY, state, jnp.int32(action), world.inner)
        assert equal(env.step(KEY, state, jnp.int32(action), world), inner)


@each
def test_worlds_are_functions_of_key_and_phase_however_they_are_computed(env):
    keys = jax.random.split(KEY, 3)
    together = jax.jit(jax.vmap(env.world, (0, None)))(keys, jnp.int32(4))
    for seed, key in enumerate(keys):
        alone = world_of(env)(key, jnp.int32(4))
        assert equal(alone.change, jax.tree.map(lambda leaf, i=seed: leaf[i], together.change))
    assert equal(alone, env.world(keys[-1], jnp.int32(4)))


def test_other_phases_and_other_keys_give_other_worlds():
    env = ObservationOffset(GRID)
    drawn = [
        world_of(env)(jax.random.key(seed), jnp.int32(phase)).change
        for seed in range(3)
        for phase in range(1, 4)
    ]
    for i, one in enumerate(drawn):
        for other in drawn[i + 1 :]:
            assert not np.isclose(one, other).any()


def test_offset_is_normal_with_standard_deviation_2_and_fixed_within_a_phase():
    env = ObservationOffset(GRID)
    many = jax.vmap(env._draw, (0, None))(jax.random.split(KEY, 1000), jnp.int32(4))
    assert many.shape == (1000, 10)
    assert many.mean() == pytest.approx(0, abs=0.06)
    assert many.std() == pytest.approx(2, abs=0.05)
    assert (jnp.abs(many) < 2).mean() == pytest.approx(0.6827, abs=0.015)
    world = world_of(env)(KEY, jnp.int32(2))
    state, observation = env.reset(KEY, world)
    np.testing.assert_allclose(
        observation - GRID.reset(KEY, world.inner)[1], world.change, atol=1e-6
    )
    step = env.step(KEY, state, jnp.int32(0), world)
    inner = GRID.step(KEY, state, jnp.int32(0), world.inner)
    np.testing.assert_allclose(step.observation - inner.observation, world.change, atol=1e-6)


@lean
@given(key=keys, phase=phases)
def test_permutations_are_bijections_and_can_be_undone(key, phase):
    env = ObservationPermutation(GRID)
    world = world_of(env)(key, phase)
    assert sorted(world.change.tolist()) == list(range(10))
    seen = env.reset(key, world)[1]
    undone = np.empty(10)
    undone[np.asarray(world.change)] = seen
    np.testing.assert_array_equal(undone, GRID.reset(key, world.inner)[1])


@lean
@given(key=keys, phase=phases)
def test_two_permutations_compose_and_are_independent(key, phase):
    outer = ObservationPermutation(ObservationPermutation(GRID))
    world = world_of(outer)(key, phase)
    first, second = world.inner.change, world.change
    together = world._replace(inner=world.inner._replace(change=jnp.arange(10)))
    together = together._replace(change=first[second])
    assert equal(outer.reset(key, world)[1], outer.reset(key, together)[1])
    assert first.tolist() != second.tolist()


def test_channels_of_a_grid_are_permuted_and_nothing_else():
    env = ObservationPermutation(Tall(Counter()))
    world = world_of(env)(KEY, jnp.int32(1))
    assert world.change.tolist() != [0, 1, 2, 3]
    grid = env.reset(KEY, world)[1]
    np.testing.assert_array_equal(grid, env.env.reset(KEY, 0)[1][:, :, world.change])


def test_actions_are_permuted_and_the_mask_with_them():
    env = ActionPermutation(MaskedBandit(5))
    masked = set()
    for phase in range(6):
        world = world_of(env)(KEY, jnp.int32(phase))
        mask = env.action_mask(jnp.int32(0), world)
        pay = [env.step(KEY, jnp.int32(0), jnp.int32(a), world).reward for a in range(5)]
        np.testing.assert_array_equal(np.isfinite(pay), mask)
        np.testing.assert_array_equal(
            pay, np.where(world.change == 4, np.nan, world.change.astype(float))
        )
        masked.add(int(jnp.argmin(mask)))
    assert len(masked) > 1
    with pytest.raises(GTRError, match="discrete"):
        ActionPermutation(Quadratic())


def test_reward_changes_its_sign_each_phase():
    env = RewardSign(ConstantReward(reward=3.0))
    pay = [
        float(env.step(KEY, jnp.int32(0), jnp.int32(0), world_of(env)(KEY, jnp.int32(p))).reward)
        for p in range(4)
    ]
    assert pay == [3, -3, 3, -3]


def test_cycle_takes_turns_and_counts_visits():
    env = Cycle((Tall(Counter()), Flat(Counter())))
    for phase in range(6):
        world = world_of(env)(KEY, jnp.int32(phase))
        assert int(world.active) == phase % 2
        assert [int(inner) for inner in world.worlds] == [phase // 2] * 2


def test_cycle_pads_observations_and_masks_surplus_actions():
    env = Cycle((Tall(Counter()), Flat(Counter())))
    assert_keeps_promises(env)
    assert env.observation_shape == (3, 3, 4)
    assert env.action_space == Discrete(5)
    tall, flat = (world_of(env)(KEY, jnp.int32(phase)) for phase in range(2))
    state, observation = env.reset(KEY, tall)
    np.testing.assert_array_equal(observation[:, :2], np.arange(24).reshape(3, 2, 4))
    np.testing.assert_array_equal(observation[:, 2:], 0)
    np.testing.assert_array_equal(env.action_mask(state, tall), [1, 1, 0, 0, 0])
    state, observation = env.reset(KEY, flat)
    np.testing.assert_array_equal(observation[:2], 1)
    np.testing.assert_array_equal(observation[2:], 0)
    np.testing.assert_array_equal(env.action_mask(state, flat), [1, 1, 1, 1, 1])
    result = env.step(KEY, state, jnp.int32(4), flat)
    assert [float(leaf) for leaf in result.state] == [0, 4]


def test_cycle_of_equal_actions_needs_no_mask_and_of_unlike_ones_fails():
    env = Cycle((GRID, CornerSwitch(7)))
    world = world_of(env)(KEY, jnp.int32(1))
    assert env.action_mask(env.reset(KEY, world)[0], world) is None
    assert env == Cycle((GRID, CornerSwitch(7)))
    assert Cycle((Quadratic(), Quadratic((0.0, 0.0)))).action_space == Quadratic().action_space
    with pytest.raises(GTRError, match="one action space"):
        Cycle((ConstantReward(), Quadratic()))
    with pytest.raises(GTRError, match="one shape"):
        Cycle((GRID, Tall(Counter())))
    with pytest.raises(GTRError, match="at least one"):
        Cycle(())


def test_cycle_runs_only_the_active_environment():
    calls = Counter()
    env = Cycle((Tall(calls), Flat(calls)))

    @jax.jit
    def over_seeds(keys, phase):
        def one(key):
            world = world_of(env)(key, phase)
            state, _ = env.reset(key, world)
            return env.step(key, state, jnp.int32(1), world).reward

        return jax.vmap(one)(keys)

    for phase, tag in ((0, "tall"), (1, "flat")):
        calls.clear()
        over_seeds(jax.random.split(KEY, 3), jnp.int32(phase)).block_until_ready()
        jax.effects_barrier()
        assert calls.keys() == {tag}
