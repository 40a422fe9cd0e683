"""One iteration of training, as a pure function of a run's state: the loop that PPO is.

    rollout and values -> anchors -> advantages -> update

Nothing here is kept between iterations but the state, and all randomness comes in as keys.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from gtr.environments.host import HostEnvironment
from gtr.learner import tracking
from gtr.learner.advantages import generalised_advantages, update_scale
from gtr.learner.anchors import Policy, consult, take_snapshot
from gtr.learner.config import LearnerConfig, Rates
from gtr.learner.faults import look_for_faults
from gtr.learner.normalisation import Moments
from gtr.learner.parallel import split
from gtr.learner.recurrent_anchors import consult_with_memory, forget_in_each, take_memory
from gtr.learner.rollout import Batch, Finished, collect, endings, starts_of
from gtr.learner.state import Keys, Memories, Problem, RunState
from gtr.learner.update import Objective, Recall, Samples, update
from gtr.learner.values import values_of
from gtr.networks.cores import Memory, forget
from gtr.objective import Method, adapt, batch_stiffness


class Remembered(NamedTuple):
    """What actor and critic remembered before and after a batch, (e, ...); None if nothing."""

    actor: Memory
    critic: Memory
    actor_after: Memory
    critic_after: Memory


def iterate(
    problem: Problem,
    method: Method,
    rates: Rates,
    keys: Keys,
    state: RunState,
    iteration: Int[Array, ""],
    devices: str | None = None,
) -> tuple[RunState, dict[str, Float[Array, ""]]]:
    """One iteration: a batch collected, the networks updated, everything measured.

    The devices along the mesh axis `devices`, two if any, share the work (`parallel`).

    Returns:
        The next state, and the numbers of this iteration's row in metrics.csv with `faults`, a
        bit for each entry of `WATCHED` that was not finite, `fault_step` and `fault_copy`.
    """
    config, environment, distribution = problem.config, problem.environment, problem.distribution
    assert not isinstance(environment, HostEnvironment)
    world = problem.world(keys.schedule, iteration // problem.phase_iterations)
    begins = iteration % problem.phase_iterations == 0
    uniform, order_bits = randomness(keys.agent, problem)
    policy = Policy(state.trained.actor, state.moments)
    actors, critics = forget((state.episodes.memory, state.memories.critic), begins)

    def collect_and_value(memory: Memory, *given: Any) -> tuple:
        episodes, batch, finished = collect(
            environment, distribution, policy.step, begins, world, *given
        )
        values, memory = values_of(state, memory, batch, episodes.observation)
        return memory, episodes, batch, values, finished

    critics_after, episodes, batch, values, finished = split(
        sharing(config, devices),
        collect_and_value,
        in_dims=(0, 0, 1, 1, 1),
        out_dims=(0, 0, 1, 1, 0),
    )(
        critics,
        state.episodes,
        uniform,
        *_environment_keys(keys.environment, uniform.shape[:2]),
    )
    return learn(
        problem,
        method,
        rates,
        replace(state, episodes=episodes),
        batch,
        values,
        Remembered(actors, critics, episodes.memory, critics_after),
        finished,
        order_bits,
        iteration,
        devices,
    )


def learn(
    problem: Problem,
    method: Method,
    rates: Rates,
    state: RunState,
    batch: Batch,
    values_with_successors: tuple[Float[Array, "t e"], Float[Array, "t e"]],
    remembered: Remembered,
    finished: Finished,
    order_bits: UInt32[Array, "epochs rows"],
    iteration: Int[Array, ""],
    devices: str | None,
) -> tuple[RunState, dict[str, Float[Array, ""]]]:
    """All of an iteration but the collecting: what `iterate` returns, from a batch."""
    config, distribution = problem.config, problem.distribution
    values, successor_values = values_with_successors
    finished = jax.tree.map(jnp.sum, finished)
    if config.anneal:
        share = 1 - iteration / problem.iterations
        rates = rates._replace(learning_rate=rates.learning_rate * share)
    begins = iteration % problem.phase_iterations == 0
    policy = Policy(state.trained.actor, state.moments)
    observations = _rows(batch.observation)
    starts = starts_of(batch) if problem.recurrent else None
    track = lax.cond(
        begins,
        lambda: (
            tracking.begin(policy, observations)
            if starts is None
            else tracking.begin_reading(policy, batch.observation, starts)
        ),
        lambda: state.track,
    )

    # anchors
    action, parameters = _rows(batch.action), _rows(batch.parameters)
    mask = None if batch.mask is None else _rows(batch.mask)
    if starts is None:
        kept_memory = None
        opinion = consult(
            method.anchor,
            state.trained.kept,
            behaviour=parameters,
            moments=state.moments,
            observation=observations,
            mask=mask,
            iteration=iteration,
            devices=sharing(config, devices),
        )
    else:
        opinion, kept_memory = consult_with_memory(
            method.anchor,
            state.trained.kept,
            forget_in_each(state.memories.kept, begins),
            behaviour=parameters,
            moments=state.moments,
            observation=batch.observation,
            begins=starts,
            mask=mask,
            devices=sharing(config, devices),
        )
        kept_memory = forget_in_each(kept_memory, endings(batch)[-1])

    # advantages
    reward, reward_moments, discounted = _scaled_rewards(state, batch, rates.discount)
    advantages = generalised_advantages(
        rewards=reward,
        values=values,
        successor_values=successor_values,
        terminated=batch.terminated,
        truncated=batch.truncated,
        discount=rates.discount,
        gae_lambda=rates.gae_lambda,
    )
    targets = advantages + values
    advantage_square = state.advantage_square
    if config.advantage_scale == "running":
        advantage_square, scale = update_scale(advantage_square, advantages, iteration)
        scaled = advantages / scale
    else:
        scaled = advantages
    stiffness = state.stiffness
    if config.advantage_scale != "batch":
        stiffness = batch_stiffness(method, scaled, stiffness=stiffness)

    # samples
    behaviour_log_prob = distribution.log_prob(parameters, action)
    anchor_log_probs = anchor_weights = exact = None
    if opinion is not None:
        anchor_log_probs = distribution.log_prob(opinion.parameters, action[:, None])
        anchor_weights = opinion.weights
        exact = opinion.parameters if method.divergence == "exact" else None
    samples = Samples(
        action=action,
        mask=mask,
        behaviour_log_prob=behaviour_log_prob,
        anchor_log_probs=anchor_log_probs,
        anchor_parameters=exact,
        advantage=scaled.reshape(-1),
        target=targets.reshape(-1),
    )
    kept = take_snapshot(method.anchor, state.trained.kept, policy, iteration)
    kept_memory = take_memory(method.anchor, kept_memory, remembered.actor_after, iteration)

    # update
    seen = observations if state.moments is None else state.moments.normalise(observations)
    trained, measures = update(
        state.trained._replace(kept=kept),
        seen,
        samples,
        order_bits,
        recall=None if starts is None else Recall(starts, remembered.actor, remembered.critic),
        objective=Objective(method, anchor_weights, stiffness, distribution, rates.entropy),
        config=config,
        rates=rates,
        devices=devices,
    )
    coefficient = state.stiffness
    if coefficient is not None:
        coefficient = jnp.float32(adapt(coefficient, measures["kl"], method.target_kl))

    # measure
    moments = state.moments
    if moments is not None:
        moments = moments.update(observations, config.observation_memory)
    updated = Policy(trained.actor, moments)
    track, moved = tracking.move(track, updated, distribution)
    weight_norm = optax.tree.norm(trained.actor)
    ended = jnp.maximum(finished.number, 1)
    nothing = jnp.where(finished.number > 0, 0.0, jnp.nan)
    measures |= (
        moved
        | tracking.health(track, updated, iteration)
        | {
            "episodes": finished.number,
            "return": finished.reward_sum / ended + nothing,
            "length": finished.length / ended + nothing,
            **{name: total / ended + nothing for name, total in finished.measures.items()},
            "explained_variance": 1
            - jnp.var(targets - values) / jnp.maximum(jnp.var(targets), 1e-12),
            "weight_norm": weight_norm,
            "learning_rate": jnp.asarray(rates.learning_rate, jnp.float32),
        }
    )
    measures |= look_for_faults(
        batch.successor,
        batch.reward,
        # in the order of `WATCHED`
        batch.parameters,
        values,
        advantages,
        measures["policy_loss"],
        measures["value_loss"],
        measures["policy_grad_norm"],
        measures["value_grad_norm"],
        (weight_norm, optax.tree.norm(trained.critic)),
    )
    return RunState(
        trained=trained,
        moments=moments,
        reward_moments=reward_moments,
        discounted=discounted,
        advantage_square=advantage_square,
        stiffness=coefficient,
        episodes=state.episodes,
        memories=Memories(remembered.critic_after, kept_memory),
        track=track,
    ), measures


def sharing(config: LearnerConfig, devices: str | None) -> str | None:
    """The mesh axis along which devices share the copies of the environment, if they can."""
    return devices if config.environments % 2 == 0 else None


def randomness(
    key: PRNGKeyArray, problem: Problem
) -> tuple[Float[Array, "t e r"], UInt32[Array, "epochs rows"]]:
    """Uniform numbers in (0, 1) for the actions, and bits to shuffle by: one draw for all.

    Shuffled are the rows of the batch; for networks with a memory, copies of the environment.

    Each draw of its own is half a second of compilation on a CPU.
    """
    config = problem.config
    shape = (config.rollout_length, config.environments, problem.distribution.randomness)
    shuffled = config.environments if problem.recurrent else problem.batch
    bits = jax.random.bits(key, (math.prod(shape) + config.epochs * shuffled,))
    bits, order = bits[: math.prod(shape)], bits[math.prod(shape) :]
    uniform = ((bits >> 9).astype(jnp.float32) + 0.5) * 2.0**-23
    return uniform.reshape(shape), order.reshape(config.epochs, shuffled)


def _environment_keys(key: PRNGKeyArray, shape: tuple[int, ...]) -> tuple[PRNGKeyArray, ...]:
    """Keys of the resets, (t + 1, e), and of the steps, (t, e)."""
    length, copies = shape
    resets, steps = jax.random.split(key)
    return jax.random.split(resets, (length + 1, copies)), jax.random.split(steps, (length, copies))


def _rows(x: Array) -> Array:
    return x.reshape(-1, *x.shape[2:])


def _scaled_rewards(
    state: RunState, batch: Batch, discount: Array
) -> tuple[Array, Moments | None, Array]:
    """Rewards over the running standard deviation of the discounted return, if so configured."""
    if state.reward_moments is None:
        return batch.reward, None, state.discounted
    done = endings(batch)

    def add(total: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, ends = step
        total = discount * total + reward
        return total * (1.0 - ends), total

    discounted, totals = lax.scan(add, state.discounted, (batch.reward, done))
    moments = state.reward_moments.update(totals.reshape(-1))
    return batch.reward / jnp.sqrt(moments.variance + 1e-8), moments, discounted
