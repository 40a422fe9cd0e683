"""Many runs of a problem in one jitted program; where they are computed is `layout`'s."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Int

from gtr.learner.config import Rates
from gtr.learner.iteration import iterate
from gtr.learner.layout import Layout
from gtr.learner.state import Problem, RunState, begin_all, key_words, keys_of
from gtr.objective import Method

# Iterations that one call of a program can do; how many it does is an argument.
CAPACITY = 64


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
        state, measures = self._advance(runs, jnp.int32(start), jnp.int32(count))
        return state, {k: np.asarray(v)[: self.runs, :count] for k, v in measures.items()}

    def _chunk(
        self,
        run: tuple[RunState, Method, Rates, Array],
        start: Int[Array, ""],
        count: Int[Array, ""],
    ) -> tuple[RunState, dict[str, Array]]:
        state, method, rates, words = run

        # Traced once for the names and the loop, as long as it closes over no array.
        @jax.jit
        def one(
            state: RunState, method: Method, rates: Rates, words: Array, iteration: Array
        ) -> tuple[RunState, dict[str, Array]]:
            keys, devices = keys_of(words), self._layout.of_a_run
            return iterate(self.problem, method, rates, keys, state, iteration, devices)

        def body(i: Array, carry: tuple) -> tuple:
            state, rows = carry
            state, measures = one(state, method, rates, words[i], start + i)
            return state, {k: rows[k].at[i].set(v) for k, v in measures.items()}

        shapes = jax.eval_shape(one, state, method, rates, words[0], start)[1]
        rows = {k: jnp.zeros((CAPACITY, *v.shape), v.dtype) for k, v in shapes.items()}
        return lax.fori_loop(0, count, body, (state, rows))
