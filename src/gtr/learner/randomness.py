"""The random numbers of a run: made of its seed and the iteration's number, and of nothing else."""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from gtr.learner.state import Problem


class Keys(NamedTuple):
    """The randomness of one iteration of one run, made of its seed and its number alone.

    A state therefore carries no random key, and methods run on the same seed meet the same
    schedule of changes.
    """

    schedule: PRNGKeyArray
    iteration: PRNGKeyArray


def key_words(seed: int, iterations: range) -> UInt32[np.ndarray, "iterations 2 2"]:
    """The words of the `Keys` of some iterations; hashed on the host, which compiles nothing."""
    schedule = np.random.SeedSequence([seed]).generate_state(2)
    own = [np.random.SeedSequence([seed, i]).generate_state(2) for i in iterations]
    return np.stack([np.stack([schedule, words]) for words in own])


def keys_of(words: UInt32[Array, "2 2"]) -> Keys:
    """The keys that an iteration's words stand for."""
    return Keys(*jax.random.wrap_key_data(words, impl="threefry2x32"))


class Random(NamedTuple):
    """The random numbers of an iteration.

    Attributes:
        uniform: for the actions, in (0, 1).
        order: bits to shuffle by: the rows of the batch; for networks with a memory, the copies of
            the environment.
        reset_keys: of the episodes that may begin.
        step_keys: of the environment's steps.
    """

    uniform: Float[Array, "t e r"]
    order: UInt32[Array, "epochs n"]
    reset_keys: PRNGKeyArray
    step_keys: PRNGKeyArray


def draw(key: PRNGKeyArray, problem: Problem) -> Random:
    """All random numbers of an iteration, drawn at once; keys too are random words.

    Each draw of its own, a split of keys among them, is .2 to .5 s of compilation on a CPU.
    """
    config = problem.config
    length, copies = config.rollout_length, config.environments
    shapes = (
        (length + 1, copies, 2),
        (length, copies, 2),
        (length, copies, problem.distribution.randomness),
        (config.epochs, copies if problem.recurrent else problem.batch),
    )
    ends = list(itertools.accumulate(map(math.prod, shapes)))
    bits = jax.random.bits(key, (ends[-1],))
    resets, steps, uniform, order = (
        part.reshape(shape) for part, shape in zip(jnp.split(bits, ends[:-1]), shapes, strict=True)
    )
    return Random(
        uniform=((uniform >> 9).astype(jnp.float32) + 0.5) * 2.0**-23,
        order=order,
        reset_keys=jax.random.wrap_key_data(resets, impl="threefry2x32"),
        step_keys=jax.random.wrap_key_data(steps, impl="threefry2x32"),
    )
