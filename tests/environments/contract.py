"""The promises of the protocol, checked on any environment without compiling it."""

from typing import Any

import jax
import jax.numpy as jnp

from gtr.environments.protocol import Discrete, Environment, Step


def action_like(env: Environment) -> jax.Array:
    space = env.action_space
    return jnp.int32(0) if isinstance(space, Discrete) else jnp.zeros(space.shape, jnp.float32)


def _types(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.weak_type), tree)


def assert_keeps_promises(env: Environment, world: Any = None) -> None:
    """Structure, shapes, dtypes and weak types of everything that `reset` and `step` return."""
    hash(env)

    def trace(key: jax.Array, phase: jax.Array, action: jax.Array) -> Any:
        chosen = env.world(key, phase) if world is None else world(key, phase)
        state, observation = env.reset(key, chosen)
        step = env.step(key, state, action, chosen)
        return state, observation, step, env.action_mask(state, chosen)

    state, observation, step, mask = jax.eval_shape(
        trace, jax.random.key(0), jnp.int32(1), action_like(env)
    )
    assert isinstance(step, Step)
    assert _types(state) == _types(step.state)
    assert _types(observation) == _types(step.observation)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves((state, observation)))
    assert observation.shape == env.observation_shape
    assert (step.reward.shape, step.reward.dtype) == ((), jnp.float32)
    assert (step.terminated.shape, step.terminated.dtype) == ((), jnp.bool)
    assert (step.truncated.shape, step.truncated.dtype) == ((), jnp.bool)
    if mask is not None:
        assert isinstance(env.action_space, Discrete)
        assert (mask.shape, mask.dtype) == ((env.action_space.n,), jnp.bool)
