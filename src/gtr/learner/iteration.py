"""One iteration of training, as a pure function of a run's state: the loop that PPO is.

    rollout -> advantages -> anchors -> update

All randomness is drawn from the run's key folded with the iteration's number, so a state carries
no random key, and the same iteration of the same run always sees the same randomness.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from gtr.environments.protocol import Environment
from gtr.learner import tracking
from gtr.learner.advantages import generalised_advantages, update_scale
from gtr.learner.anchors import Policy, keep_from_start, outputs, take_snapshot
from gtr.learner.config import LearnerConfig, Rates
from gtr.learner.normalisation import Moments, no_moments
from gtr.learner.rollout import Batch, Episodes, collect, start_episodes
from gtr.learner.tracking import Track
from gtr.learner.update import Samples, Trained, optimiser, update
from gtr.networks.agent import build_agent
from gtr.networks.distributions import Distribution, distribution_for, masked
from gtr.objective import Method, adapt

# What is looked at for NaN and Inf, in the order in which it is computed: the first is the culprit.
WATCHED = (
    "observation",
    "reward",
    "policy output",
    "value",
    "advantage",
    "policy loss",
    "value loss",
    "policy gradient",
    "value gradient",
    "parameters",
)


class RunState(eqx.Module):
    """All that a run carries from one iteration to the next; checkpointing it is saving it."""

    trained: Trained
    moments: Moments | None
    reward_moments: Moments | None
    discounted: Float[Array, " e"]
    advantage_square: Float[Array, ""]
    stiffness: Float[Array, ""] | None
    episodes: Episodes
    track: Track


@dataclass(frozen=True)
class Problem:
    """What is static in a run: the environment, the schedule, the configuration."""

    environment: Environment
    changing: bool
    phase_iterations: int
    iterations: int
    config: LearnerConfig
    fresh_each_phase: bool = False

    @property
    def batch(self) -> int:
        """Environment steps of one run in an iteration."""
        return self.config.environments * self.config.rollout_length

    @property
    def distribution(self) -> Distribution:
        """The distribution over the environment's actions."""
        return distribution_for(self.environment.action_space, squash=self.config.squash_actions)

    def keys(self, seed: Int[Array, ""]) -> tuple[PRNGKeyArray, PRNGKeyArray]:
        """The run's key and its schedule's, which every method run on this seed shares."""
        run = jax.random.key(seed)
        return run, jax.random.fold_in(run, zlib.crc32(b"schedule"))

    def world(self, seed: Int[Array, ""], phase: Int[Array, ""]) -> Any:
        """The world's parameters in a phase."""
        return self.environment.world(self.keys(seed)[1], phase if self.changing else jnp.int32(0))


def initialise(
    problem: Problem, method: Method, rates: Rates, seed: Int[Array, ""], phase: Int[Array, ""]
) -> RunState:
    """The state at the beginning of a phase: fresh networks, optimisers, anchors, normalisers."""
    config, environment, distribution = problem.config, problem.environment, problem.distribution
    agent_key, episode_key = jax.random.split(jax.random.fold_in(problem.keys(seed)[0], ~phase))
    actor, critic = build_agent(
        agent_key, config.network, environment.observation_shape, distribution
    )
    moments = no_moments(environment.observation_shape) if config.normalise_observations else None
    episodes = start_episodes(
        environment, episode_key, problem.world(seed, phase), config.environments
    )
    tx = optimiser(rates)
    kept = keep_from_start(method.anchor, Policy(actor, moments))
    stiffness = None
    if method.target_kl is not None and method.penalty is not None:
        stiffness = jnp.float32(method.penalty.stiffness)
    return RunState(
        trained=Trained(actor, critic, tx.init(actor), tx.init(critic), kept),
        moments=moments,
        reward_moments=no_moments(()) if config.normalise_rewards else None,
        discounted=jnp.zeros(config.environments),
        advantage_square=jnp.float32(0),
        stiffness=stiffness,
        episodes=episodes,
        track=tracking.no_track(episodes.observation[0], distribution.outputs + distribution.free),
    )


def iterate(
    problem: Problem,
    method: Method,
    rates: Rates,
    seed: Int[Array, ""],
    state: RunState,
    iteration: Int[Array, ""],
) -> tuple[RunState, dict[str, Float[Array, ""]]]:
    """One iteration: a batch collected, the networks updated, everything measured.

    Returns:
        The next state, and the numbers of this iteration's row in metrics.csv with `faults`, a
        bit for each entry of `WATCHED` that was not finite, and `fault_step`.
    """
    config, environment, distribution = problem.config, problem.environment, problem.distribution
    phase = iteration // problem.phase_iterations
    world = problem.world(seed, phase)
    rollout_key, start_key, update_key = jax.random.split(
        jax.random.fold_in(problem.keys(seed)[0], iteration), 3
    )
    if config.anneal:
        share = 1 - iteration / problem.iterations
        rates = rates._replace(learning_rate=rates.learning_rate * share)

    begins = (iteration % problem.phase_iterations == 0) & (iteration > 0)
    if problem.fresh_each_phase:
        state = lax.cond(
            begins, lambda: initialise(problem, method, rates, seed, phase), lambda: state
        )
    episodes = lax.cond(
        begins,
        lambda: start_episodes(environment, start_key, world, config.environments),
        lambda: state.episodes,
    )

    # collect
    policy = Policy(state.trained.actor, state.moments)
    episodes, batch, finished = collect(
        environment, distribution, policy, episodes, rollout_key, world, config.rollout_length
    )
    observations = _rows(batch.observation)
    track = lax.cond(
        begins | (iteration == 0),
        lambda: tracking.begin(policy, observations),
        lambda: state.track,
    )

    # advantages
    reward, reward_moments, discounted = _scaled_rewards(state, batch, rates.discount)
    values, successor_values = _values(state, batch, episodes.observation)
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

    # anchors
    action, parameters = _rows(batch.action), _rows(batch.parameters)
    mask = None if batch.mask is None else _rows(batch.mask)
    behaviour_log_prob = distribution.log_prob(parameters, action)
    anchor_parameters = _anchor_parameters(method, state, parameters, mask, observations)
    anchor_log_probs = None
    if anchor_parameters is not None:
        anchor_log_probs = distribution.log_prob(anchor_parameters, action[:, None])
    samples = Samples(
        observation=observations
        if state.moments is None
        else state.moments.normalise(observations),
        action=action,
        mask=mask,
        behaviour_log_prob=behaviour_log_prob,
        anchor_log_probs=anchor_log_probs,
        anchor_parameters=anchor_parameters if method.divergence == "exact" else None,
        advantage=scaled.reshape(-1),
        target=targets.reshape(-1),
    )
    kept = take_snapshot(method.anchor, state.trained.kept, policy, iteration)

    # update
    trained, seen = update(
        state.trained._replace(kept=kept),
        samples,
        update_key,
        method=method,
        stiffness=state.stiffness,
        distribution=distribution,
        config=config,
        rates=rates,
    )
    measures = _summaries(seen, config.minibatches)
    stiffness = state.stiffness
    if stiffness is not None:
        stiffness = jnp.float32(adapt(stiffness, measures["kl"], method.target_kl))

    # measure
    moments = None if state.moments is None else state.moments.update(observations)
    updated = Policy(trained.actor, moments)
    track, moved = tracking.move(track, updated, distribution)
    weight_norm = optax.global_norm(trained.actor)
    ended = jnp.maximum(finished.count, 1)
    nothing = jnp.where(finished.count > 0, 0.0, jnp.nan)
    measures |= (
        moved
        | tracking.health(track, updated, iteration)
        | {
            "episodes": finished.count,
            "return": finished.reward_sum / ended + nothing,
            "length": finished.length / ended + nothing,
            "explained_variance": 1
            - jnp.var(targets - values) / jnp.maximum(jnp.var(targets), 1e-12),
            "weight_norm": weight_norm,
            "learning_rate": jnp.asarray(rates.learning_rate, jnp.float32),
        }
    )
    bad_steps = ~_finite(batch.successor, 1) | ~_finite(batch.reward, 1)
    parts = (
        batch.successor,
        batch.reward,
        batch.parameters,
        values,
        advantages,
        seen["policy_loss"],
        seen["value_loss"],
        seen["policy_grad_norm"],
        seen["value_grad_norm"],
        (weight_norm, optax.global_norm(trained.critic)),
    )
    bad = [~jnp.all(jnp.array([_finite(x, 0) for x in jax.tree.leaves(part)])) for part in parts]
    measures["faults"] = sum(flag.astype(jnp.int32) << bit for bit, flag in enumerate(bad))
    measures["fault_step"] = jnp.argmax(bad_steps)
    return RunState(
        trained=trained,
        moments=moments,
        reward_moments=reward_moments,
        discounted=discounted,
        advantage_square=advantage_square,
        stiffness=stiffness,
        episodes=episodes,
        track=track,
    ), measures


def _rows(x: Array) -> Array:
    return x.reshape(-1, *x.shape[2:])


def _finite(x: Array, leading: int) -> Array:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.ones(x.shape[:leading], bool)
    return jnp.all(jnp.isfinite(x), axis=tuple(range(leading, x.ndim)))


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


def _values(state: RunState, batch: Batch, last: Array) -> tuple[Array, Array]:
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


def _anchor_parameters(
    method: Method, state: RunState, behaviour: Array, mask: Array | None, observations: Array
) -> Array | None:
    """Parameters (n, k, p) of every anchor's distribution; None where the method has no anchor."""
    if method.anchor is None:
        return None
    kept = state.trained.kept
    if kept is None:
        return behaviour[:, None]
    earlier = outputs(kept, method.anchor, state.moments, observations)
    earlier = jnp.moveaxis(masked(earlier, mask), 0, 1)
    if method.anchor.count == earlier.shape[1]:
        return earlier
    return jnp.concatenate([behaviour[:, None], earlier], 1)


def _summaries(seen: dict[str, Array], last_epoch: int) -> dict[str, Array]:
    """One number from each series over gradient steps; how far it went, from the last epoch."""
    if next(iter(seen.values())).shape[0] == 0:
        return {name: jnp.float32(jnp.nan) for name in seen}
    last = {"kl", "clip_fraction", "kernel_mean", "redescended_fraction"}
    summary = {
        name: (series[-last_epoch:] if name in last else series).mean()
        for name, series in seen.items()
    }
    return summary | {"ratio_max": seen["ratio_max"].max()}
