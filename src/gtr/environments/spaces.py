"""Action spaces of other libraries, as ours."""

from typing import Any

import numpy as np

from gtr.environments.protocol import Box, Discrete
from gtr.errors import GTRError


def action_space(name: str, space: Any) -> Discrete | Box:
    """Our description of an action space of gymnax or of Gymnasium.

    Args:
        name: of the environment, for messages.
        space: has `n`, or `low`, `high` and `shape`.

    Raises:
        GTRError: the actions are neither a range of integers nor a box with the same finite limits
            in every component.
    """
    if hasattr(space, "n") and not getattr(space, "shape", ()) and getattr(space, "start", 0) == 0:
        return Discrete(int(space.n))
    if hasattr(space, "low"):
        low, high = np.unique(np.asarray(space.low)), np.unique(np.asarray(space.high))
        if low.size == high.size == 1 and np.isfinite([low, high]).all():
            return Box(tuple(space.shape), float(low[0]), float(high[0]))
    raise GTRError(f"{name} has actions that are not supported: {space}.")
