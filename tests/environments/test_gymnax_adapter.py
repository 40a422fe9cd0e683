from functools import partial

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr.environments.gymnax_adapter import Gymnax
from gtr.environments.protocol import Box, Discrete
from gtr.errors import GTRError
from tests.environments.contract import action_like, assert_keeps_promises

KEY = jax.random.key(1)
CASES = (
    Gymnax("CartPole-v1"),
    Gymnax("Acrobot-v1"),
    Gymnax("MountainCar-v0"),
    Gymnax("Pendulum-v1"),
    Gymnax("MountainCarContinuous-v0"),
    Gymnax("Breakout-MinAtar"),
    Gymnax("SpaceInvaders-MinAtar", full_action_set=True),
    Gymnax("Asterix-MinAtar", full_action_set=True),
)
LIMITS = dict(
    zip((case.env_id for case in CASES), (500, 500, 200, 200, 999, *[1000] * 3), strict=True)
)
every = pytest.mark.parametrize("env", CASES, ids=lambda env: env.env_id)

# Compiling takes all of these tests' time, so spend none of it on optimising.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def theirs(env: Gymnax):
    options = {"use_minimal_action_set": False} if env.full_action_set else {}
    return gymnax.make(env.env_id, **options)


@every
def test_every_step_is_gymnaxs_own(env):
    """Against gymnax's `step`, which resets automatically, from its states over several episodes.

    Each step starts from gymnax's state, or Acrobot's chaos would grow the last bit into anything.
    """
    reference, params = theirs(env)

    def typed(state):
        like = jax.eval_shape(lambda: env.reset(KEY, ())[0])
        return jax.tree.map(lambda leaf, of: jnp.asarray(leaf, of.dtype), state, like)

    def one(start, key):
        act, key = jax.random.split(key)
        action = reference.action_space(params).sample(act)
        observation, state, reward, terminated, truncated, info = reference.step(
            key, start, action, params
        )
        key_step, key_reset = jax.random.split(key)
        ours = env.step(key_step, start, action, ())
        done = ours.terminated | ours.truncated
        following = jax.tree.map(
            lambda fresh, old: jnp.where(done, fresh, old),
            env.reset(key_reset, ()),
            (ours.state, ours.observation),
        )
        return typed(state), (
            (following, ours.observation, ours.reward, ours.terminated, done),
            (
                (typed(state), observation),
                info["final_observation"],
                reward,
                terminated,
                terminated | truncated,
            ),
        )

    @quick
    def both(key):
        start = typed(reference.reset(key, params)[1])
        return jax.lax.scan(one, start, jax.random.split(key, 600))[1]

    ours, expected = both(KEY)
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)
    # The continuous car's limit is beyond 600 steps, and chance does not take it to the flag.
    assert ours[-1].any() or env.env_id == "MountainCarContinuous-v0"


@every
def test_truncates_at_its_limit_and_not_before(env):
    step = quick(env.step)
    state, _ = env.reset(KEY, ())
    limit = LIMITS[env.env_id]
    early = step(KEY, state.replace(time=jnp.int32(limit - 2)), action_like(env), ())
    late = step(KEY, state.replace(time=jnp.int32(limit - 1)), action_like(env), ())
    assert (bool(early.terminated), bool(early.truncated)) == (False, False)
    assert (bool(late.terminated), bool(late.truncated)) == (False, True)


def test_a_fall_at_the_limit_terminates_and_its_observation_is_the_fallen_pole():
    env = Gymnax("CartPole-v1")
    state, first = env.reset(KEY, ())
    falling = state.replace(theta=jnp.float32(0.2), theta_dot=jnp.float32(3.0), time=jnp.int32(499))
    result = env.step(KEY, falling, jnp.int32(1), ())
    assert (bool(result.terminated), bool(result.truncated)) == (True, False)
    assert result.observation[2] > 12 * np.pi / 180
    assert abs(first[2]) <= 0.05


@every
def test_promises(env):
    assert_keeps_promises(env)
    assert env == Gymnax(env.env_id, env.full_action_set)
    _, observation = jax.eval_shape(lambda: env.reset(KEY, ()))
    assert observation.dtype == (jnp.bool if len(observation.shape) == 3 else jnp.float32)


def test_action_spaces():
    assert Gymnax("CartPole-v1").action_space == Discrete(2)
    assert Gymnax("Pendulum-v1").action_space == Box((1,), -2.0, 2.0)
    assert Gymnax("Breakout-MinAtar").action_space == Discrete(3)
    assert Gymnax("Breakout-MinAtar", full_action_set=True).action_space == Discrete(6)


def test_mistakes_are_told_in_one_line():
    with pytest.raises(GTRError, match="CartPole-v1") as caught:
        Gymnax("CartPole-v0")
    assert "\n" not in str(caught.value)
    with pytest.raises(GTRError, match="one action set"):
        Gymnax("CartPole-v1", full_action_set=True)
