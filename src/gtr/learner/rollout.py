"""Collecting a batch: many copies of an environment, acted in by one policy.

All that does not depend on the policy is taken out of the loop over steps and done in one sweep:
the noise of actions, the random keys, the initial states of episodes that may begin. The loop then
holds the actor and the environment alone; the critic reads the whole batch at once afterwards.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from gtr.environments.protocol import (
    Environment,
    State,
    World,
    episode_measures,
    reset_interval,
)
from gtr.networks.cores import Memory, forget
from gtr.networks.distributions import Distribution, masked


class Episodes(NamedTuple):
    """Copies of an environment between two batches; leading axis e.

    `memory` is the acting policy's of each episode, None where it has none.
    """

    state: State
    observation: Array
    reward_sum: Float[Array, " e"]
    length: Float[Array, " e"]
    memory: Memory


class Batch(NamedTuple):
    """What was collected; leading axes t (steps), e (copies)."""

    observation: Array
    successor: Array
    action: Array
    parameters: Float[Array, "t e p"]
    mask: Bool[Array, "t e n"] | None
    reward: Float[Array, "t e"]
    terminated: Bool[Array, "t e"]
    truncated: Bool[Array, "t e"]


def endings(batch: Batch) -> Bool[Array, "t e"]:
    """Where an episode was over after the step."""
    return batch.terminated | batch.truncated


def starts_of(batch: Batch) -> Bool[Array, "t e"]:
    """Where an episode began within the batch; what is carried into its first step is as it is."""
    over = endings(batch)
    return jnp.concatenate([jnp.zeros_like(over[:1]), over[:-1]])


class Finished(NamedTuple):
    """Episodes that ended while the batch was collected, summed for each copy.

    `measures` is what the environment tells of them (`episode_measures`), by name.
    """

    number: Float[Array, " e"]
    reward_sum: Float[Array, " e"]
    length: Float[Array, " e"]
    measures: dict[str, Float[Array, " e"]]


def rows_of(x: Array) -> Array:
    """(t, e, ...) as (t e, ...)."""
    return x.reshape(-1, *x.shape[2:])


def collect(
    environment: Environment,
    distribution: Distribution,
    act: Callable[[Memory, Array], tuple[Memory, Array]],
    anew: Bool[Array, ""],
    world: World,
    episodes: Episodes,
    uniform: Float[Array, "t e r"],
    reset_keys: PRNGKeyArray,
    step_keys: PRNGKeyArray,
) -> tuple[Episodes, Batch, Finished]:
    """Steps every copy t times; episodes that end begin anew.

    Args:
        environment: the environment.
        distribution: turns the policy's numbers into actions.
        act: the policy: its memory and observations (e, ...) to its next memory and parameters
            (e, p).
        anew: drop the episodes that are under way and begin others, as a new world asks.
        world: the world's parameters, the same for all copies.
        episodes: where the copies stand.
        uniform: the randomness of the actions.
        reset_keys: (t + 1, e), for the episodes that may begin. An environment whose resets are
            dear uses the first of them only.
        step_keys: (t, e).
    """
    interval = reset_interval(environment)
    intervals = -(-len(step_keys) // interval)
    reset = jax.vmap(jax.vmap(environment.reset, (0, None)), (0, None))
    fresh = reset(reset_keys[: 1 + intervals], world)
    first = jax.tree.map(lambda x: x[0], fresh)
    standing = (episodes.state, episodes.observation)
    state, observation = jax.tree.map(lambda new, old: jnp.where(anew, new, old), first, standing)
    going_on = 1.0 - anew
    episodes = Episodes(
        state,
        observation,
        episodes.reward_sum * going_on,
        episodes.length * going_on,
        forget(episodes.memory, anew),
    )
    beginnings = jax.tree.map(lambda x: x[1:], fresh)
    # A scan hands out an episode a step faster than they could be looked up.
    shared = interval > 1
    given = (
        distribution.noise(uniform),
        step_keys,
        jnp.arange(len(step_keys)) // interval if shared else beginnings,
    )
    told = jax.vmap(partial(episode_measures, environment), (0, None))

    def step(carry: tuple[Episodes, Finished], given: tuple) -> tuple:
        now, finished = carry
        noise, step_key, beginning = given
        if shared:
            beginning = jax.tree.map(lambda x: x[beginning], beginnings)
        mask = jax.vmap(environment.action_mask, (0, None))(now.state, world)
        memory, parameters = act(now.memory, now.observation)
        parameters = masked(parameters, mask)
        action = distribution.sample(parameters, noise)
        after = jax.vmap(environment.step, (0, 0, 0, None))(
            step_key, now.state, distribution.to_environment(action), world
        )
        done = after.terminated | after.truncated
        reward_sum, steps = now.reward_sum + after.reward, now.length + 1
        finished = Finished(
            finished.number + done,
            finished.reward_sum + done * reward_sum,
            finished.length + done * steps,
            jax.tree.map(
                lambda total, x: total + done * x,
                finished.measures,
                told(after.state, world),
            ),
        )
        state, observation = jax.tree.map(
            lambda new, old: jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old),
            beginning,
            (after.state, after.observation),
        )
        going_on = 1.0 - done
        later = Episodes(
            state, observation, reward_sum * going_on, steps * going_on, forget(memory, done)
        )
        seen = Batch(
            now.observation,
            after.observation,
            action,
            parameters,
            mask,
            after.reward,
            after.terminated,
            after.truncated,
        )
        return (later, finished), seen

    none = jnp.zeros_like(episodes.reward_sum)
    nothing = Finished(none, none, none, jax.tree.map(jnp.zeros_like, told(state, world)))
    (episodes, finished), batch = lax.scan(step, (episodes, nothing), given)
    return episodes, batch, finished
