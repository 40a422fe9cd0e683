"""Atari: the emulator's screen in colour, which the policy sees smaller and grey."""

import numpy as np
from PIL import Image

from gtr.environments.atari import AtariCopy
from gtr.watch.screens.canvas import WIDTH
from gtr.watch.screens.screen import Picture, Screen


def screen() -> Screen:
    """The screen of every game."""

    def draw(copy: AtariCopy, world: str) -> Picture:
        del world
        # A television is 4 wide and 3 high, which 160 x 210 pixels are not.
        image = Image.fromarray(copy.render())
        return np.asarray(image.resize((WIDTH, WIDTH * 3 // 4), Image.Resampling.BOX))

    # A step is four frames of sixty a second.
    return Screen(draw, pace=15.0, note=lambda world: str(world).replace("_", " "))
