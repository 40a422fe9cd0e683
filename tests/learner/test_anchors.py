import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr.learner.anchors import (
    GROUPS,
    Policy,
    average_in,
    consult,
    keep_from_start,
    places,
    snapshots,
    take_snapshot,
)
from gtr.learner.normalisation import no_moments
from gtr.networks.agent import build_agent
from gtr.networks.architectures import MLP
from gtr.networks.distributions import Categorical, masked
from gtr.objective import Average, Behaviour, Gaussian, Initial, Recent, Stale

NONE_KEPT = [None, Behaviour(), Recent(count=1)]
DISTRIBUTION = Categorical(4)


def labelled(label):
    """A policy whose only number says which iteration's it is."""
    return Policy(jnp.float32([label]), None)


def labels(kept):
    return np.asarray(kept.policies.actor)[:, 0].tolist()


def simulate(anchor, iterations):
    """What is kept after each iteration, if iteration i's batch is collected by policy i."""
    kept = keep_from_start(anchor, labelled(0.0))
    seen = []
    for i in range(iterations):
        kept = take_snapshot(anchor, kept, labelled(float(i)), jnp.int32(i))
        seen.append(labels(kept))
    return seen


@pytest.mark.parametrize("anchor", NONE_KEPT, ids=str)
def test_nothing_is_kept_where_the_behaviour_policy_is_enough(anchor):
    assert snapshots(anchor) == 0
    kept = keep_from_start(anchor, labelled(0.0))
    assert kept is None
    assert take_snapshot(anchor, kept, labelled(1.0), jnp.int32(0)) is None


def test_recent_keeps_a_snapshot_every_few_iterations_newest_first():
    seen = simulate(Recent(count=4, every=2), 8)
    assert seen[0] == [0, 0, 0]
    assert seen[1] == [0, 0, 0]
    assert seen[2] == seen[3] == [2, 0, 0]
    assert seen[4] == seen[5] == [4, 2, 0]
    # the first fell out
    assert seen[6] == seen[7] == [6, 4, 2]


def test_recent_holds_before_a_batch_only_policies_that_are_older_than_it():
    """A snapshot of the behaviour policy itself would be the behaviour anchor twice."""
    seen = simulate(Recent(count=3, every=1), 6)
    for i in range(1, 6):
        assert max(seen[i - 1]) == i - 1


def test_stale_holds_one_policy_for_a_while():
    seen = simulate(Stale(every=3), 7)
    assert seen == [[0], [0], [0], [3], [3], [3], [6]]


def test_initial_holds_the_first_for_good():
    assert simulate(Initial(), 5) == [[0]] * 5


def test_average_is_its_documented_formula():
    anchor = Average(decay=0.8)
    kept = keep_from_start(anchor, labelled(10.0))
    average, total = 10.0, 1.0
    for weight in (20.0, -5.0, 3.0, 3.0):
        kept = take_snapshot(anchor, kept, labelled(99.0), jnp.int32(0))
        kept = average_in(anchor, kept, jnp.float32([weight]))
        later = 0.8 * total + 1
        average, total = average * (0.8 * total / later) + weight / later, later
        assert labels(kept) == [pytest.approx(average, rel=1e-5)]
        assert kept.total == pytest.approx(total, rel=1e-6)
    # unbiased: an average of equal weights is that weight
    flat = keep_from_start(anchor, labelled(4.0))
    for _ in range(5):
        flat = average_in(anchor, flat, jnp.float32([4.0]))
    assert labels(flat) == [pytest.approx(4.0, rel=1e-6)]


def policy(seed, moments=None):
    rng = np.random.default_rng(seed)
    actor, _ = build_agent(rng, MLP((6,)), (3,), DISTRIBUTION)
    head = rng.standard_normal(actor.network.head.weight.shape).astype(np.float32)
    return Policy(eqx.tree_at(lambda one: one.network.head.weight, actor, head), moments)


def some_moments(seed):
    rows = 3 + 2 * np.random.default_rng(seed).standard_normal((50, 3), np.float32)
    return no_moments((3,)).update(jnp.asarray(rows))


COPIES = 3


def over_copies(x):
    """Rows as (t, e, ...)."""
    return None if x is None else x.reshape(-1, COPIES, *x.shape[1:])


def ask(anchor, kept, observation, behaviour, mask=None, moments=None, iteration=0):
    """What each row's anchor says of it, (rows, p)."""
    answers = jax.jit(
        lambda kept, iteration: consult(
            anchor,
            kept,
            behaviour=over_copies(behaviour),
            moments=moments,
            observation=over_copies(observation),
            mask=over_copies(mask),
            iteration=iteration,
            places=jnp.asarray(places(COPIES)),
        )
    )(kept, jnp.int32(iteration))
    if answers is None:
        return None
    assert answers.shape == (len(behaviour) // COPIES, COPIES, 1, behaviour.shape[1])
    return answers.reshape(behaviour.shape)


def batch(rows, seed=0):
    rng = np.random.default_rng(seed)
    observation = rng.standard_normal((rows, 3), np.float32)
    mask = rng.random((rows, 4)) < 0.7
    mask[:, 0] = True
    return jnp.asarray(observation), masked(policy(100)(observation), mask), jnp.asarray(mask)


@pytest.mark.parametrize("anchor", NONE_KEPT[1:], ids=str)
def test_the_behaviour_policy_speaks_for_itself(anchor):
    observation, behaviour, mask = batch(12)
    np.testing.assert_array_equal(ask(anchor, None, observation, behaviour, mask), behaviour)
    assert ask(None, None, observation, behaviour, mask) is None


@pytest.mark.parametrize("anchor", [Stale(), Initial()], ids=str)
def test_one_old_policy_is_asked_through_the_normalisation_of_its_time(anchor):
    old = policy(1, some_moments(1))
    observation, behaviour, mask = batch(12)
    kept = keep_from_start(anchor, old)
    answers = ask(anchor, kept, observation, behaviour, mask, moments=some_moments(2))
    normal = old.moments.normalise(observation)
    np.testing.assert_allclose(answers, masked(old.actor(normal), mask), rtol=1e-4, atol=1e-5)


def test_an_average_of_weights_sees_what_the_present_policy_sees():
    old, present = policy(1, some_moments(1)), some_moments(2)
    observation, behaviour, mask = batch(12)
    kept = keep_from_start(Average(), old)
    np.testing.assert_allclose(
        ask(Average(), kept, observation, behaviour, mask, moments=present),
        masked(old.actor(present.normalise(observation)), mask),
        rtol=1e-4,
        atol=1e-5,
    )


def a_past(count):
    """A Recent anchor with `count - 1` different snapshots, and these, newest first."""
    anchor = Recent(count=count, every=1, decay=0.7)
    taken = [policy(i + 1, some_moments(i)) for i in range(count - 1)]
    kept = keep_from_start(anchor, taken[0])
    for i, one in enumerate(taken):
        kept = take_snapshot(anchor, kept, jax.tree.map(jnp.asarray, one), jnp.int32(i))
    return anchor, kept, taken[::-1]


ITERATIONS = 512


@pytest.fixture(scope="module")
def consulted():
    """What the anchors of `a_past` say of one batch in many iterations, all in one program."""
    anchor, kept, newest_first = a_past(5)
    observation, behaviour, mask = batch(96)
    answers = jax.jit(
        jax.vmap(lambda i: ask(anchor, kept, observation, behaviour, mask, iteration=i))
    )(jnp.arange(ITERATIONS))
    everyone = [behaviour, *(masked(old(observation), mask) for old in newest_first)]
    return anchor, np.asarray(answers), np.stack(everyone, 1)


def whom(answers, everyone):
    """The number, 0 for the behaviour policy, of the anchor asked: (iterations, rows)."""
    distance = np.abs(answers[:, :, None] - everyone[None])
    assert (distance.max(-1).min(-1) < 1e-4).all()
    return distance.max(-1).argmin(-1)


def test_recent_asks_each_anchor_as_often_as_it_weighs(consulted):
    anchor, answers, everyone = consulted
    asked = whom(answers, everyone)
    for k, share in enumerate(anchor.weights()):
        # every row over the iterations, and every iteration over the rows
        np.testing.assert_allclose((asked == k).mean(0), share, atol=0.04)
        np.testing.assert_allclose((asked == k).mean(1), share, atol=0.2)
        assert (asked == k).mean() == pytest.approx(share, abs=0.01)


def test_the_behaviour_policy_is_not_asked_again(consulted):
    _, answers, everyone = consulted
    own = whom(answers, everyone) == 0
    np.testing.assert_array_equal(answers[own], np.broadcast_to(everyone[:, 0], answers.shape)[own])


def test_over_iterations_recents_penalty_is_that_of_the_whole_mixture(consulted):
    anchor, answers, everyone = consulted
    observation, behaviour, mask = batch(96)
    present = masked(policy(200)(observation), mask)
    action = jnp.argmax(behaviour, -1).astype(jnp.int32)
    penalty = Gaussian(stiffness=1.0, radius=1.5)

    def held(parameters, weights):
        log_ratios = DISTRIBUTION.log_prob(present, action)[:, None] - DISTRIBUTION.log_prob(
            parameters, action[:, None]
        )
        return penalty(0.5 * log_ratios**2, weights)

    whole = held(jnp.asarray(everyone), jnp.asarray(anchor.weights(), jnp.float32))
    sampled = np.asarray(jax.vmap(lambda one: held(one[:, None], jnp.ones(1)))(answers))
    np.testing.assert_allclose(sampled.mean(0), whole, atol=0.06)
    assert np.abs(sampled[0] - whole).max() > 0.1


@pytest.mark.parametrize("copies", [1, 3, 4, 8, 16, 24])
def test_parts_of_the_copies_are_asked_as_the_whole_is(copies):
    """So that devices can share them; each part has an equal share of each anchor's groups."""
    anchor, kept, _ = a_past(5)
    observation, behaviour, _ = batch(7 * copies)
    whole, places_of_all = (7, copies), places(copies)

    def answers(part, parts):
        of = slice(part * copies // parts, (part + 1) * copies // parts)
        own = slice(part * len(places_of_all) // parts, (part + 1) * len(places_of_all) // parts)
        return consult(
            anchor,
            kept,
            behaviour=behaviour.reshape(*whole, -1)[:, of],
            moments=None,
            observation=observation.reshape(*whole, -1)[:, of],
            mask=None,
            iteration=jnp.int32(3),
            places=jnp.asarray(places_of_all[own]),
        )

    assert places_of_all.size == GROUPS
    parts = len(places_of_all)
    assert copies % parts == 0
    apart = jnp.concatenate([answers(part, parts) for part in range(parts)], 1)
    np.testing.assert_allclose(answers(0, 1), apart, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("number", [2, 4, 8, 16])
def test_devices_that_share_the_groups_have_equally_many_of_each_anchor(number):
    order = places(16).reshape(number, -1)
    for first in range(GROUPS):
        window = (order - first) % GROUPS < GROUPS // 2
        assert set(window.sum(1)) <= {GROUPS // number // 2, (GROUPS // number + 1) // 2}


@pytest.mark.parametrize("rows", [3, 6, 21])
def test_recent_serves_batches_smaller_than_its_groups(rows):
    anchor, kept, newest_first = a_past(9)
    observation, behaviour, mask = batch(rows)
    answers = ask(anchor, kept, observation, behaviour, mask, iteration=5)
    everyone = [behaviour, *(masked(old(observation), mask) for old in newest_first)]
    whom(np.asarray(answers)[None], np.stack(everyone, 1))


@pytest.mark.parametrize("iteration", [0, 10**6, 10**8])
def test_recent_serves_long_trainings_and_weights_that_vanish(iteration):
    _, kept, _ = a_past(3)
    observation, behaviour, mask = batch(18)
    forgetful = Recent(count=3, every=1, decay=jnp.float32(1e-30))
    answers = ask(forgetful, kept, observation, behaviour, mask, iteration=iteration)
    np.testing.assert_array_equal(answers, behaviour)
