"""What the critic and the anchors say of a batch, each asked once."""

from typing import NamedTuple

from jaxtyping import Array, Float, Int

from gtr.learner.anchors import consult
from gtr.learner.recurrent_anchors import consult_with_memory, forget_in_each
from gtr.learner.rollout import Batch, endings
from gtr.learner.state import RunState
from gtr.learner.values import values_of
from gtr.networks.cores import Memory
from gtr.objective import Method


class Judged(NamedTuple):
    """What a batch looks like to the critic and to the anchors.

    Attributes:
        values: of the observations.
        successor_values: of what followed them.
        anchors: parameters of the policies that each sample is compared with: one, or with a memory
            all K; None without anchors.
    """

    values: Float[Array, "t e"]
    successor_values: Float[Array, "t e"]
    anchors: Float[Array, "t e k p"] | None


def judge(
    method: Method,
    state: RunState,
    iteration: Int[Array, ""],
    critic_memory: Memory,
    kept_memory: Memory,
    batch: Batch,
    last: Array,
    places: Int[Array, "parts groups"],
) -> tuple[Judged, Memory, Memory]:
    """Asks the critic and the anchors about a batch, or a part of its copies; each once.

    Args:
        method: whose anchors are asked.
        state: the run's, from before the batch.
        iteration: its number.
        critic_memory: before the batch, (e, ...); None without a memory.
        kept_memory: of the kept policies, (k, e, ...).
        batch: all of it, or a part of the copies.
        last: (e, ...), the observations that follow the batch.
        places: those of these copies (`anchors.places`).

    Returns:
        What they say, and the two memories after the batch.
    """
    (values, successors), critic_memory = values_of(state, critic_memory, batch, last)
    kept, moments = state.trained.kept, state.moments
    if critic_memory is None:
        anchors = consult(
            method.anchor,
            kept,
            behaviour=batch.parameters,
            moments=moments,
            observation=batch.observation,
            mask=batch.mask,
            iteration=iteration,
            places=places,
        )
    else:
        anchors, kept_memory = consult_with_memory(
            method.anchor, kept, kept_memory, batch=batch, moments=moments
        )
        kept_memory = forget_in_each(kept_memory, endings(batch)[-1])
    return Judged(values, successors, anchors), critic_memory, kept_memory
