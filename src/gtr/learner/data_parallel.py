"""One run on many devices: how many of them, and their gradient steps on shares of a minibatch.

Each device steps its share of the environment's copies (`parallel.split`), and then holds the whole
batch. So everything that is of a whole batch or minibatch (shuffles, the scale of advantages,
moments, diagnostics) is computed from all of it, as one device would, and needs no reduction of its
own. What the devices divide is the work of the environment and of the networks.
"""

import math
from collections.abc import Sequence
from typing import Any

from jax import lax

from gtr.errors import GTRError
from gtr.learner.anchors import GROUPS
from gtr.learner.config import LearnerConfig
from gtr.networks.architectures import Recurrent


def devices_of_a_run(
    config: LearnerConfig, runs: int, devices: Sequence[Any], asked: int | None
) -> int:
    """How many devices share each run.

    Not asked, accelerators that are more than the runs are dealt out to them, as far as copies,
    minibatches and the groups that ask the anchors divide; of a CPU's cores two share a run where
    there are enough.

    Args:
        config: of the learner.
        runs: how many there are.
        devices: where to compute.
        asked: what the user wants, None for a choice.

    Raises:
        GTRError: what was asked for cannot be.
    """
    available = len(devices)
    # A network with a memory learns on whole copies.
    kind = "environments" if isinstance(config.network, Recurrent) else "samples"
    batch = config.environments * (1 if kind == "environments" else config.rollout_length)
    minibatch = batch // config.minibatches
    divisible = math.gcd(config.environments, minibatch, GROUPS)
    if asked is None:
        each = max(1, available // runs)
        if devices[0].platform == "cpu":
            return min(2, each)
        return max(number for number in range(1, each + 1) if divisible % number == 0)
    if not isinstance(asked, int) or isinstance(asked, bool) or not 1 <= asked <= available:
        raise GTRError(
            f"devices_per_run is {asked!r}; JAX sees {available} of them: give a whole number from "
            f"1 to {available}"
        )
    if divisible % asked:
        raise GTRError(
            f"devices_per_run is {asked}, which does not divide {config.environments} environments "
            f"and minibatches of {minibatch} {kind} into at most {GROUPS} equal parts; choose a "
            f"divisor of {divisible}, or other sizes"
        )
    return asked


def divides_minibatches(axis: str | None) -> bool:
    """Whether devices along a mesh axis divide each minibatch.

    Two need not: one of them trains the actor and the other the critic (`parallel.side_by_side`),
    which is as much work for each and asks for no exchange at a gradient step.
    """
    return axis is not None and lax.axis_size(axis) > 2


def averaged(axis: str | None, tree: Any) -> Any:
    """The mean over devices of each array, given to all of them; as it is where axis is None.

    Devices have equally many rows, so the mean of their means is that of all rows.
    """
    return tree if axis is None else lax.pmean(tree, axis)
