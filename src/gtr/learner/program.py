"""Many runs of a problem in one jitted program; where they are computed is `layout`'s."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from gtr.learner.config import Rates
from gtr.learner.iteration import iterate
from gtr.learner.layout import Layout
from gtr.learner.randomness import key_words, keys_of
from gtr.learner.state import Problem, RunState, begin_all
from gtr.objective import Method

# Iterations that one call of a program can do; how many it does is an argument.
CAPACITY = 64


class Rows(eqx.Module):
    """Measures of some iterations in one array: one write an iteration, not dozens."""

    names: tuple[str, ...] = eqx.field(static=True)
    values: Float[Array, "... iterations measures"]


class Program:
    """A problem compiled for a number of runs.

    Args:
        problem: what is static.
        method: with each number an array over runs, (runs,).
        rates: likewise.
        seeds: (runs,).
        devices: where to compute; all that JAX sees, if not given.
        devices_per_run: how many of them share a run; chosen, if not given.
    """

    def __init__(
        self,
        problem: Problem,
        method: Method,
        rates: Rates,
        seeds: np.ndarray,
        devices: Sequence[Any] | None = None,
        devices_per_run: int | None = None,
    ) -> None:
        self.problem = problem
        self.runs = len(seeds)
        self._seeds = seeds
        self._given = (method, rates)
        self._layout = Layout(self.runs, problem.config, devices, devices_per_run)
        self._inputs = self.place(self._given)
        self._advance = self._layout.over_runs(self._chunk)

    def begin(self, phase: int) -> RunState:
        """The state of all runs before a phase, everything fresh, as host arrays."""
        return begin_all(self.problem, *self._given, self._seeds, phase)

    def place(self, tree: Any) -> Any:
        """Host arrays with a leading axis of runs, placed as `advance` takes them."""
        return self._layout.place(tree)

    def fetch(self, state: RunState) -> RunState:
        """The state as host arrays with a leading axis of runs."""
        return self._layout.fetch(state)

    def close(self) -> None:
        """Nothing is held that would have to be freed."""

    def advance(
        self, state: RunState, start: int, count: int
    ) -> tuple[RunState, dict[str, np.ndarray]]:
        """Iterations `start` to `start + count`, at most `CAPACITY` of them.

        Returns:
            The next state, and each measure as (runs, count).
        """
        words = [key_words(int(seed), range(start, start + count)) for seed in self._seeds]
        padded = np.zeros((self.runs, CAPACITY, *words[0].shape[1:]), np.uint32)
        padded[:, :count] = words
        runs = (state, *self._inputs, self.place(padded))
        state, rows = self._advance(runs, jnp.int32(start), jnp.int32(count))
        values = np.asarray(rows.values)[: self.runs, :count]
        return state, {name: values[..., i] for i, name in enumerate(rows.names)}

    def _chunk(
        self,
        run: tuple[RunState, Method, Rates, Array],
        start: Int[Array, ""],
        count: Int[Array, ""],
    ) -> tuple[RunState, Rows]:
        state, method, rates, words = run

        # Traced once for the names and the loop, as long as it closes over no array.
        @jax.jit
        def one(
            state: RunState, method: Method, rates: Rates, words: Array, iteration: Array
        ) -> tuple[RunState, Rows]:
            keys, devices = keys_of(words), self._layout.of_a_run
            state, measures = iterate(self.problem, method, rates, keys, state, iteration, devices)
            values = jnp.stack([jnp.asarray(x, jnp.float32) for x in measures.values()])
            return state, Rows(tuple(measures), values)

        def body(i: Array, carry: tuple) -> tuple:
            state, rows = carry
            state, row = one(state, method, rates, words[i], start + i)
            return state, Rows(row.names, rows.values.at[i].set(row.values))

        row = jax.eval_shape(one, state, method, rates, words[0], start)[1]
        rows = Rows(row.names, jnp.zeros((CAPACITY, len(row.names)), jnp.float32))
        return lax.fori_loop(0, count, body, (state, rows))
