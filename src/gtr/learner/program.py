"""Many runs in one jitted program.

The runs (seeds, and settings of a method's and the learner's numbers) are an axis that is split
over the devices JAX sees. On an accelerator the runs of a device are vectorised. On a CPU they
follow one another, each small enough to stay in its core's cache, and every core is a device of its
own: faster than vectorising (benchmarks/profile), and a run's numbers do not depend on its company.
Where there are two cores or more for each run, two share it (`parallel`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int

from gtr.learner.config import Rates
from gtr.learner.iteration import iterate
from gtr.learner.state import Keys, Problem, RunState, begin, key_words
from gtr.objective import Method

# Iterations that one call of a program can do; how many it does is an argument.
CAPACITY = 64
_CPU_OPTIONS = {
    # Devices that share a run wait for each other. XLA ends the process after 40 s of it, which a
    # stopped and continued run would reach.
    "xla_cpu_collective_call_terminate_timeout_seconds": 7 * 24 * 3600,
}


class Program:
    """A problem compiled for a number of runs.

    Args:
        problem: what is static.
        method: with each number an array over runs, (runs,).
        rates: likewise.
        seeds: (runs,).
        devices: where to compute; all that JAX sees, if not given.
    """

    def __init__(
        self,
        problem: Problem,
        method: Method,
        rates: Rates,
        seeds: np.ndarray,
        devices: Sequence[Any] | None = None,
    ) -> None:
        self.problem = problem
        self.runs = len(seeds)
        self._seeds = seeds
        self._given = (method, rates)
        available = np.array(jax.devices() if devices is None else devices)
        self._serial = available[0].platform == "cpu"
        for_a_run = 2 if self._serial and len(available) >= 2 * self.runs else 1
        mesh = available[: self.runs * for_a_run].reshape(-1, for_a_run)
        self._of_a_run = "devices" if for_a_run > 1 else None
        self._surplus = -self.runs % len(mesh)
        self._sharding = NamedSharding(Mesh(mesh, ("runs", "devices")), P("runs"))
        self._inputs = self.place(self._given)
        self._advance = self._over_runs(self._chunk)

    def begin(self, phase: int) -> RunState:
        """The state of all runs before a phase, everything fresh, as host arrays."""
        runs = [jax.tree.map(lambda x, i=i: x[i], self._given) for i in range(self.runs)]
        states = [
            begin(self.problem, method, rates, int(seed), phase)
            for (method, rates), seed in zip(runs, self._seeds, strict=True)
        ]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *states)

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

    def fetch(self, state: RunState) -> RunState:
        """The state as host arrays with a leading axis of runs."""
        return jax.tree.map(lambda x: np.asarray(x)[: self.runs], state)

    def place(self, tree: Any) -> Any:
        """Host arrays with a leading axis of runs, placed as `advance` takes them."""

        def place(x: Any) -> Array:
            x = np.concatenate([x, np.repeat(x[-1:], self._surplus, 0)])
            return jax.device_put(x, self._sharding)

        return jax.tree.map(place, tree)

    def _over_runs(self, function: Callable) -> Callable:
        def on_device(runs: Any, *shared: Array) -> Any:
            def one(run: Any) -> Any:
                return function(run, *shared)

            if not self._serial:
                return jax.vmap(one)(runs)
            if len(jax.tree.leaves(runs)[0]) > 1:
                return lax.map(one, runs)
            return jax.tree.map(lambda x: x[None], one(jax.tree.map(lambda x: x[0], runs)))

        return jax.jit(
            jax.shard_map(
                on_device,
                mesh=self._sharding.mesh,
                in_specs=(P("runs"), P(), P()),
                out_specs=P("runs"),
                check_vma=False,
            ),
            # Left to itself JAX gives an empty array another placement, and compiles again for it.
            out_shardings=self._sharding,
            compiler_options=_CPU_OPTIONS if self._serial else None,
        )

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
            keys = Keys(*jax.random.wrap_key_data(words, impl="threefry2x32"))
            return iterate(self.problem, method, rates, keys, state, iteration, self._of_a_run)

        def body(i: Array, carry: tuple) -> tuple:
            state, rows = carry
            state, measures = one(state, method, rates, words[i], start + i)
            return state, {k: rows[k].at[i].set(v) for k, v in measures.items()}

        shapes = jax.eval_shape(one, state, method, rates, words[0], start)[1]
        rows = {k: jnp.zeros((CAPACITY, *v.shape), v.dtype) for k, v in shapes.items()}
        return lax.fori_loop(0, count, body, (state, rows))
