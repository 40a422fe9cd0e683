"""Where many runs are computed: an axis of runs over the devices JAX sees.

On an accelerator the runs of a device are vectorised. On a CPU they follow one another, each small
enough to stay in its core's cache, and every core is a device of its own: faster than vectorising
(benchmarks/profile), and a run's numbers do not depend on its company. Where there are two cores or
more for each run, two share it (`parallel`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

_CPU_OPTIONS = {
    # Devices that share a run wait for each other. XLA ends the process after 40 s of it, which a
    # stopped and continued run would reach.
    "xla_cpu_collective_call_terminate_timeout_seconds": 7 * 24 * 3600,
}


class Layout:
    """Devices for a number of runs.

    Args:
        runs: how many.
        devices: where to compute; all that JAX sees, if not given.

    Attributes:
        of_a_run: the mesh axis along which devices share a run; None where each has one.
    """

    def __init__(self, runs: int, devices: Sequence[Any] | None = None) -> None:
        self._runs = runs
        available = np.array(jax.devices() if devices is None else devices)
        self._serial = available[0].platform == "cpu"
        for_a_run = 2 if self._serial and len(available) >= 2 * runs else 1
        mesh = available[: runs * for_a_run].reshape(-1, for_a_run)
        self.of_a_run = "devices" if for_a_run > 1 else None
        self._surplus = -runs % len(mesh)
        self._sharding = NamedSharding(Mesh(mesh, ("runs", "devices")), P("runs"))

    def place(self, tree: Any) -> Any:
        """Host arrays with a leading axis of runs, on their devices."""

        def place(x: Any) -> Array:
            x = np.concatenate([x, np.repeat(x[-1:], self._surplus, 0)])
            return jax.device_put(x, self._sharding)

        return jax.tree.map(place, tree)

    def fetch(self, tree: Any) -> Any:
        """Arrays on their devices as host arrays with a leading axis of runs."""
        return jax.tree.map(lambda x: np.asarray(x)[: self._runs], tree)

    def over_runs(self, function: Callable) -> Callable:
        """A compiled function of what differs between runs, (runs, ...), and of what they share.

        Args:
            function: of one run's arrays, a pytree, and of the shared arrays.
        """

        def on_device(runs: Any, *shared: Array) -> Any:
            def one(run: Any) -> Any:
                return function(run, *shared)

            if not self._serial:
                return jax.vmap(one)(runs)
            if len(jax.tree.leaves(runs)[0]) > 1:
                return lax.map(one, runs)
            return jax.tree.map(lambda x: x[None], one(jax.tree.map(lambda x: x[0], runs)))

        def all_devices(runs: Any, *shared: Array) -> Any:
            return jax.shard_map(
                on_device,
                mesh=self._sharding.mesh,
                in_specs=(P("runs"), *[P()] * len(shared)),
                out_specs=P("runs"),
                check_vma=False,
            )(runs, *shared)

        return jax.jit(
            all_devices,
            # Left to itself JAX gives an empty array another placement, and compiles again for it.
            out_shardings=self._sharding,
            compiler_options=_CPU_OPTIONS if self._serial else None,
        )
