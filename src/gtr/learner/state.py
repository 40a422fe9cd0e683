"""What a run is at a moment: what it carries from iteration to iteration, and how it begins."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from gtr.environments.host import HostEnvironment
from gtr.environments.protocol import Environment, World
from gtr.learner import tracking
from gtr.learner.anchors import Policy, keep_from_start, snapshots
from gtr.learner.config import LearnerConfig, Rates
from gtr.learner.normalisation import Moments, no_moments
from gtr.learner.recurrent_anchors import forget_in_each, remember_for_each
from gtr.learner.regularisers import remember_from_start
from gtr.learner.rollout import Episodes
from gtr.learner.tracking import Track
from gtr.learner.update import Trained, flat, optimiser
from gtr.networks.agent import Actor, Critic, build_agent
from gtr.networks.architectures import Recurrent
from gtr.networks.cores import Memory, forget
from gtr.networks.distributions import Distribution, distribution_for
from gtr.objective import Method


class Memories(NamedTuple):
    """What networks beside the actor remember of the episodes under way; None without a memory.

    Attributes:
        critic: (e, ...).
        kept: of each policy that an anchor keeps, (k, e, ...).
    """

    critic: Memory
    kept: Memory

    def at_start(self, anew: Bool[Array, ""]) -> "Memories":
        """What they are before a batch: zero where all episodes begin `anew`."""
        return Memories(forget(self.critic, anew), forget_in_each(self.kept, anew))


class RunState(eqx.Module):
    """All that a run carries from one iteration to the next; checkpointing it is saving it."""

    trained: Trained
    moments: Moments | None
    reward_moments: Moments | None
    discounted: Float[Array, " e"]
    advantage_square: Float[Array, ""]
    stiffness: Float[Array, ""] | None
    episodes: Episodes
    memories: Memories
    track: Track


@dataclass(frozen=True)
class Problem:
    """What is static in a run: the environment, the schedule, the configuration."""

    environment: Environment | HostEnvironment
    changing: bool
    phase_iterations: int
    iterations: int
    config: LearnerConfig

    @property
    def batch(self) -> int:
        """Environment steps of one run in an iteration."""
        return self.config.environments * self.config.rollout_length

    @property
    def recurrent(self) -> bool:
        """Whether the networks have a memory."""
        return isinstance(self.config.network, Recurrent)

    @property
    def distribution(self) -> Distribution:
        """The distribution over the environment's actions."""
        return distribution_for(self.environment.action_space, squash=self.config.squash_actions)

    def world(self, schedule: Any, phase: Any) -> World:
        """The world's parameters in a phase of a schedule: of a key in JAX, of a seed outside."""
        return self.environment.world(schedule, phase if self.changing else 0 * phase)


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
    nothing: Any = np.zeros(copies, np.float32)
    stiffness: Any = None
    if method.target_kl is not None and method.penalty is not None:
        stiffness = np.float32(method.penalty.stiffness)
    tx = optimiser(rates)

    def no_steps(network: Actor | Critic) -> Any:
        return _zeros(jax.eval_shape(lambda x: tx.init(flat(x)), network))

    state, observation = episode_shapes(problem)
    return RunState(
        trained=Trained(
            actor,
            critic,
            no_steps(actor),
            no_steps(critic),
            keep_from_start(method.anchor, Policy(actor, moments)),
            remember_from_start(config.regulariser, actor, critic),
        ),
        moments=moments,
        reward_moments=no_moments(()) if config.normalise_rewards else None,
        discounted=nothing,
        advantage_square=nothing[0],
        stiffness=stiffness,
        episodes=Episodes(
            _zeros(state, copies),
            _zeros(observation, copies),
            nothing,
            nothing,
            actor.network.memory(copies),
        ),
        memories=Memories(
            critic.network.memory(copies),
            remember_for_each(snapshots(method.anchor), actor.network.memory(copies)),
        ),
        track=tracking.no_track(
            observation,
            distribution.outputs + distribution.free,
            (config.rollout_length, copies) if problem.recurrent else None,
        ),
    )


def episode_shapes(problem: Problem) -> Any:
    """Shapes and types of an episode's state and observation."""
    environment = problem.environment
    if isinstance(environment, HostEnvironment):
        return (
            jax.ShapeDtypeStruct((environment.saved_bytes,), np.uint8),
            jax.ShapeDtypeStruct(environment.observation_shape, environment.observation_dtype),
        )
    key = jax.eval_shape(lambda: jax.random.key(0))
    return jax.eval_shape(lambda k: environment.reset(k, problem.world(k, jnp.int32(0))), key)


def begin_all(
    problem: Problem, method: Method, rates: Rates, seeds: np.ndarray, phase: int
) -> RunState:
    """`begin` of many runs, whose numbers and seeds, (runs,), differ; stacked."""

    def one(run: int) -> RunState:
        own_method, own_rates = jax.tree.map(lambda x: x[run], (method, rates))
        return begin(problem, own_method, own_rates, int(seeds[run]), phase)

    return jax.tree.map(lambda *leaves: np.stack(leaves), *map(one, range(len(seeds))))


def _zeros(shapes: Any, *leading: int) -> Any:
    return jax.tree.map(lambda x: np.zeros((*leading, *x.shape), x.dtype), shapes)
