"""What a screen is: how the state of an environment becomes a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from gtr.environments.protocol import World

Picture = UInt8[np.ndarray, "height width 3"]
"""RGB, rows from the top down."""


def nothing(world: World) -> str:
    """The note of a world that its picture tells all about."""
    del world
    return ""


@dataclass(frozen=True)
class Screen:
    """How to show one kind of environment.

    Attributes:
        draw: a state's picture in a world. The state is host arrays, of an environment outside JAX
            the copy itself (`environments.host.Copy`). All pictures have one shape.
        pace: steps that are shown in a second.
        note: of a world, what a picture does not show, in a few words.
    """

    draw: Callable[[Any, World], Picture]
    pace: float
    note: Callable[[World], str] = nothing
