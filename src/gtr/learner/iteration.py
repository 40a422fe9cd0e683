"""One iteration of training, as a pure function of a run's state: the loop that PPO is.

    rollout -> values and anchors -> advantages -> update

Nothing here is kept between iterations but the state, and all randomness comes in as keys.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, UInt32

from gtr.environments.host import HostEnvironment
from gtr.learner import tracking
from gtr.learner.advantages import generalised_advantages, update_scale
from gtr.learner.anchors import Policy, places, take_snapshot
from gtr.learner.appraisal import Judged, judge
from gtr.learner.config import Rates
from gtr.learner.faults import look_for_faults
from gtr.learner.normalisation import Moments
from gtr.learner.parallel import split
from gtr.learner.randomness import Keys, draw
from gtr.learner.recurrent_anchors import take_memory
from gtr.learner.rollout import Batch, Finished, collect, endings, rows_of, starts_of
from gtr.learner.state import Memories, Problem, RunState
from gtr.learner.update import Objective, Recall, Samples, update
from gtr.networks.cores import Memory, forget
from gtr.objective import Method, adapt, batch_stiffness


class Remembered(NamedTuple):
    """What networks remembered before and after a batch, (e, ...); None if nothing."""

    actor: Memory
    critic: Memory
    actor_after: Memory
    after: Memories


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
    copies = problem.config.environments
    assert not isinstance(environment, HostEnvironment)
    world = problem.world(keys.schedule, iteration // problem.phase_iterations)
    begins = iteration % problem.phase_iterations == 0
    random = draw(keys.iteration, problem)
    policy = Policy(state.trained.actor, state.moments)
    actors = forget(state.episodes.memory, begins)
    memories = state.memories.at_start(begins)

    def collect_and_judge(
        critic_memory: Memory, kept_memory: Memory, places: Array, *given: Any
    ) -> tuple:
        episodes, batch, finished = collect(
            environment, distribution, policy.step, begins, world, *given
        )
        judged, *after = judge(
            method,
            state,
            iteration,
            critic_memory,
            kept_memory,
            batch,
            episodes.observation,
            places,
        )
        return episodes, batch, finished, judged, *after

    episodes, batch, finished, judged, *after = split(
        devices,
        collect_and_judge,
        in_dims=(0, 1, 0, 0, 1, 1, 1),
        out_dims=(0, 1, 0, 1, 0, 1),
    )(
        *memories,
        jnp.asarray(places(copies)),
        state.episodes,
        random.uniform,
        random.reset_keys,
        random.step_keys,
    )
    return learn(
        problem,
        method,
        rates,
        replace(state, episodes=episodes),
        batch,
        judged,
        Remembered(actors, memories.critic, episodes.memory, Memories(*after)),
        finished,
        random.order,
        iteration,
        devices,
    )


def learn(
    problem: Problem,
    method: Method,
    rates: Rates,
    state: RunState,
    batch: Batch,
    judged: Judged,
    remembered: Remembered,
    finished: Finished,
    order_bits: UInt32[Array, "epochs rows"],
    iteration: Int[Array, ""],
    devices: str | None,
) -> tuple[RunState, dict[str, Float[Array, ""]]]:
    """All of an iteration but the collecting: what `iterate` returns, from a batch."""
    config, distribution = problem.config, problem.distribution
    finished = jax.tree.map(jnp.sum, finished)
    if config.anneal:
        share = 1 - iteration / problem.iterations
        rates = rates._replace(learning_rate=rates.learning_rate * share)
    begins = iteration % problem.phase_iterations == 0
    policy = Policy(state.trained.actor, state.moments)
    observations = rows_of(batch.observation)
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

    # advantages
    reward, reward_moments, discounted = _scaled_rewards(state, batch, rates.discount)
    advantages = generalised_advantages(
        rewards=reward,
        values=judged.values,
        successor_values=judged.successor_values,
        terminated=batch.terminated,
        truncated=batch.truncated,
        discount=rates.discount,
        gae_lambda=rates.gae_lambda,
    )
    targets = advantages + judged.values
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
    action, policies = rows_of(batch.action), rows_of(batch.parameters)[:, None]
    exact = None
    if judged.anchors is not None:
        anchors = rows_of(judged.anchors)
        policies = jnp.concatenate([policies, anchors], 1)
        exact = anchors if method.divergence == "exact" else None
    log_probs = distribution.log_prob(policies, action[:, None])
    samples = Samples(
        action=action,
        mask=None if batch.mask is None else rows_of(batch.mask),
        behaviour_log_prob=log_probs[:, 0],
        anchor_log_probs=None if judged.anchors is None else log_probs[:, 1:],
        anchor_parameters=exact,
        advantage=scaled.reshape(-1),
        target=targets.reshape(-1),
    )
    kept = take_snapshot(method.anchor, state.trained.kept, policy, iteration)
    kept_memory = take_memory(
        method.anchor, remembered.after.kept, remembered.actor_after, iteration
    )

    # update
    seen = observations if state.moments is None else state.moments.normalise(observations)
    trained, measures = update(
        state.trained._replace(kept=kept),
        seen,
        samples,
        order_bits,
        recall=None if starts is None else Recall(starts, remembered.actor, remembered.critic),
        objective=Objective(method, stiffness, distribution, rates.entropy),
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
    track, moved = tracking.move(track, updated, distribution, iteration)
    weight_norm = optax.tree.norm(trained.actor)
    ended = jnp.maximum(finished.number, 1)
    nothing = jnp.where(finished.number > 0, 0.0, jnp.nan)
    measures |= moved | {
        "episodes": finished.number,
        "return": finished.reward_sum / ended + nothing,
        "length": finished.length / ended + nothing,
        **{name: total / ended + nothing for name, total in finished.measures.items()},
        "explained_variance": 1 - jnp.var(advantages) / jnp.maximum(jnp.var(targets), 1e-12),
        "weight_norm": weight_norm,
        "learning_rate": jnp.asarray(rates.learning_rate, jnp.float32),
    }
    measures |= look_for_faults(
        batch.successor,
        batch.reward,
        # in the order of `WATCHED`
        batch.parameters,
        judged.values,
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
        memories=Memories(remembered.after.critic, kept_memory),
        track=track,
    ), measures


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
