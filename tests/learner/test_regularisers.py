"""Single gradient steps with a regulariser are in test_update.py, resumed trainings in
test_resume.py."""

import math
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from jax import lax
from jax.flatten_util import ravel_pytree

from gtr.environments.protocol import Box
from gtr.errors import GTRError
from gtr.learner.config import configure, rates
from gtr.learner.regularisers import Churn, c_chain, coefficient, l2_init, remember
from gtr.learner.run import Setting, sweep, train
from gtr.learner.state import begin
from gtr.learner.update import _descend, flat, optimiser, value_loss
from gtr.methods import method
from gtr.networks.distributions import Categorical, Gaussian, TanhGaussian
from tests.learner.problems import (
    ONE_STEP,
    TINY,
    assert_same,
    differ,
    problem_of,
    small_suite,
)

PPO = method("ppo")
L2_INIT = replace(TINY, regulariser="l2-init", regularisation=1e-2)
C_CHAIN = replace(TINY, regulariser="c-chain", regularisation=1e2)


def begun(config, seed=0, phase=0):
    return begin(problem_of(small_suite(config=config)), PPO, rates(config), seed, phase).trained


def term_of_rows(distribution, previous, rows):
    """C-CHAIN's term where the weights are the parameters themselves, a row for each sample."""
    memory = Churn(jnp.asarray(previous), jnp.float32(0), jnp.float32(0), jnp.int32(0))
    return c_chain(
        memory,
        jnp.float32(1),
        distribution,
        lambda weights, rows: weights.reshape(previous.shape)[rows],
        jnp.asarray(rows)[None],
    )


def value_and_slope(distribution, previous, now, rows):
    with jax.enable_x64(True):
        term = term_of_rows(distribution, previous, rows)
        value, slope = jax.value_and_grad(term.value)(
            jnp.asarray(now).reshape(-1), term.previous, term.rows[0]
        )
        return float(value), np.asarray(slope).reshape(now.shape)


def test_c_chains_term_is_the_authors():
    """`train_combined_networks_with_chain` in crl_gym_classic_control/basic_utils.py."""
    rng = np.random.default_rng(0)
    previous = 2 * rng.standard_normal((8, 4))
    now = previous + rng.standard_normal((8, 4))
    rows = np.array([1, 2, 5, 6, 7])

    logits = torch.tensor(now, requires_grad=True)
    cur_reg_action_probs = torch.softmax(logits[rows], -1)
    with torch.no_grad():
        reg_action_probs = torch.softmax(torch.tensor(previous)[rows], -1)
    p_reg_loss = (-reg_action_probs * torch.log(cur_reg_action_probs + 1e-8)).sum(-1).mean()
    p_reg_loss.backward()

    value, slope = value_and_slope(Categorical(4), previous, now, rows)
    assert value == pytest.approx(p_reg_loss.item(), rel=1e-5)
    np.testing.assert_allclose(slope, logits.grad.numpy(), rtol=1e-4, atol=1e-7)
    assert not slope[[0, 3, 4]].any()


@pytest.mark.parametrize("kind", [Gaussian, TanhGaussian])
def test_c_chains_term_for_continuous_actions_has_the_cross_entropys_gradient(kind):
    rng = np.random.default_rng(1)
    previous = 0.5 * rng.standard_normal((6, 4))
    now = previous + 0.3 * rng.standard_normal((6, 4))

    def cross_entropy(now):
        (mean_p, log_p), (mean_q, log_q) = np.split(previous, 2, 1), np.split(now, 2, 1)
        square = np.exp(2 * log_p) + (mean_p - mean_q) ** 2
        return (log_q + 0.5 * math.log(2 * math.pi) + 0.5 * square / np.exp(2 * log_q)).sum(1)

    distribution = kind(Box((2,), -1.0, 1.0))
    value, slope = value_and_slope(distribution, previous, now, np.arange(6))
    excess = cross_entropy(now) - cross_entropy(previous)
    assert value == pytest.approx(excess.mean(), rel=1e-6)
    for index in np.ndindex(*now.shape):
        step = np.zeros_like(now)
        step[index] = 1e-5
        difference = (cross_entropy(now + step) - cross_entropy(now - step)).mean() / 2e-5
        assert slope[index] == pytest.approx(difference, rel=1e-5, abs=1e-8)


def test_c_chain_pulls_nowhere_before_the_policy_has_moved():
    logits = np.random.default_rng(2).standard_normal((8, 4))
    value, slope = value_and_slope(Categorical(4), logits, logits, np.arange(8))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert value == pytest.approx(-(p * np.log(p)).sum(1).mean(), rel=1e-9)
    np.testing.assert_allclose(slope, 0, atol=1e-12)


def test_c_chains_coefficient_follows_the_losses():
    rng = np.random.default_rng(3)
    # a regulariser that rises, so that the coefficient falls from above 1 to the floor
    losses, terms = rng.normal(0, 0.03, 120), np.geomspace(0.02, 3, 120)
    target, memory = 5.0, begun(C_CHAIN).memory
    seen = []
    step = jax.jit(remember)
    for iteration in range(120):
        if iteration <= 10:
            expected = 1.0
        else:
            weights = 0.98 ** np.arange(iteration)[::-1]
            loss, term = (
                weights @ np.abs(series[:iteration]) / weights.sum() for series in (losses, terms)
            )
            expected = max(target * loss / (term + 1e-8), 1.0)
        seen.append(float(coefficient(memory, jnp.float32(target))))
        assert seen[-1] == pytest.approx(expected, rel=1e-4), iteration
        memory = step(
            memory, memory.previous, jnp.float32(losses[iteration]), jnp.float32(terms[iteration])
        )
    assert seen[11] > 1.2
    assert seen[-1] == 1.0


def test_c_chain_averages_the_policy_loss_that_is_recorded():
    run = train(small_suite(config=C_CHAIN), PPO, seeds=2)
    memory = run.state.trained.memory
    np.testing.assert_array_equal(memory.iterations, 40)
    weights = 0.98 ** np.arange(40)[::-1]
    for seed, rows in run.metrics.groupby("seed"):
        expected = weights @ rows["policy_loss"].abs() / weights.sum()
        np.testing.assert_allclose(memory.policy_loss[seed], expected, rtol=1e-4)
    # a uniform policy over 4 actions has ln 4 nats
    assert ((memory.regulariser > 0.5) & (memory.regulariser < math.log(4) + 0.2)).all()


def test_c_chain_remembers_the_actor_before_the_last_gradient_step():
    config = replace(ONE_STEP, regulariser="c-chain", regularisation=1e2)
    setting, before = Setting(PPO, config), begun(config).actor
    for done in range(1, 4):
        trained = sweep(small_suite(config=config), [setting], iterations=done).state.trained
        actor, previous = jax.tree.map(lambda x: x[0], (trained.actor, trained.memory.previous))
        assert_same(previous, before)
        assert differ(actor, before)
        before = actor


def test_l2_init_is_the_squared_distance_of_all_weights():
    actor = begun(L2_INIT).actor
    term = l2_init(actor, jnp.float32(0.5))
    rng = np.random.default_rng(4)
    weights = rng.standard_normal(flat(actor).shape, np.float32)
    start = np.asarray(flat(actor), np.float64)
    value, slope = jax.value_and_grad(term.value)(jnp.asarray(weights), term.previous, term.rows)
    assert value == pytest.approx(((weights - start) ** 2).sum(), rel=1e-5)
    np.testing.assert_allclose(slope, 2 * (weights - start), rtol=1e-5, atol=1e-6)
    assert term.coefficient == 0.5


def test_a_huge_l2_init_holds_the_weights_where_they_began():
    def furthest(config):
        trained = jax.tree.map(lambda x: x[0], train(small_suite(config=config), PPO).state.trained)
        start = begun(config)
        return [
            float(jnp.abs(flat(network) - flat(origin)).max())
            for network, origin in ((trained.actor, start.actor), (trained.critic, start.critic))
        ]

    free, held = furthest(TINY), furthest(replace(L2_INIT, regularisation=1e6))
    # Adam's steps have a size of their own, so that some are taken and taken back
    assert max(held) < TINY.learning_rate
    assert min(free) > 10 * TINY.learning_rate


@pytest.mark.parametrize("config", [L2_INIT, C_CHAIN], ids=["l2-init", "c-chain"])
def test_a_sweep_over_coefficients_is_the_trainings_one_by_one(config):
    configs = [replace(config, regularisation=factor * config.regularisation) for factor in (1, 50)]
    swept = sweep(
        small_suite(config=config), [Setting(PPO, one, str(i)) for i, one in enumerate(configs)]
    )
    states = [jax.tree.map(lambda x, i=i: x[i], swept.state) for i in range(2)]
    assert differ(states[0].trained.actor, states[1].trained.actor)
    for i, one in enumerate(configs):
        single = train(small_suite(config=one), PPO)
        assert_same(states[i], jax.tree.map(lambda x: x[0], single.state))
        rows = swept.metrics[swept.metrics["setting"] == str(i)].drop(columns="setting")
        assert rows.reset_index(drop=True).equals(single.metrics)


def test_settings_with_other_regularisers_are_not_one_program():
    for first, second in ((TINY, L2_INIT), (L2_INIT, TINY), (L2_INIT, C_CHAIN)):
        with pytest.raises(GTRError, match="differ in more than numbers"):
            sweep(small_suite(), [Setting(PPO, first, "a"), Setting(PPO, second, "b")])


def test_the_oracle_begins_each_phase_with_an_origin_of_its_own():
    for fresh, phase in ((False, 0), (True, 1)):
        run = train(small_suite(config=L2_INIT), PPO, seeds=2, fresh_each_phase=fresh)
        for seed in (0, 1):
            start = begun(L2_INIT, seed, phase)
            origin = jax.tree.map(lambda x, seed=seed: x[seed], run.state.trained.memory)
            assert_same((origin.actor, origin.critic), (start.actor, start.critic))
    assert differ(begun(L2_INIT, 0, 0).actor, begun(L2_INIT, 0, 1).actor)


def test_the_oracles_statistics_begin_anew_at_each_phase():
    run = train(small_suite(config=C_CHAIN), PPO, seeds=2, fresh_each_phase=True)
    np.testing.assert_array_equal(run.state.trained.memory.iterations, 20)


@pytest.mark.parametrize("config", [L2_INIT, C_CHAIN], ids=["l2-init", "c-chain"])
def test_without_epochs_a_regulariser_changes_nothing(config):
    config = replace(config, epochs=0)
    run = train(small_suite(config=config, phases=1, phase_iterations=2), PPO)
    assert_same(jax.tree.map(lambda x: x[0], run.state.trained.actor), begun(config).actor)
    assert np.isfinite(run.metrics[["policy_loss", "kl", "entropy"]]).all(axis=None)


# -- no regulariser -----------------------------------------------------------------------------


def test_without_a_regulariser_nothing_is_kept_and_no_number_is_given():
    names = {
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(begun(TINY))
    }
    networks = {
        f".{name}.network.{layer}.{part}"
        for name in ("actor", "critic")
        for layer in ("hidden[0]", "head")
        for part in ("weight", "bias")
    }
    adam = {f".{n}_optimiser[1].{x}" for n in ("actor", "critic") for x in ("count", "mu", "nu")}
    assert names == networks | adam | {".actor.free"}
    assert len(jax.tree.leaves(rates(TINY))) == 7
    assert len(jax.tree.leaves(rates(L2_INIT))) == 8


def test_without_a_regulariser_the_program_is_that_of_plain_gradient_steps():
    """The loop as it was before there were regularisers, operation for operation."""
    trained = jax.tree.map(jnp.asarray, begun(TINY))
    tx, learning_rate = optimiser(rates(TINY)), jnp.float32(1e-2)
    minibatches = (jnp.zeros((4, 16, 6)), jnp.zeros((4, 16)))

    def plain(network, state, learning_rate, minibatches):
        restore = ravel_pytree(network)[1]

        def step(carry, minibatch):
            weights, state = carry
            value, gradient = jax.value_and_grad(value_loss)(restore(weights), *minibatch)
            gradient = flat(gradient)
            change, state = tx.update(gradient, state)
            weights = weights - learning_rate * change
            return (weights, state), jnp.stack([value, optax.tree.norm(gradient)])

        (weights, state), seen = lax.scan(step, (flat(network), state), minibatches)
        return weights, state, seen.mean(0)

    def ours(network, state, learning_rate, minibatches, term):
        return _descend(tx, learning_rate, None, value_loss, minibatches, network, state, term)

    given = (trained.critic, trained.critic_optimiser, learning_rate, minibatches)
    program = str(jax.make_jaxpr(plain)(*given))
    assert str(jax.make_jaxpr(partial(ours, term=None))(*given)) == program
    term = l2_init(trained.critic, jnp.float32(1))
    assert str(jax.make_jaxpr(partial(ours, term=term))(*given)) != program


# -- numbers ------------------------------------------------------------------------------------


def test_a_regulariser_brings_its_number_unless_one_is_given():
    l2_init = configure(TINY, regulariser="l2-init")
    assert l2_init.regularisation == 1e-4
    assert configure(l2_init, regularisation=0.5).regularisation == 0.5
    # the same again leaves the number alone, another one does not take it over
    assert configure(L2_INIT, regulariser="l2-init") == L2_INIT
    assert configure(L2_INIT, regulariser="c-chain").regularisation == 1e4
    assert configure(L2_INIT, regulariser="c-chain", regularisation=3.0).regularisation == 3.0
    assert configure(L2_INIT, regulariser="none") == TINY


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"regulariser": "l2"}, "regulariser is 'l2'; give one of "),
        ({"regulariser": 3}, "regulariser is 3; give one of "),
        ({"regularisation": 0.1}, "regularisation is 0.1 without a regulariser"),
        *(
            ({"regulariser": "c-chain", "regularisation": bad}, f"regularisation is {bad!r}; with")
            for bad in (0, 0.0, -1.0, math.inf, math.nan, True, "much", None)
        ),
    ],
)
def test_a_regulariser_that_cannot_be_is_refused_in_one_line(numbers, message):
    with pytest.raises(GTRError) as refusal:
        configure(TINY, **numbers)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)
    with pytest.raises(GTRError):
        train(small_suite(), PPO, config=replace(TINY, **numbers))
