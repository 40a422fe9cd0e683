"""Many runs in one jitted program.

The runs (seeds, and settings of a method's and the learner's numbers) are an axis that is split
over the devices JAX sees. On an accelerator the runs of a device are vectorised. On a CPU they
follow one another, each small enough to stay in its core's cache, and every core is a device of its
own: faster than vectorising (benchmarks/profile), and a run's numbers do not depend on its company.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int

from gtr.learner.config import Rates
from gtr.learner.iteration import Problem, RunState, initialise, iterate
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
    """

    def __init__(self, problem: Problem, method: Method, rates: Rates, seeds: np.ndarray) -> None:
        self.problem = problem
        self.runs = len(seeds)
        devices = jax.devices()[: self.runs]
        self._surplus = -self.runs % len(devices)
        self._sharding = NamedSharding(Mesh(np.array(devices), ("runs",)), P("runs"))
        self._inputs = self._place((method, rates, np.asarray(seeds, np.uint32)))
        self._initialise = self._over_runs(self._begin, extra=0)
        self._advance = self._over_runs(self._chunk, extra=2)

    def initialise(self) -> RunState:
        """The state of all runs before the first iteration."""
        return self._initialise(self._inputs)

    def advance(self, state: RunState, start: int, count: int) -> tuple[RunState, dict[str, Array]]:
        """Iterations `start` to `start + count`, at most `CAPACITY` of them.

        Returns:
            The next state, and each measure as (runs, count).
        """
        state, measures = self._advance((state, *self._inputs), jnp.int32(start), jnp.int32(count))
        return state, {k: np.asarray(v)[: self.runs, :count] for k, v in measures.items()}

    def fetch(self, state: RunState) -> RunState:
        """The state as host arrays with a leading axis of runs."""
        return jax.tree.map(lambda x: np.asarray(x)[: self.runs], state)

    def shapes(self) -> RunState:
        """Shapes and dtypes of what `fetch` gives."""
        padded = jax.eval_shape(self._initialise, self._inputs)
        return jax.tree.map(
            lambda x: jax.ShapeDtypeStruct((self.runs, *x.shape[1:]), x.dtype), padded
        )

    def restore(self, state: Any) -> RunState:
        """Host arrays with a leading axis of runs, placed as `advance` takes them."""
        return self._place(state)

    def _place(self, tree: Any) -> Any:
        def place(x: Any) -> Array:
            x = np.asarray(x)
            x = np.concatenate([x, np.repeat(x[-1:], self._surplus, 0)])
            return jax.device_put(x, self._sharding)

        return jax.tree.map(place, tree)

    def _over_runs(self, function: Callable, *, extra: int) -> Callable:
        serial = self._sharding.mesh.devices.flat[0].platform == "cpu"

        def on_device(runs: Any, *shared: Array) -> Any:
            over = lax.map if serial else lambda f, x: jax.vmap(f)(x)
            return over(lambda run: function(run, *shared), runs)

        return jax.jit(
            jax.shard_map(
                on_device,
                mesh=self._sharding.mesh,
                in_specs=(P("runs"), *[P()] * extra),
                out_specs=P("runs"),
                check_vma=False,
            )
        )

    def _begin(self, run: tuple[Method, Rates, Array]) -> RunState:
        return initialise(self.problem, *run, jnp.int32(0))

    def _chunk(
        self,
        run: tuple[RunState, Method, Rates, Array],
        start: Int[Array, ""],
        count: Int[Array, ""],
    ) -> tuple[RunState, dict[str, Array]]:
        state, *given = run
        shapes = jax.eval_shape(lambda: iterate(self.problem, *given, state, start)[1])
        rows = {k: jnp.zeros((CAPACITY, *v.shape), v.dtype) for k, v in shapes.items()}

        def body(i: Array, carry: tuple) -> tuple:
            state, rows = carry
            state, measures = iterate(self.problem, *given, state, start + i)
            return state, {k: rows[k].at[i].set(v) for k, v in measures.items()}

        return lax.fori_loop(0, count, body, (state, rows))
