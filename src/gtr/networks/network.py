"""Networks built from an architecture: observations in, features and outputs out.

One interface for all: `step` acts, `read` goes over whole stretches of time, and a network without
a core has the memory None and treats every observation alike.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from gtr.networks.architectures import (
    GRU,
    LSTM,
    Activation,
    Architecture,
    Recurrent,
    Transformer,
    body_of,
)
from gtr.networks.cores import Core, GRUCore, LSTMCore, Memory, forget
from gtr.networks.layers import ACTIVATIONS, Dense, LayerNorm
from gtr.networks.torsos import Torso, build_torso
from gtr.networks.transformer import TransformerCore


class Segment(NamedTuple):
    """Stretches of time in which copies of an environment were observed.

    Attributes:
        observation: (t, e, ...).
        begins: whether an episode begins there, so that the memory is forgotten first.
        memory: of the copies before the first step, (e, ...).
    """

    observation: Array
    begins: Bool[Array, "t e"]
    memory: Memory


class Network(eqx.Module):
    """A torso, hidden layers with their norms (if any), a core (if any), and a linear head."""

    torso: Torso
    hidden: tuple[Dense, ...]
    norms: tuple[LayerNorm | None, ...]
    core: Core | None
    head: Dense
    activation: Activation = eqx.field(static=True)

    def memory(self, copies: int) -> Memory:
        """That of episodes that have not begun, (copies, ...); None without a core."""
        return None if self.core is None else self.core.memory(copies)

    def features(self, seen: Array | Segment) -> Float[Array, "n f"]:
        """What the head is given: a row for each observation.

        Args:
            seen: observations (n, ...) of any dtype, each the first of an episode to a network with
                a memory; or stretches of time, whose rows are (t e).
        """
        if isinstance(seen, Segment):
            _, x = self._over_time(seen)
            return x.reshape(-1, x.shape[-1])
        x = self._embed(seen)
        if self.core is not None:
            _, x = self.core.step(self.core.memory(x.shape[0]), x)
        return x

    def __call__(self, seen: Array | Segment) -> Float[Array, "n o"]:
        """The head's outputs, for what `features` takes."""
        return self.head(self.features(seen))

    def step(self, memory: Memory, observation: Array) -> tuple[Memory, Float[Array, "e o"]]:
        """One step of every copy: the memory after it, and outputs for observations (e, ...)."""
        if self.core is None:
            return None, self(observation)
        memory, x = self.core.step(memory, self._embed(observation))
        return memory, self.head(x)

    def read(self, segment: Segment) -> tuple[Memory, Float[Array, "t e o"]]:
        """What stepping through stretches of time would give: the last memory, and all outputs."""
        memory, x = self._over_time(segment)
        return memory, _over_steps(self.head, x)

    def aside(self, segment: Segment, other: Array) -> Float[Array, "t e o"]:
        """Outputs for another observation after each step, of which nothing is remembered.

        Args:
            segment: what is observed, and remembered.
            other: (t, e, ...) the other observations.
        """
        core = self.core
        assert core is not None

        def step(memory: Memory, given: tuple[Array, Array, Array]) -> tuple[Memory, Array]:
            x, other, begins = given
            memory, _ = core.step(forget(memory, begins), x)
            return memory, core.step(memory, other)[1]

        x, other = (_over_steps(self._embed, one) for one in (segment.observation, other))
        _, features = lax.scan(step, segment.memory, (x, other, segment.begins))
        return _over_steps(self.head, features)

    def _over_time(self, segment: Segment) -> tuple[Memory, Float[Array, "t e f"]]:
        x = _over_steps(self._embed, segment.observation)
        return (None, x) if self.core is None else self.core.read(segment.memory, x, segment.begins)

    def _embed(self, observation: Array) -> Float[Array, "n f"]:
        activate = ACTIVATIONS[self.activation]
        x = self.torso(observation)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = layer(x)
            x = activate(x if norm is None else norm(x))
        return x


def _over_steps(function: Callable[[Array], Array], x: Array) -> Array:
    """A function of rows over (t, e, ...)."""
    rows = function(x.reshape(-1, *x.shape[2:]))
    return rows.reshape(*x.shape[:2], -1)


def build(
    rng: np.random.Generator,
    architecture: Architecture,
    observation_shape: tuple[int, ...],
    outputs: int,
    *,
    head_scale: float,
) -> Network:
    """Draw a network's parameters: orthogonal, with gain sqrt(2) before the core and the head.

    Args:
        rng: where the parameters are drawn from: the torso's first, the head's last.
        architecture: what to build.
        observation_shape: shape of one observation; (height, width, channels) for all but an MLP.
        outputs: width of the head.
        head_scale: gain of the head: .01 for a policy that starts near uniform, 1 for a critic
            (arXiv:2006.05990).

    Raises:
        GTRError: if the architecture does not fit such observations (`build_torso`).
    """
    body = body_of(architecture)
    torso, inputs = build_torso(rng, body, observation_shape)
    hidden, norms = [], []
    for width in body.widths:
        hidden.append(Dense(rng, inputs, width, scale=math.sqrt(2)))
        norms.append(LayerNorm(width) if body.layer_norm else None)
        inputs = width
    core = None
    if isinstance(architecture, Recurrent):
        core, inputs = _core(rng, architecture, inputs), architecture.width
    head = Dense(rng, inputs, outputs, scale=head_scale)
    return Network(torso, tuple(hidden), tuple(norms), core, head, body.activation)


def _core(rng: np.random.Generator, architecture: Recurrent, inputs: int) -> Core:
    match architecture:
        case GRU(width=width):
            return GRUCore(rng, inputs, width)
        case LSTM(width=width):
            return LSTMCore(rng, inputs, width)
        case Transformer(width=width, layers=layers, heads=heads, window=window):
            return TransformerCore(rng, inputs, width, layers=layers, heads=heads, window=window)
