"""Training networks that have a memory."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest

import gtr.learner.run
import gtr.learner.store
from gtr.learner.anchors import Policy, average_in, keep_from_start, snapshots, take_snapshot
from gtr.learner.config import LearnerConfig, configure, rates
from gtr.learner.normalisation import no_moments
from gtr.learner.recurrent_anchors import (
    consult_with_memory,
    forget_in_each,
    remember_for_each,
    take_memory,
)
from gtr.learner.rollout import Batch
from gtr.learner.run import train
from gtr.learner.state import begin
from gtr.learner.update import Objective, Recall, Samples, optimiser, shuffles, update
from gtr.learner.values import values_of
from gtr.methods import method
from gtr.networks.agent import build_agent
from gtr.networks.architectures import GRU, LSTM, MLP, Transformer
from gtr.networks.cores import forget
from gtr.networks.distributions import Categorical
from gtr.networks.network import Segment
from gtr.objective import Average, Initial, Method, Recent, Stale
from tests.host_probes import HostClock
from tests.learner.problems import (
    CORNERS,
    TINY,
    Clock,
    assert_same,
    checkpoints,
    problem_of,
    small_suite,
)
from tests.probes import Cue

SMALL = {
    "gru": GRU(8, MLP((8,))),
    "lstm": LSTM(8, MLP((8,))),
    "transformer": Transformer(8, layers=1, heads=2, window=5, body=MLP((8,))),
}


def but_first_slow(names):
    """One of each is quick enough for every day."""
    first, *others = names
    return [first, *(pytest.param(name, marks=pytest.mark.slow) for name in others)]


def recurrent(name="gru", **changed):
    return replace(TINY, network=SMALL[name], **changed)


# Episodes of 6 steps and batches of 8, so that memories are carried between batches.
STANDING_STILL = {
    "gru": (CORNERS, "gtr"),
    "lstm": (Cue(delay=5, continuous=True), "ppo-ewma"),
    "transformer": (CORNERS, "gtr"),
}


@pytest.mark.parametrize("name", but_first_slow(STANDING_STILL))
def test_what_is_learnt_from_is_the_policy_that_acted(name):
    """Without a step the policy read anew is the one that acted, and so is every earlier one."""
    environment, how = STANDING_STILL[name]
    config = recurrent(name, learning_rate=0.0, epochs=1)
    suite = small_suite(environment, config, phases=2, phase_iterations=8)
    rows = train(suite, method(how)).metrics
    assert rows["episodes"].sum() > 30
    np.testing.assert_allclose(rows["ratio_max"], 1, atol=1e-4)
    np.testing.assert_allclose(rows["kl"], 0, atol=1e-6)
    np.testing.assert_allclose(rows["step_distance"], 0, atol=1e-4)
    if how == "gtr":
        np.testing.assert_allclose(rows["anchor_spread"], 0, atol=1e-4)
        np.testing.assert_allclose(rows["kernel_mean"], rows["kernel_mean"][0], rtol=1e-4)


CUE = LearnerConfig(
    environments=16,
    rollout_length=16,
    epochs=4,
    minibatches=2,
    discount=0.95,
    entropy=0.003,
)
SOLVERS = {
    "gru": (GRU(16, MLP((16,))), 1e-2, True),
    "lstm": (LSTM(16, MLP((16,))), 1e-2, True),
    # with the step size of the others it finds the cue as fast, and loses it again
    "transformer": (Transformer(16, 1, 2, 4, MLP((16,))), 1e-3, True),
    "mlp": (MLP((16, 16)), 1e-2, False),
}


@pytest.mark.parametrize("name", but_first_slow(SOLVERS))
def test_what_was_shown_once_is_acted_on_later_by_those_with_a_memory_alone(name):
    network, learning_rate, solves = SOLVERS[name]
    environment = Cue()
    config = replace(CUE, network=network, learning_rate=learning_rate)
    suite = small_suite(environment, config, phases=1, phase_iterations=60)
    late = train(suite, method("ppo")).metrics["return"][-12:].mean()
    # 12 batches of 64 episodes: of a coin the mean is within .1 of a half
    assert late > 0.9 if solves else abs(late - environment.chance) < 0.1


class Story(NamedTuple):
    """Batches of observations in which episodes begin, and the policies that collected them."""

    observations: Any
    over: Any
    policies: list


STEPS, COPIES, BATCHES = 4, 3, 6
DISTRIBUTION = Categorical(3)


def story(network):
    rng = np.random.default_rng(0)
    shape = (BATCHES, STEPS, COPIES)
    over = rng.random(shape) < 0.15
    over[2, -1, 0] = True  # at the end of a batch
    over[3:, :, 1] = False  # an episode longer than its snapshots are old
    policies = []
    for i in range(BATCHES):
        actor, _ = build_agent(np.random.default_rng(i), network, (2,), DISTRIBUTION)
        head = rng.standard_normal(actor.network.head.weight.shape).astype(np.float32)
        moments = no_moments((2,)).update(rng.standard_normal((9, 2)).astype(np.float32) + i)
        actor = jax.tree.map(jnp.asarray, actor)
        actor = jax.tree.map(lambda x, h=head: jnp.asarray(h) if x.shape == h.shape else x, actor)
        policies.append(Policy(actor, moments))
    return Story(rng.standard_normal((*shape, 2)).astype(np.float32), over, policies)


step_once = jax.jit(lambda policy, memory, observation: policy.step(memory, observation))


def recomputed(told, reader, batch):
    """Parameters of a batch and the memory after it, read from the first step of the story on.

    Args:
        told: the story.
        reader: of a batch's number, the policy that reads it.
        batch: the last one to read.
    """
    memory = told.policies[0].memory(COPIES)
    for i in range(batch + 1):
        said = []
        for observation, over in zip(told.observations[i], told.over[i], strict=True):
            memory, parameters = step_once(reader(i), memory, observation)
            memory = forget(memory, jnp.asarray(over))
            said.append(parameters)
    return np.stack(said), memory


ANCHORS = {
    "recent": Recent(count=4, every=1),
    "seldom": Recent(count=3, every=2),
    "stale": Stale(every=3),
    "initial": Initial(),
    "average": Average(0.5),
}


@pytest.mark.parametrize(("anchor", "name"), [*((a, "gru") for a in ANCHORS), ("recent", "lstm")])
def test_each_kept_policy_remembers_as_if_it_had_read_everything_itself(anchor, name):
    """Memories carried from batch to batch are those of a reading from the beginning.

    A snapshot reads from the batch on that it collected; before that the policies of the time did.
    """
    told, anchor = story(SMALL[name]), ANCHORS[anchor]
    first = told.policies[0]
    kept = keep_from_start(anchor, first)
    memory = remember_for_each(snapshots(anchor), first.memory(COPIES))
    own = first.memory(COPIES)
    # of each kept policy: the batch that it was taken at, or the averages of all batches so far
    taken, averages = [0] * snapshots(anchor), []

    @jax.jit
    def ask(kept, memory, observation, moments, over, behaviour):
        none: Any = None
        batch = Batch(observation, none, none, behaviour, none, none, over, jnp.zeros_like(over))
        return consult_with_memory(anchor, kept, memory, batch=batch, moments=moments)

    for i, (policy, batch, over) in enumerate(
        zip(told.policies, told.observations, told.over, strict=True)
    ):
        behaviour, own = recomputed(told, lambda j: told.policies[j], i)
        rows = behaviour.reshape(-1, 3)
        answers, memory = ask(kept, memory, batch, policy.moments, over, behaviour)
        answers = answers.reshape(len(rows), -1, 3)
        memory = forget_in_each(memory, jnp.asarray(over[-1]))
        averages.append(Policy(jax.tree.map(lambda x: x[0], kept.policies.actor), policy.moments))

        for number, birth in enumerate(taken):

            def reader(j, birth=birth):
                if isinstance(anchor, Average):
                    return averages[j]
                return told.policies[min(j, birth)]

            parameters, expected = recomputed(told, reader, i)
            action = np.arange(len(rows)) % 3
            place = number + isinstance(anchor, Recent)
            np.testing.assert_allclose(
                DISTRIBUTION.log_prob(answers[:, place], action),
                DISTRIBUTION.log_prob(parameters.reshape(-1, 3), action),
                rtol=1e-4,
                atol=1e-5,
            )
            for a, b in zip(jax.tree.leaves(memory), jax.tree.leaves(expected), strict=True):
                np.testing.assert_allclose(a[number], b, rtol=1e-4, atol=1e-5)

        if isinstance(anchor, Recent):
            np.testing.assert_array_equal(answers[:, 0], rows)
        if isinstance(anchor, Recent | Stale) and i % anchor.every == 0:
            taken = [i, *taken[:-1]]
        kept = take_snapshot(anchor, kept, policy, jnp.int32(i))
        memory = take_memory(anchor, memory, own, jnp.int32(i))
        if isinstance(anchor, Average):
            kept = average_in(anchor, kept, policy.actor)


def test_values_are_those_of_the_critics_memory_of_the_moment():
    config = recurrent()
    problem = problem_of(small_suite(config=config))
    state = jax.tree.map(jnp.asarray, begin(problem, method("ppo"), rates(config), 0, 0))
    critic, shape = state.trained.critic, (5, 3)
    rng = np.random.default_rng(0)
    observation, successor = rng.standard_normal((2, *shape, 6), np.float32)
    last = rng.standard_normal((3, 6), np.float32)
    truncated, terminated = np.zeros((2, *shape), bool)
    truncated[1, 0] = truncated[4, 1] = terminated[2, 0] = terminated[4, 2] = True
    none: Any = None
    batch = Batch(observation, successor, none, none, none, np.zeros(shape), terminated, truncated)
    memory = jax.tree.map(lambda x: x + 0.3, critic.network.memory(3))
    (values, successors), after = jax.jit(values_of)(state, memory, batch, last)

    step = jax.jit(lambda memory, x: critic.step(memory, x))
    for t in range(5):
        memory, value = step(memory, observation[t])
        np.testing.assert_allclose(values[t], value, rtol=1e-4, atol=1e-5)
        _, aside = step(memory, successor[t])
        memory = forget(memory, jnp.asarray(truncated[t] | terminated[t]))
        _, following = step(memory, observation[t + 1] if t < 4 else last)
        expected = np.where(truncated[t], aside, following)
        np.testing.assert_allclose(successors[t], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after, memory, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("regulariser", ["none", "l2-init", "c-chain"])
def test_an_update_is_plain_adam_on_whole_copies(regulariser):
    strength = {} if regulariser == "none" else {"regularisation": 0.1}
    config = configure(
        recurrent(advantage_scale="none", epochs=2, minibatches=2),
        regulariser=regulariser,
        **strength,
    )
    numbers = rates(config)
    start = begin(problem_of(small_suite(config=config)), method("ppo"), numbers, 0, 0)
    trained = jax.tree.map(jnp.asarray, start.trained)
    t, e, n = 5, 4, 20
    rng = np.random.default_rng(1)
    observation = rng.standard_normal((t, e, 6), np.float32)
    begins = np.zeros((t, e), bool)
    begins[2, 0] = begins[4, 3] = True
    memories = jax.tree.map(
        lambda x: jnp.asarray(rng.standard_normal(x.shape), jnp.float32),
        (start.episodes.memory, start.memories.critic),
    )
    samples = Samples(
        action=jnp.asarray(rng.integers(0, 4, n)),
        mask=None,
        behaviour_log_prob=jnp.full(n, -np.log(4), jnp.float32),
        anchor_log_probs=None,
        anchor_parameters=None,
        advantage=jnp.asarray(rng.standard_normal(n), jnp.float32),
        target=jnp.asarray(rng.standard_normal(n), jnp.float32),
    )
    bits = jnp.asarray(rng.integers(0, 2**32, (2, e), dtype=np.uint32))
    plain = Method("ppo", method("ppo").surrogate)
    objective = Objective(plain, None, Categorical(4), jnp.float32(0.01))
    recall = Recall(jnp.asarray(begins), *memories)
    done, _ = jax.jit(
        lambda trained: update(
            trained,
            jnp.asarray(observation.reshape(n, 6)),
            samples,
            bits,
            recall=recall,
            objective=objective,
            config=config,
            rates=numbers,
            devices=None,
        )
    )(trained)

    seen, starts = jnp.asarray(observation), jnp.asarray(begins)

    def read(network, memory, copies):
        """(t, m, ...) outputs, one step after another."""
        memory, outputs = jax.tree.map(lambda x: x[copies], memory), []
        for x, first in zip(seen[:, copies], starts[:, copies], strict=True):
            memory, output = network.step(forget(memory, first), x)
            outputs.append(output)
        return jnp.stack(outputs)

    def of(x, copies):
        return x.reshape(t, e)[:, copies]

    def distance(network, initial):
        leaves = zip(jax.tree.leaves(network), jax.tree.leaves(initial), strict=True)
        return 0.1 * sum(jnp.sum((a - b) ** 2) for a, b in leaves)

    def policy_loss(actor, previous, copies, others):
        log_p = jax.nn.log_softmax(read(actor, memories[0], copies))
        log_prob = jnp.take_along_axis(log_p, of(samples.action, copies)[..., None], -1)[..., 0]
        ratio = jnp.exp(log_prob - of(samples.behaviour_log_prob, copies))
        advantage = of(samples.advantage, copies)
        clip = plain.surrogate.clip
        gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)
        loss = -gain.mean() + 0.01 * (jnp.exp(log_p) * log_p).sum(-1).mean()
        if regulariser == "c-chain":
            old = jax.nn.log_softmax(read(previous, memories[0], others))
            new = jax.nn.log_softmax(read(actor, memories[0], others))
            loss -= (jnp.exp(old) * new).sum(-1).mean()
        if regulariser == "l2-init":
            loss += distance(actor, trained.actor)
        return loss

    def value_loss(critic, copies):
        error = read(critic, memories[1], copies) - of(samples.target, copies)
        added = distance(critic, trained.critic) if regulariser == "l2-init" else 0
        return 0.5 * (error**2).mean() + added

    tx = optimiser(numbers)
    actor, previous, critic = trained.actor, trained.actor, trained.critic
    states = [tx.init(actor), tx.init(critic)]
    by_policy, by_value = jax.jit(jax.grad(policy_loss)), jax.jit(jax.grad(value_loss))
    for order in np.asarray(shuffles(bits)).reshape(2, 2, 2):
        for copies, others in zip(order, order[::-1], strict=True):
            gradient = by_policy(actor, previous, copies, others)
            change, states[0] = tx.update(gradient, states[0])
            previous = actor
            actor = jax.tree.map(lambda x, d: x - config.learning_rate * d, actor, change)
            change, states[1] = tx.update(by_value(critic, copies), states[1])
            critic = jax.tree.map(lambda x, d: x - config.learning_rate * d, critic, change)
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, actor, trained.actor))
    assert moved > 0.05
    for ours, theirs in ((done.actor, actor), (done.critic, critic)):
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_outside_jax_a_run_with_a_memory_is_the_one_inside():
    config = recurrent()
    inside = train(small_suite(Clock(limit=5), config, phase_iterations=8), method("gtr")).metrics
    outside = train(small_suite(HostClock(limit=5), config, phase_iterations=8), method("gtr"))
    exact = ["iteration", "seed", "step", "phase", "episodes", "return", "length"]
    pd.testing.assert_frame_equal(inside[exact], outside.metrics[exact])
    pd.testing.assert_frame_equal(inside, outside.metrics, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("saves", but_first_slow([True, False]))
def test_outside_jax_a_run_with_a_memory_goes_on(saves, tmp_path, monkeypatch, capsys):
    """To the bit where simulators can be saved; else nothing is remembered of what was dropped."""
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(gtr.learner.store, "_CHECKPOINT_SHARE", np.inf)
    still = recurrent(learning_rate=0.0)
    suite = small_suite(HostClock(limit=7, saves=saves), still, phase_iterations=5)

    def stop(status):
        if status.done == 3 * 32:
            raise KeyboardInterrupt

    whole = train(suite, method("gtr"), directory=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(suite, method("gtr"), directory=tmp_path / "cut", progress=stop)
    assert checkpoints(tmp_path / "cut")[-1].stem == "000000003"
    again = train(suite, method("gtr"), directory=tmp_path / "cut")
    if saves:
        assert_same(whole.state, again.state)
    else:
        assert "begin anew" in capsys.readouterr().out
        np.testing.assert_allclose(again.metrics["anchor_spread"], 0, atol=1e-4)
        np.testing.assert_allclose(again.metrics["ratio_max"], 1, atol=1e-4)
    # The second phase ends 40 steps after it began, and the fifth step of an episode.
    state = jax.tree.map(lambda x: jnp.asarray(x[0]), again.state)
    times = np.broadcast_to(np.arange(5)[:, None, None] / 7, (5, 4, 1)).astype(np.float32)
    for network, memories in (
        (state.trained.critic.network, [state.memories.critic]),
        (state.trained.actor.network, [state.episodes.memory, *state.memories.kept]),
    ):
        expected, _ = network.read(Segment(times, np.zeros((5, 4), bool), network.memory(4)))
        for memory in memories:
            np.testing.assert_allclose(memory, expected, rtol=1e-4, atol=1e-5)
