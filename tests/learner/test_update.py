from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from gtr.learner.config import LearnerConfig, configure, rates
from gtr.learner.randomness import draw
from gtr.learner.regularisers import Churn, Origin
from gtr.learner.run import Setting, sweep, train
from gtr.learner.state import begin
from gtr.learner.update import Objective, Samples, shuffles, update
from gtr.methods import method
from gtr.networks.architectures import MLP
from gtr.networks.distributions import Categorical
from gtr.objective import adapt
from tests.learner.problems import CORNERS, ONE_STEP, TINY, assert_same, problem_of, small_suite


def random_bits(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2**32, shape, np.uint32)


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 33, 2048, 2**16, 2**16 + 1])
def test_every_epoch_visits_every_row_once_in_an_order_of_its_own(rows):
    order = np.asarray(shuffles(jnp.asarray(random_bits((3, rows)))))
    assert np.issubdtype(order.dtype, np.integer)
    np.testing.assert_array_equal(np.sort(order, 1), np.tile(np.arange(rows), (3, 1)))
    if rows > 8:
        assert len({epoch.tobytes() for epoch in order}) == 3


def test_shuffles_that_draw_equal_bits_are_permutations_still():
    for rows in (5, 2**16 + 1):
        order = np.asarray(shuffles(jnp.zeros((1, rows), jnp.uint32)))
        np.testing.assert_array_equal(np.sort(order[0]), np.arange(rows))


def test_shuffles_of_few_rows_have_every_order_equally_often():
    order = np.asarray(shuffles(jnp.asarray(random_bits((24_000, 4)))))
    seen = np.unique(order @ 4 ** np.arange(4), return_counts=True)[1]
    assert len(seen) == 24
    assert scipy.stats.chisquare(seen).pvalue > 1e-3


@pytest.mark.parametrize("rows", [64, 2**16 + 1])
def test_shuffles_put_each_row_anywhere_and_keep_no_neighbours(rows):
    epochs = 20_000 if rows == 64 else 8
    order = np.asarray(shuffles(jnp.asarray(random_bits((epochs, rows), 1))))
    if rows == 64:
        where = np.argsort(order, 1)[:, 5]
        assert scipy.stats.chisquare(np.bincount(where, minlength=rows)).pvalue > 1e-3
    assert abs(np.corrcoef(order[:, :-1].ravel(), order[:, 1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(order.ravel(), np.tile(np.arange(rows), epochs))[0, 1]) < 0.02


def test_uniform_numbers_stay_inside_0_and_1_whatever_bits_are_drawn(monkeypatch):
    """At 1 the noise of an action is infinite: it overrules the mask, or is no number."""
    problem = problem_of(small_suite())
    for bits in (0, 2**32 - 1, 2**31, 2**32 - 257):
        full = partial(jnp.full, fill_value=np.uint32(bits), dtype=jnp.uint32)
        monkeypatch.setattr(jax.random, "bits", lambda key, shape, full=full: full(shape))
        uniform = draw(jax.random.key(0), problem).uniform
        assert uniform.min() > 0
        assert uniform.max() < 1
        assert np.isfinite(problem.distribution.noise(uniform)).all()


def test_uniform_numbers_are_uniform_and_apart_from_the_shuffles():
    problem = problem_of(small_suite(config=replace(TINY, rollout_length=512)))
    uniform, bits = draw(jax.random.key(3), problem)[:2]
    assert uniform.shape == (512, 4, 4)
    assert bits.shape == (2, 2048)
    assert scipy.stats.kstest(np.asarray(uniform).ravel(), "uniform").pvalue > 1e-3
    # the same words must not decide actions and order
    words = np.floor(np.asarray(uniform).ravel() * 2**16)[:4096]
    assert abs(np.corrcoef(words, np.asarray(bits).ravel() >> 16)[0, 1]) < 0.06


# -- gradient steps, against the loop that PPO's paper describes --------------------------------

CONFIG = LearnerConfig(
    environments=4,
    rollout_length=8,
    epochs=2,
    minibatches=4,
    learning_rate=3e-3,
    adam_b1=0.8,
    adam_b2=0.97,
    max_grad_norm=0.3,
    entropy=0.02,
    network=MLP((6,)),
)
ROWS = CONFIG.environments * CONFIG.rollout_length
DISTRIBUTION = Categorical(4)


def batch(seed=0, advantage=1.0, target=1.0):
    rng = np.random.default_rng(seed)
    observation = rng.standard_normal((ROWS, 6), np.float32)
    action = rng.integers(0, 4, ROWS).astype(np.int32)
    parameters = 0.3 * rng.standard_normal((ROWS, 4), np.float32)
    samples = dict.fromkeys(Samples._fields) | {
        "action": jnp.asarray(action),
        "behaviour_log_prob": DISTRIBUTION.log_prob(jnp.asarray(parameters), action),
        "advantage": jnp.float32(advantage * rng.standard_normal(ROWS)),
        "target": jnp.float32(target * rng.standard_normal(ROWS)),
    }
    return jnp.asarray(observation), Samples(**samples)


@partial(jax.jit, static_argnames=("scale",))
def updated(trained, observation, samples, bits, rates, scale):
    ppo = method("ppo")
    return update(
        trained,
        observation,
        samples,
        bits,
        objective=Objective(ppo, None, DISTRIBUTION, rates.entropy),
        config=replace(CONFIG, advantage_scale=scale),
        rates=rates,
        devices=None,
    )


def numbers_of(config=CONFIG):
    return jax.tree.map(jnp.float32, rates(config))


def fresh(config=CONFIG):
    suite = small_suite(CORNERS, config)
    return jax.tree.map(
        jnp.asarray, begin(problem_of(suite), method("ppo"), rates(config), 3, 0).trained
    )


def by_the_book(
    trained,
    observation,
    samples,
    bits,
    rates,
    scale,
    actor_term=lambda actor, before, rows: 0.0,
    critic_term=lambda critic: 0.0,
):
    """Schulman et al. 2017, with optax's own Adam and clipping, actor and critic apart.

    The terms are added to the losses. Each is a function of the network; the actor's also of the
    actor a gradient step ago, and of the minibatch that follows in the epoch, the last's the first.
    """

    def policy_loss(actor, rows, advantage):
        log_p = jax.nn.log_softmax(masked_logits(actor, observation, samples, rows))
        log_prob = log_p[np.arange(len(rows)), samples.action[rows]]
        ratio = jnp.exp(log_prob - samples.behaviour_log_prob[rows])
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
        entropy = -(jnp.exp(log_p) * log_p).sum(-1)
        return -gain.mean() - rates.entropy * entropy.mean()

    def value_loss(critic, rows):
        return 0.5 * ((critic(observation[rows]) - samples.target[rows]) ** 2).mean()

    tx = optax.chain(
        optax.clip_by_global_norm(rates.max_grad_norm),
        optax.adam(rates.learning_rate, b1=rates.adam_b1, b2=rates.adam_b2, eps=1e-5),
    )
    actor, critic = trained.actor, trained.critic
    before = trained.memory.previous if isinstance(trained.memory, Churn) else None
    states = [tx.init(actor), tx.init(critic)]
    losses, norms, terms = [], [], []
    size = ROWS // CONFIG.minibatches
    for epoch in np.asarray(shuffles(bits)):
        for start in range(0, ROWS, size):
            rows = epoch[start : start + size]
            others = np.tile(epoch, 2)[start + size : start + 2 * size]
            advantage = samples.advantage[rows]
            if scale == "batch":
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            loss, gradient = jax.value_and_grad(policy_loss)(actor, rows, advantage)
            term, pull = jax.value_and_grad(actor_term)(actor, before, others)
            gradient = jax.tree.map(jnp.add, gradient, pull)
            step, states[0] = tx.update(gradient, states[0])
            critic_loss, critic_gradient = jax.value_and_grad(value_loss)(critic, rows)
            pull = jax.grad(critic_term)(critic)
            critic_gradient = jax.tree.map(jnp.add, critic_gradient, pull)
            critic_step, states[1] = tx.update(critic_gradient, states[1])
            before, actor = actor, optax.apply_updates(actor, step)
            critic = optax.apply_updates(critic, critic_step)
            losses.append((loss, critic_loss))
            norms.append((optax.tree.norm(gradient), optax.tree.norm(critic_gradient)))
            terms.append(term)
    book = actor, critic, before
    return book, (*np.mean(losses, 0), *np.mean(norms, 0)), float(np.mean(terms))


def masked_logits(actor, observation, samples, rows):
    logits = actor(observation[rows])
    return logits if samples.mask is None else jnp.where(samples.mask[rows], logits, -1e9)


def assert_close(mine, theirs):
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6)


def assert_seen(measures, expected):
    """The losses, which no regulariser's term is in, and the gradients' norms, which it is in."""
    for name, value in zip(
        ("policy_loss", "value_loss", "policy_grad_norm", "value_grad_norm"), expected, strict=True
    ):
        assert measures[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name


@pytest.mark.parametrize("scale", ["batch", "none"])
def test_an_update_is_ppos_with_optaxs_adam(scale):
    # CORNERS observes 6 numbers, as the batch does
    given = (fresh(), *batch(), jnp.asarray(random_bits((2, ROWS), 2)), numbers_of())
    done, measures = updated(*given, scale)
    (actor, critic, _), seen, _ = by_the_book(*given, scale)
    assert_close((done.actor, done.critic), (actor, critic))
    assert_seen(measures, seen)


def elsewhere(network, seed):
    """A network near another."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: x + 0.1 * rng.standard_normal(x.shape).astype(np.float32), network
    )


def test_with_l2_init_both_networks_are_drawn_to_where_they_began():
    config = configure(CONFIG, regulariser="l2-init", regularisation=0.3)
    trained = fresh(config)
    origin = Origin(elsewhere(trained.actor, 7), elsewhere(trained.critic, 8))
    trained = trained._replace(memory=origin)
    given = (trained, *batch(), jnp.asarray(random_bits((2, ROWS), 2)), numbers_of(config))
    done, measures = updated(*given, "batch")

    def pull(network, start):
        pairs = zip(jax.tree.leaves(network), jax.tree.leaves(start), strict=True)
        return 0.3 * sum(jnp.sum((x - y) ** 2) for x, y in pairs)

    (actor, critic, _), seen, _ = by_the_book(
        *given,
        "batch",
        lambda actor, before, rows: pull(actor, origin.actor),
        lambda critic: pull(critic, origin.critic),
    )
    assert_close((done.actor, done.critic), (actor, critic))
    assert_seen(measures, seen)
    assert_same(done.memory, origin)


def test_with_c_chain_the_actor_is_held_on_the_minibatch_that_comes_next():
    config = configure(CONFIG, regulariser="c-chain", regularisation=50.0)
    trained, (observation, samples) = fresh(config), batch()
    memory = Churn(elsewhere(trained.actor, 7), jnp.float32(0.3), jnp.float32(0.7), jnp.int32(20))
    # a mask of its own for each row: those of the other minibatch count
    forbidden = (samples.action + 1 + np.arange(ROWS) % 3) % 4
    samples = samples._replace(mask=jnp.arange(4) != forbidden[:, None])
    bits = jnp.asarray(random_bits((2, ROWS), 2))
    trained = trained._replace(memory=memory)
    given = (trained, observation, samples, bits, numbers_of(config))
    done, measures = updated(*given, "batch")

    def churn(actor, before, rows):
        p, q = (
            jax.nn.softmax(masked_logits(x, observation, samples, rows)) for x in (before, actor)
        )
        return 50 * 0.3 / 0.7 * -(p * jnp.log(q + 1e-8)).sum(-1).mean()

    (actor, critic, before), seen, term = by_the_book(*given, "batch", churn)
    assert_close((done.actor, done.critic), (actor, critic))
    assert_seen(measures, seen)
    # 20 iterations were averaged, the oldest of them weighed least
    assert done.memory.iterations == 21
    assert_close(done.memory.previous, before)
    old = 0.98 * (1 - 0.98**20) / (1 - 0.98)
    for mine, was, new in (
        (done.memory.policy_loss, 0.3, abs(seen[0])),
        (done.memory.regulariser, 0.7, term / (50 * 0.3 / 0.7)),
    ):
        assert mine == pytest.approx((old * was + new) / (old + 1), rel=1e-4)


@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_observations_of_a_small_type_are_the_numbers_that_they_say(dtype):
    observation, samples = batch()
    small = (3 * jnp.abs(observation)).astype(dtype)
    bits, numbers = jnp.asarray(random_bits((2, ROWS), 2)), numbers_of()
    of_small = updated(fresh(), small, samples, bits, numbers, "batch")
    assert_same(
        of_small, updated(fresh(), small.astype(jnp.float32), samples, bits, numbers, "batch")
    )


def test_a_critic_far_off_takes_nothing_from_the_actors_step():
    bits, numbers = jnp.asarray(random_bits((2, ROWS), 4)), numbers_of()
    near = updated(fresh(), *batch(target=1.0), bits, numbers, "batch")
    far = updated(fresh(), *batch(target=1e4), bits, numbers, "batch")
    assert far[1]["value_grad_norm"] > 1000 * near[1]["value_grad_norm"]
    assert_same(near[0].actor, far[0].actor)


def test_the_gradients_norm_is_limited():
    """With Adam a scale common to all steps is lost: a large eps would show it, so look at the
    optimiser's first moment, which is a mean of limited gradients."""
    bits = jnp.asarray(random_bits((2, ROWS), 5))
    for limit in (0.3, 0.01):
        numbers = numbers_of(replace(CONFIG, max_grad_norm=limit))
        done, measures = updated(fresh(), *batch(target=1e3), bits, numbers, "batch")
        assert measures["value_grad_norm"] > 100
        floats = [
            x
            for x in jax.tree.leaves(done.critic_optimiser)
            if jnp.issubdtype(x.dtype, jnp.floating) and x.size > 1
        ]
        largest = max(float(jnp.linalg.norm(x)) for x in floats)
        assert 0.2 * limit < largest <= limit


def test_no_epochs_change_nothing():
    suite = small_suite(config=replace(TINY, epochs=0), phases=1, phase_iterations=2)
    run = train(suite, method("ppo"))
    start = begin(problem_of(suite), method("ppo"), rates(suite.config), 0, 0)
    assert_same(jax.tree.map(lambda x: x[0], run.state.trained.actor), start.trained.actor)
    assert np.isfinite(run.metrics[["policy_loss", "value_loss", "kl", "entropy"]]).all(axis=None)


# -- whole trainings ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "gtr",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("gtr-bump", "gtr-monotone", "gtr-behaviour", "gtr-exact", "gtr-absolute")
        ),
    ],
)
def test_without_stiffness_a_penalty_leaves_ppo_to_the_bit(name):
    ppo = train(small_suite(), method("ppo"), seeds=2)
    run = train(small_suite(), method(name, stiffness=0.0), seeds=2)
    assert_same(run.state.trained.actor, ppo.state.trained.actor)
    assert_same(run.state.trained.critic, ppo.state.trained.critic)
    for column in ("return", "kl", "entropy", "value_loss", "policy_grad_norm"):
        assert run.metrics[column].equals(ppo.metrics[column])


def test_with_stiffness_gtr_is_not_ppo():
    ppo = train(small_suite(), method("ppo"), seeds=2)
    gtr = train(small_suite(), method("gtr", stiffness=1.0), seeds=2)
    assert not gtr.metrics["policy_grad_norm"].equals(ppo.metrics["policy_grad_norm"])


def test_a_relative_stiffness_follows_the_whole_batchs_advantages():
    suite = small_suite(config=replace(TINY, advantage_scale="none"), phase_iterations=6)
    metrics = train(suite, method("gtr", stiffness=0.5), seeds=2).metrics
    stiffness = metrics["stiffness"].to_numpy()
    assert len(np.unique(stiffness)) > 6
    assert np.all((stiffness > 0) & (stiffness < 0.5))
    np.testing.assert_allclose(metrics["escape_advantage"], stiffness * 0.4 * np.exp(-0.5), 1e-5)
    fixed = train(suite, method("gtr-absolute", stiffness=0.5), seeds=2).metrics
    assert set(fixed["stiffness"]) == {0.5}


def test_standardised_advantages_leave_a_relative_stiffness_as_it_is():
    relative = train(small_suite(), method("gtr"), seeds=2)
    absolute = train(small_suite(), method("gtr-absolute"), seeds=2)
    assert_same(relative.state.trained.actor, absolute.state.trained.actor)
    assert set(relative.metrics["stiffness"]) == {0.25}


def test_adaptive_stiffness_doubles_above_the_target_and_halves_below():
    config = small_suite().config
    settings = [Setting(method("ppo-kl", target_kl=t), config, str(t)) for t in (1e-9, 1e3)]
    metrics = sweep(small_suite(), settings, seeds=1).metrics
    for target, factor in ((1e-9, 2.0), (1e3, 0.5)):
        stiffness = metrics.loc[metrics["setting"] == str(target), "stiffness"].to_numpy()
        np.testing.assert_allclose(
            stiffness, (factor ** np.arange(40)).clip(1e-6, 1e6).astype(np.float32)
        )
    moderate = train(small_suite(), method("ppo-kl", target_kl=1e-3), seeds=2).metrics
    for _, rows in moderate.groupby("seed"):
        stiffness, kl = rows["stiffness"].to_numpy(), rows["kl"].to_numpy()
        expected = [adapt(s, k, 1e-3) for s, k in zip(stiffness[:-1], kl[:-1], strict=True)]
        np.testing.assert_allclose(stiffness[1:], expected)
        assert len(set(stiffness)) > 1


def test_the_averaged_policy_is_the_bias_corrected_mean_of_all_weights():
    suite, ewma = small_suite(config=ONE_STEP), method("ppo-ewma", decay=0.6)
    average, total = None, 1.0
    for done in range(1, 6):
        state = sweep(suite, [Setting(ewma, ONE_STEP)], seeds=2, iterations=done).state
        if average is None:
            fresh_actors = [begin(problem_of(suite), ewma, rates(ONE_STEP), i, 0) for i in (0, 1)]
            average = jax.tree.map(
                lambda *x: np.stack(x).astype(np.float64), *[s.trained.actor for s in fresh_actors]
            )
        before, total = total, 0.6 * total + 1
        average = jax.tree.map(
            lambda old, new, kept=0.6 * before / total, taken=1 / total: (
                kept * old + taken * np.asarray(new, np.float64)
            ),
            average,
            state.trained.actor,
        )
        kept = jax.tree.leaves(state.trained.kept.policies.actor)
        for mine, expected in zip(kept, jax.tree.leaves(average), strict=True):
            np.testing.assert_allclose(mine[:, 0], expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(state.trained.kept.total, total, rtol=1e-5)
