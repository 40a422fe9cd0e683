"""A Ray cluster of this machine's own, for a file of tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import ray


@contextmanager
def local_cluster(cpus: int) -> Iterator[None]:
    """So many processes, whatever the number of cores."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        yield
        ray.shutdown()
