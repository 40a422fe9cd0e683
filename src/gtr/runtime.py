"""Settings of JAX that must be made before it starts its backend.

Importing any part of this package that computes with JAX makes them. Each is left alone where the
user has set it, and all where JAX has started already.
"""

import os
from pathlib import Path

import jax


def prepare() -> None:
    """A CPU device a core, and a cache of compiled programs."""
    chosen = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not chosen and jax.config.values["jax_num_cpu_devices"] < 1:
        try:
            jax.config.update("jax_num_cpu_devices", cpu_cores())
        except RuntimeError:  # the backend runs already
            return
    if jax.config.values["jax_compilation_cache_dir"] is None:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        jax.config.update("jax_compilation_cache_dir", str(base / "gtr-rl" / "jax"))


def cpu_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
