import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.environments.contract import assert_keeps_promises
from tests.probes import (
    ConstantReward,
    DelayedReward,
    MaskedBandit,
    NaNAfter,
    Quadratic,
    RandomEnd,
)

KEY = jax.random.key(0)
PROBES = (
    ConstantReward(),
    DelayedReward(),
    Quadratic(),
    MaskedBandit(),
    NaNAfter(),
    RandomEnd(),
)


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: type(probe).__name__)
def test_probes_keep_the_promises_of_the_protocol(probe):
    assert_keeps_promises(probe)


def test_constant_reward_only_truncates():
    env = ConstantReward(limit=3)
    state, _ = env.reset(KEY, ())
    ends = []
    for _ in range(3):
        state, _, reward, terminated, truncated = env.step(KEY, state, jnp.int32(0), ())
        assert reward == 1
        assert not terminated
        ends.append(bool(truncated))
    assert ends == [False, False, True]


@pytest.mark.parametrize("first", [0, 1])
def test_delayed_reward_pays_the_first_action_at_the_second_step(first):
    env = DelayedReward()
    state, _ = env.reset(KEY, ())
    one = env.step(KEY, state, jnp.int32(first), ())
    two = env.step(KEY, one.state, jnp.int32(1 - first), ())
    assert (one.reward, bool(one.terminated)) == (0, False)
    assert (two.reward, bool(two.terminated)) == (first, True)
    np.testing.assert_array_equal(one.observation, [1, first])


def test_quadratic_is_best_at_its_optimum_and_masked_bandit_shows_forbidden_arms():
    env = Quadratic()
    assert env.step(KEY, jnp.int32(0), jnp.array(env.optimum), ()).reward == 0
    assert env.step(KEY, jnp.int32(0), jnp.zeros(2), ()).reward == pytest.approx(-0.34)
    bandit = MaskedBandit(4)
    pay = [bandit.step(KEY, jnp.int32(0), jnp.int32(arm), ()).reward for arm in range(4)]
    np.testing.assert_array_equal(pay, [0, 1, bandit.optimal_return, np.nan])


def test_nan_after_and_random_end():
    env = NaNAfter(2)
    state, _ = env.reset(KEY, ())
    seen = []
    for _ in range(4):
        state, observation, *_ = env.step(KEY, state, jnp.int32(0), ())
        seen.append(bool(jnp.isnan(observation).any()))
    assert seen == [False, False, True, True]
    ends = jax.vmap(lambda key: RandomEnd(0.2).step(key, jnp.int32(0), 0, ()).terminated)(
        jax.random.split(KEY, 4000)
    )
    assert ends.mean() == pytest.approx(0.2, abs=0.03)
