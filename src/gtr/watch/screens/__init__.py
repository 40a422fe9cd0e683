"""Pictures of environments: one file a family, and here the only place that knows them all.

An environment of your own gets a picture by `screen_of.register(ItsClass)(function)`, where the
function makes a `Screen` from an instance.
"""

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np

from gtr.environments.atari import Atari
from gtr.environments.changes import (
    ActionPermutation,
    Changed,
    Cycle,
    Goals,
    ObservationOffset,
    ObservationPermutation,
    RewardSign,
    Turn,
)
from gtr.environments.corner_switch import CornerSwitch
from gtr.environments.craftax_adapter import Craftax
from gtr.environments.gymnasium_adapter import Gymnasium
from gtr.environments.gymnax_adapter import Gymnax
from gtr.errors import GTRError
from gtr.watch.screens import classic, corners, games, minatar, open_world, robots
from gtr.watch.screens.screen import Picture, Screen


@singledispatch
def screen_of(environment: Any) -> Screen:
    """The screen of an environment.

    Raises:
        GTRError: none is known.
    """
    raise GTRError(
        f"there is no picture of {type(environment).__name__}; "
        "register one with gtr.watch.screens.screen_of"
    )


screen_of.register(CornerSwitch)(corners.screen)
screen_of.register(Craftax)(open_world.screen)
screen_of.register(Gymnasium)(robots.screen)


@screen_of.register
def _(environment: Atari) -> Screen:
    del environment
    return games.screen()


@screen_of.register
def _(environment: Gymnax) -> Screen:
    if environment.env_id.endswith("-MinAtar"):
        return minatar.screen(environment.env_id)
    known = classic.screens()
    if environment.env_id not in known:
        raise GTRError(
            f"there is no picture of gymnax's {environment.env_id}, but of {', '.join(known)} and "
            "of MinAtar; register one with gtr.watch.screens.screen_of"
        )
    return known[environment.env_id]


@screen_of.register(ObservationOffset)
@screen_of.register(ObservationPermutation)
@screen_of.register(ActionPermutation)
@screen_of.register(RewardSign)
@screen_of.register(Goals)
def _(environment: Any) -> Screen:
    """What is wrapped, as it is; the change is told."""
    inner = screen_of(environment.env)

    def draw(state: Any, world: Changed) -> Picture:
        return inner.draw(state, world.inner)

    def note(world: Changed) -> str:
        told = (inner.note(world.inner), _tell(environment, np.asarray(world.change)))
        return ", ".join(filter(None, told))

    return Screen(draw, inner.pace, note)


@screen_of.register
def _(environment: Cycle) -> Screen:
    """The one that is active; the pace is the first's."""
    inner = [screen_of(env) for env in environment.envs]

    def draw(state: tuple[Any, ...], world: Turn) -> Picture:
        active = int(world.active)
        return inner[active].draw(state[active], world.worlds[active])

    def note(world: Turn) -> str:
        active = int(world.active)
        name = getattr(environment.envs[active], "env_id", f"environment {active}")
        told = (name.removesuffix("-MinAtar"), inner[active].note(world.worlds[active]))
        return ", ".join(filter(None, told))

    return Screen(draw, inner[0].pace, note)


def _tell(environment: Any, change: np.ndarray) -> str:
    """What a change does in a world, in a few words."""
    match environment:
        case ObservationOffset():
            return "offset " + " ".join(f"{x:+.1f}" for x in change.ravel()) if change.any() else ""
        case ObservationPermutation():
            return _order("channels", change)
        case ActionPermutation():
            return _order("actions", change)
        case RewardSign():
            return "" if change > 0 else "rewards reversed"
        case Goals():
            if change.all():
                return "all achievements pay"
            paying = zip(environment.env.achievements, change, strict=True)
            return ", ".join(name.replace("_", " ") for name, pays in paying if pays)
        case _:
            return ""


def _order(what: str, change: Sequence[Any] | np.ndarray) -> str:
    if list(change) == sorted(change):
        return ""
    return f"{what} {' '.join(str(int(x)) for x in change)}"
