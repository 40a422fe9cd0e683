"""Atari: the emulator's screen in colour, which the policy sees smaller and grey."""

from gtr.environments.atari import AtariCopy
from gtr.watch.screens.screen import Picture, Screen


def screen() -> Screen:
    """The screen of every game."""

    def draw(copy: AtariCopy, world: str) -> Picture:
        del world
        return copy.render()

    # A step is four frames of sixty a second.
    return Screen(draw, pace=15.0, note=lambda world: str(world).replace("_", " "))
