"""One iteration of training, as a pure function of a run's state: the loop that PPO is.

    rollout and values -> anchors -> advantages -> update

Nothing here is kept between iterations but the state, and all randomness comes in as keys.
"""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from gtr.environments.host import HostEnvironment
from gtr.learner import tracking
from gtr.learner.advantages import generalised_advantages, update_scale
from gtr.learner.anchors import Policy, consult, take_snapshot
from gtr.learner.config import Rates
from gtr.learner.faults import look_for_faults
from gtr.learner.normalisation import Moments
from gtr.learner.parallel import split
from gtr.learner.rollout import Batch, Finished, collect
from gtr.learner.state import Keys, Problem, RunState
from gtr.learner.update import Objective, Samples, update
from gtr.objective import Method, adapt, batch_stiffness


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

    The devices along the mesh axis `devices` share the work (`parallel`, `data_parallel`).

    Returns:
        The next state, and the numbers of this iteration's row in metrics.csv with `faults`, a
        bit for each entry of `WATCHED` that was not finite, `fault_step` and `fault_copy`.
    """
    environment, distribution = problem.environment, problem.distribution
    assert not isinstance(environment, HostEnvironment)
    world = problem.world(keys.schedule, iteration // problem.phase_iterations)
    begins = iteration % problem.phase_iterations == 0
    uniform, order_bits = randomness(keys.agent, problem)
    policy = Policy(state.trained.actor, state.moments)

    def collect_and_value(*given: Any) -> tuple:
        episodes, batch, finished = collect(
            environment, distribution, policy, begins, world, *given
        )
        return episodes, batch, values_of(state, batch, episodes.observation), finished

    episodes, batch, values, finished = split(
        devices, collect_and_value, in_dims=(0, 1, 1, 1), out_dims=(0, 1, 1, 0)
    )(state.episodes, uniform, *_environment_keys(keys.environment, uniform.shape[:2]))
    return learn(
        problem,
        method,
        rates,
        replace(state, episodes=episodes),
        batch,
        values,
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
    track = lax.cond(
        begins,
        lambda: tracking.begin(policy, observations),
        lambda: state.track,
    )

    # anchors
    action, parameters = _rows(batch.action), _rows(batch.parameters)
    mask = None if batch.mask is None else _rows(batch.mask)
    opinion = consult(
        method.anchor,
        state.trained.kept,
        behaviour=parameters,
        moments=state.moments,
        observation=observations,
        mask=mask,
        iteration=iteration,
        devices=devices,
    )

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

    # update
    seen = observations if state.moments is None else state.moments.normalise(observations)
    trained, measures = update(
        state.trained._replace(kept=kept),
        seen,
        samples,
        order_bits,
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
        track=track,
    ), measures


def randomness(
    key: PRNGKeyArray, problem: Problem
) -> tuple[Float[Array, "t e r"], UInt32[Array, "epochs rows"]]:
    """Uniform numbers in (0, 1) for the actions, and bits to shuffle by: one draw for all.

    Each draw of its own is half a second of compilation on a CPU.
    """
    config = problem.config
    shape = (config.rollout_length, config.environments, problem.distribution.randomness)
    bits = jax.random.bits(key, (math.prod(shape) + config.epochs * problem.batch,))
    bits, order = bits[: math.prod(shape)], bits[math.prod(shape) :]
    uniform = ((bits >> 9).astype(jnp.float32) + 0.5) * 2.0**-23
    return uniform.reshape(shape), order.reshape(config.epochs, problem.batch)


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
    done = batch.terminated | batch.truncated

    def add(total: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, ends = step
        total = discount * total + reward
        return total * (1.0 - ends), total

    discounted, totals = lax.scan(add, state.discounted, (batch.reward, done))
    moments = state.reward_moments.update(totals.reshape(-1))
    return batch.reward / jnp.sqrt(moments.variance + 1e-8), moments, discounted


def values_of(state: RunState, batch: Batch, last: Array) -> tuple[Array, Array]:
    """Values of the batch's observations and of their successors, each (t, e).

    A successor's value is the next observation's, but at a truncation the next observation is of
    another episode. Those are rare, so the critic looks at successors only if there are any.
    """

    def value(observation: Array) -> Array:
        if state.moments is not None:
            observation = state.moments.normalise(observation)
        return state.trained.critic(observation)

    shape = batch.reward.shape
    values = value(_rows(batch.observation)).reshape(shape)
    following = jnp.concatenate([values[1:], value(last)[None]])
    at_truncation = lax.cond(
        jnp.any(batch.truncated),
        lambda: value(_rows(batch.successor)).reshape(shape),
        lambda: jnp.zeros(shape),
    )
    return values, jnp.where(batch.truncated, at_truncation, following)
