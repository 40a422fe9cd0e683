"""Whether it learns, where the best is known: fixed seeds, and bounds far from what is reached."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr.environments.corner_switch import CornerSwitch
from gtr.learner.config import LearnerConfig
from gtr.learner.run import train
from gtr.methods import method, names
from gtr.networks.architectures import MLP
from gtr.networks.distributions import distribution_for
from tests.learner.problems import small_suite
from tests.probes import ConstantReward, DelayedReward, MaskedBandit, Quadratic, RandomEnd

CONFIG = LearnerConfig(
    environments=8,
    rollout_length=16,
    epochs=4,
    minibatches=2,
    learning_rate=5e-3,
    discount=0.9,
    entropy=0.0,
    network=MLP((16,)),
)


def learn(environment, iterations=60, name="ppo", **changed):
    suite = small_suite(
        environment, replace(CONFIG, **changed), phases=1, phase_iterations=iterations
    )
    return train(suite, method(name), seeds=2)


def networks(run, seed):
    trained = jax.tree.map(lambda x: x[seed], run.state.trained)
    return trained.actor, trained.critic


def late_returns(run):
    """Mean return in the last fifth, of each seed."""
    table = run.metrics.pivot(index="iteration", columns="seed", values="return")
    return table.iloc[-len(table) // 5 :].mean().to_numpy()


@pytest.mark.parametrize(
    "name",
    ["ppo", *(pytest.param(n, marks=pytest.mark.slow) for n in names() if n != "ppo")],
)
def test_the_first_of_two_actions_is_credited_with_a_reward_that_comes_later(name):
    run = learn(DelayedReward(), name=name)
    assert (late_returns(run) > 0.9).all()
    for seed in (0, 1):
        _, critic = networks(run, seed)
        values = np.asarray(critic(jnp.float32([[0, 0], [1, 1]])))
        np.testing.assert_allclose(values, [0.9, 1.0], atol=0.2)


@pytest.mark.parametrize("squash", [False, True], ids=["clipped", "squashed"])
def test_continuous_actions_find_the_optimum(squash):
    environment = Quadratic()
    run = learn(environment, 100, squash_actions=squash)
    one = distribution_for(environment.action_space, squash=squash)
    start = run.metrics.groupby("seed")["return"].first().to_numpy()
    assert (late_returns(run) > start / 2).all()
    for seed in (0, 1):
        actor, _ = networks(run, seed)
        action = one.to_environment(one.mode(actor(jnp.zeros((1, 1)))))[0]
        np.testing.assert_allclose(action, environment.optimum, atol=0.2)


def test_a_forbidden_action_is_never_taken_though_it_would_pay_best():
    # taking it once would pay NaN, which stops the training
    environment = MaskedBandit()
    run = learn(environment, 40, entropy=0.05)
    assert (late_returns(run) > environment.optimal_return - 0.2).all()


def test_values_of_truncated_episodes_reach_over_the_truncation():
    environment = ConstantReward(limit=3)
    run = learn(environment, 100)
    for seed in (0, 1):
        _, critic = networks(run, seed)
        value = float(critic(jnp.zeros((1, 1)))[0])
        # 10; where truncation is taken for termination, below 2.8
        assert value == pytest.approx(environment.value(0.9), rel=0.15)


def test_values_of_terminating_episodes_stop_at_the_end():
    environment = RandomEnd(0.2)
    run = learn(environment, 60)
    for seed in (0, 1):
        _, critic = networks(run, seed)
        assert float(critic(jnp.zeros((1, 1)))[0]) == pytest.approx(environment.value(0.9), abs=0.7)


def test_a_corner_is_found_in_phase_0():
    environment = CornerSwitch(5, limit=20)
    run = learn(environment, 80, entropy=0.01)
    assert (late_returns(run) > 0.9 * environment.optimal_return()).all()
    lengths = run.metrics.groupby("seed")["length"].last().to_numpy()
    assert (lengths < 6).all()
