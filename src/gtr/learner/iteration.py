"""One iteration of training, as a pure function of a run's state: the loop that PPO is.

    rollout -> advantages -> anchors -> update

Nothing here is kept between iterations but the state, and all randomness comes in as keys.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt32

from gtr.environments.protocol import Environment
from gtr.learner import tracking
from gtr.learner.advantages import generalised_advantages, update_scale
from gtr.learner.anchors import Policy, consult, keep_from_start, take_snapshot
from gtr.learner.config import LearnerConfig, Rates
from gtr.learner.normalisation import Moments, no_moments
from gtr.learner.rollout import Batch, Episodes, collect
from gtr.learner.tracking import Track
from gtr.learner.update import Objective, Samples, Trained, flat, optimiser, update
from gtr.networks.agent import build_agent
from gtr.networks.distributions import Distribution, distribution_for
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


class Keys(NamedTuple):
    """The randomness of one iteration of one run, made of its seed and its number alone.

    A state therefore carries no random key, and methods run on the same seed meet the same
    schedule of changes.
    """

    schedule: PRNGKeyArray
    environment: PRNGKeyArray
    agent: PRNGKeyArray


def key_words(seed: int, iterations: range) -> UInt32[np.ndarray, "iterations 3 2"]:
    """The words of the `Keys` of some iterations; hashed on the host, which compiles nothing."""
    schedule = np.random.SeedSequence([seed]).generate_state(2)
    return np.stack(
        [
            np.concatenate([schedule, np.random.SeedSequence([seed, i]).generate_state(4)])
            for i in iterations
        ]
    ).reshape(-1, 3, 2)


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

    @property
    def batch(self) -> int:
        """Environment steps of one run in an iteration."""
        return self.config.environments * self.config.rollout_length

    @property
    def distribution(self) -> Distribution:
        """The distribution over the environment's actions."""
        return distribution_for(self.environment.action_space, squash=self.config.squash_actions)

    def world(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> Any:
        """The world's parameters in a phase of the schedule drawn from `key`."""
        return self.environment.world(key, phase if self.changing else jnp.int32(0))


def begin(problem: Problem, method: Method, rates: Rates, seed: int, phase: int) -> RunState:
    """The state before a phase's first iteration, as host arrays: everything fresh.

    It is made by NumPy, so that nothing is compiled for it. Its episodes are blank: the first
    iteration of a phase begins others.
    """
    config, environment, distribution = problem.config, problem.environment, problem.distribution
    rng = np.random.default_rng([seed, phase])
    actor, critic = build_agent(rng, config.network, environment.observation_shape, distribution)
    moments = no_moments(environment.observation_shape) if config.normalise_observations else None
    copies = config.environments
    tx = optimiser(rates)
    stiffness = None
    if method.target_kl is not None and method.penalty is not None:
        stiffness = np.float32(method.penalty.stiffness)
    state, observation = jax.eval_shape(
        lambda: environment.reset(jax.random.key(0), problem.world(jax.random.key(0), jnp.int32(0)))
    )
    return RunState(
        trained=Trained(
            actor,
            critic,
            *(_zeros(jax.eval_shape(lambda x: tx.init(flat(x)), x)) for x in (actor, critic)),
            keep_from_start(method.anchor, Policy(actor, moments)),
        ),
        moments=moments,
        reward_moments=no_moments(()) if config.normalise_rewards else None,
        discounted=np.zeros(copies, np.float32),
        advantage_square=np.float32(0),
        stiffness=stiffness,
        episodes=Episodes(
            _zeros(state, copies),
            _zeros(observation, copies),
            np.zeros(copies, np.float32),
            np.zeros(copies, np.float32),
        ),
        track=tracking.no_track(observation, distribution.outputs + distribution.free),
    )


def iterate(
    problem: Problem,
    method: Method,
    rates: Rates,
    keys: Keys,
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
    world = problem.world(keys.schedule, phase)
    if config.anneal:
        share = 1 - iteration / problem.iterations
        rates = rates._replace(learning_rate=rates.learning_rate * share)
    begins = iteration % problem.phase_iterations == 0

    # collect
    uniform, order_bits = _randomness(keys.agent, problem)
    policy = Policy(state.trained.actor, state.moments)
    episodes, batch, finished = collect(
        environment,
        distribution,
        policy,
        state.episodes,
        anew=begins,
        uniform=uniform,
        key=keys.environment,
        world=world,
    )
    observations = _rows(batch.observation)
    track = lax.cond(
        begins,
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
    opinion = consult(
        method.anchor,
        state.trained.kept,
        behaviour=parameters,
        moments=state.moments,
        observation=observations,
        mask=mask,
        iteration=iteration,
    )
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
    trained, measures = update(
        state.trained._replace(kept=kept),
        observations if state.moments is None else state.moments.normalise(observations),
        samples,
        order_bits,
        objective=Objective(method, anchor_weights, state.stiffness, distribution, rates.entropy),
        config=config,
        rates=rates,
    )
    stiffness = state.stiffness
    if stiffness is not None:
        stiffness = jnp.float32(adapt(stiffness, measures["kl"], method.target_kl))

    # measure
    moments = None if state.moments is None else state.moments.update(observations)
    updated = Policy(trained.actor, moments)
    track, moved = tracking.move(track, updated, distribution)
    weight_norm = optax.tree.norm(trained.actor)
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
        measures["policy_loss"],
        measures["value_loss"],
        measures["policy_grad_norm"],
        measures["value_grad_norm"],
        (weight_norm, optax.tree.norm(trained.critic)),
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


def _randomness(
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


def _zeros(shapes: Any, *leading: int) -> Any:
    return jax.tree.map(lambda x: np.zeros((*leading, *x.shape), x.dtype), shapes)


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
