from dataclasses import replace

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from gtr.learner.advantages import generalised_advantages, update_scale
from gtr.learner.run import train
from gtr.methods import method
from tests.learner.problems import TINY, Clock, small_suite

gae = jax.jit(lambda given: generalised_advantages(**given))


def loop(rewards, values, successor_values, terminated, truncated, discount, gae_lambda):
    """Schulman et al.'s sum, with NumPy in float64, one step at a time."""
    steps, copies = rewards.shape
    advantages = np.zeros((steps, copies))
    for e in range(copies):
        for t in range(steps):
            weight = 1.0
            for later in range(t, steps):
                bootstrap = 0.0 if terminated[later, e] else successor_values[later, e]
                error = rewards[later, e] + discount * bootstrap - values[later, e]
                advantages[t, e] += weight * error
                if terminated[later, e] or truncated[later, e]:
                    break
                weight *= discount * gae_lambda
    return advantages


def compute(rewards, values, successor_values, terminated, truncated, discount, gae_lambda):
    return np.asarray(
        gae(
            {
                "rewards": jnp.float32(rewards),
                "values": jnp.float32(values),
                "successor_values": jnp.float32(successor_values),
                "terminated": jnp.asarray(terminated, bool),
                "truncated": jnp.asarray(truncated, bool),
                "discount": jnp.float32(discount),
                "gae_lambda": jnp.float32(gae_lambda),
            }
        )
    )


@given(
    st.sampled_from([(1, 1), (7, 1), (1, 4), (12, 3)]),
    st.integers(0, 2**32 - 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 0.6),
)
def test_advantages_are_those_of_a_loop_in_double_precision(shape, seed, discount, lam, ending):
    rng = np.random.default_rng(seed)
    rewards, values, successors = rng.standard_normal((3, *shape)).astype(np.float32)
    ends = rng.random(shape)
    terminated = ends < ending
    truncated = (ends >= ending) & (ends < 1.5 * ending)
    given_values = (rewards, values, successors, terminated, truncated, discount, lam)
    np.testing.assert_allclose(compute(*given_values), loop(*given_values), rtol=1e-4, atol=1e-5)


def test_advantages_with_lambda_1_are_discounted_returns_less_values():
    rewards = np.array([[1.0], [2.0], [4.0]])
    values = np.array([[0.5], [-1.0], [3.0]])
    successors = np.array([[-1.0], [3.0], [10.0]])
    off = np.zeros((3, 1), bool)
    out = compute(rewards, values, successors, off, off, 0.5, 1.0)
    returns = [1 + 0.5 * 2 + 0.25 * 4 + 0.125 * 10, 2 + 0.5 * 4 + 0.25 * 10, 4 + 0.5 * 10]
    np.testing.assert_allclose(out[:, 0], np.array(returns) - values[:, 0], rtol=1e-6)


def test_advantages_with_lambda_0_are_one_step_errors():
    rng = np.random.default_rng(0)
    rewards, values, successors = rng.standard_normal((3, 5, 2)).astype(np.float32)
    off = np.zeros((5, 2), bool)
    out = compute(rewards, values, successors, off, off, 0.9, 0.0)
    np.testing.assert_allclose(out, rewards + 0.9 * successors - values, rtol=1e-5, atol=1e-6)


def test_a_terminated_step_is_worth_its_reward_and_a_truncated_one_its_own_successor():
    rewards = np.ones((2, 2))
    values = np.zeros((2, 2))
    successors = np.full((2, 2), 10.0)
    terminated = np.array([[True, False], [False, False]])
    truncated = np.array([[False, True], [False, False]])
    out = compute(rewards, values, successors, terminated, truncated, 0.5, 1.0)
    # neither sees the second step's error of 6
    np.testing.assert_allclose(out[0], [1.0, 1 + 0.5 * 10])
    np.testing.assert_allclose(out[1], [6.0, 6.0])


def test_a_terminated_steps_successor_value_does_not_matter_even_if_huge():
    out = compute([[1.0]], [[0.0]], [[1e30]], [[True]], [[False]], 0.99, 0.95)
    assert out == 1


@pytest.mark.parametrize("steps", [1, 10, 300])
def test_the_running_scale_is_a_bias_corrected_mean_square(steps):
    rng = np.random.default_rng(1)
    batches = rng.standard_normal((steps, 6)).astype(np.float32) * 3
    square = jnp.float32(0)
    for i, batch in enumerate(batches):
        square, scale = update_scale(square, jnp.asarray(batch), jnp.int32(i))
    weights = 0.99 ** np.arange(steps)[::-1]
    expected = np.sqrt(weights @ (batches.astype(np.float64) ** 2).mean(1) / weights.sum())
    assert scale == pytest.approx(expected, rel=1e-4)


def test_the_running_scale_of_nothing_divides_by_something():
    _, scale = update_scale(jnp.float32(0), jnp.zeros(4), jnp.int32(0))
    assert scale > 0


@pytest.fixture(scope="module")
def clock():
    """One run of `Clock` whose learning rate is 0: its critic is known throughout."""
    config = replace(TINY, epochs=1, minibatches=1, learning_rate=0.0, discount=0.9, gae_lambda=0.8)
    suite = small_suite(Clock(), config, phases=2, phase_iterations=2)
    return train(suite, method("ppo"))


@pytest.mark.parametrize("iteration", [0, 1, 2, 3])
def test_a_truncated_episode_is_bootstrapped_from_its_own_last_observation(clock, iteration):
    """In the whole iteration, not in the formula alone: the value loss is half the mean square
    advantage, since targets are advantages plus values. Iterations 2 and 3 terminate instead."""
    environment, critic = Clock(), jax.tree.map(lambda x: x[0], clock.state.trained.critic)
    of_time = np.asarray(critic(jnp.arange(4.0)[:, None] / environment.limit))
    # episodes of 3 steps and batches of 8: the second batch of a phase begins at time 2
    time = (np.arange(8) + 8 * (iteration % 2)) % environment.limit
    over = time + 1 == environment.limit
    terminates = iteration >= 2
    rewards = (time + 1.0)[:, None]
    given_values = (rewards, of_time[time][:, None], of_time[time + 1][:, None])
    ends = over[:, None]
    advantages = loop(*given_values, ends & terminates, ends & (not terminates), 0.9, 0.8)
    seen = clock.metrics["value_loss"][iteration]
    assert seen == pytest.approx(0.5 * np.mean(advantages**2), rel=1e-4)
    # the test tells apart: the next episode's first observation is worth something else
    wrong = loop(
        rewards,
        of_time[time][:, None],
        of_time[(time + 1) % environment.limit][:, None],
        ends & terminates,
        ends & (not terminates),
        0.9,
        0.8,
    )
    assert terminates or abs(seen / (0.5 * np.mean(wrong**2)) - 1) > 1e-2
