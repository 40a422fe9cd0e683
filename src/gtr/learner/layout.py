"""Where many runs are computed: an axis of runs over the devices JAX sees.

On an accelerator the runs of a device are vectorised. On a CPU they follow one another, each small
enough to stay in its core's cache, and every core is a device of its own: faster than vectorising
(benchmarks/profile), and a run's numbers do not depend on its company. Where there are two devices
or more for each run, they share it (`data_parallel`).
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from gtr.learner.config import LearnerConfig
from gtr.learner.data_parallel import devices_of_a_run

_CPU_OPTIONS = {
    # Devices that share a run wait for each other. XLA ends the process after 40 s of it, which a
    # stopped and continued run would reach.
    "xla_cpu_collective_call_terminate_timeout_seconds": 7 * 24 * 3600,
    # It has loops shared among the threads of XLA's pool. Every core is a device here, so there is
    # none to share with, and a loop can wait long for the thread of a device that is at work.
    "xla_disable_hlo_passes": "cpu-parallel-task-assigner",
    # XLA's emitters have vectorised the loops already: LLVM's further work on them is 5 to 10% of
    # compilation, and makes nothing faster (benchmarks/profile).
    "xla_backend_optimization_level": 1,
}


class Layout:
    """Devices for a number of runs.

    Args:
        runs: how many.
        config: of the learner, whose sizes say among how many devices a run can be divided.
        devices: where to compute; all that JAX sees, if not given.
        devices_per_run: how many share a run; chosen, if not given.

    Attributes:
        of_a_run: the mesh axis along which devices share a run; None where each has one.

    Raises:
        GTRError: a run cannot be shared by so many devices.
    """

    def __init__(
        self,
        runs: int,
        config: LearnerConfig,
        devices: Sequence[Any] | None = None,
        devices_per_run: int | None = None,
    ) -> None:
        self._runs = runs
        available = np.array(jax.devices() if devices is None else devices)
        self._serial = available[0].platform == "cpu"
        for_a_run = devices_of_a_run(config, runs, list(available), devices_per_run)
        at_once = min(runs, len(available) // for_a_run)
        mesh = available[: at_once * for_a_run].reshape(at_once, for_a_run)
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

            if len(jax.tree.leaves(runs)[0]) == 1:
                return jax.tree.map(lambda x: x[None], one(jax.tree.map(lambda x: x[0], runs)))
            return lax.map(one, runs) if self._serial else jax.vmap(one)(runs)

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
