"""MinAtar: each channel of the game's own observation has a colour."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Bool
from PIL import ImageColor

from gtr.environments.protocol import World
from gtr.watch.screens.canvas import BLUE, FAINT, GREEN, GRID, INK, ORANGE, STRIPE, WIDTH
from gtr.watch.screens.screen import Picture, Screen

# By channel: the player, what moves, what is gained, and what only tells a direction.
_COLOURS = {
    "Breakout-MinAtar": (INK, ORANGE, GRID, BLUE),
    "SpaceInvaders-MinAtar": (INK, BLUE, BLUE, BLUE, GREEN, ORANGE),
    "Asterix-MinAtar": (INK, ORANGE, GRID, GREEN),
}
_OTHERS = (INK, ORANGE, GREEN, BLUE, "#e69f00", "#cc79a7", "#56b4e9", "#8c6bb1", FAINT, GRID)


def screen(env_id: str) -> Screen:
    """The screen of a game, whatever was done to what the agent sees of it."""
    import gymnax

    env, _ = gymnax.make(env_id)
    colours = _COLOURS.get(env_id, _OTHERS)
    see = jax.jit(env.get_obs)

    def draw(state: Any, world: World) -> Picture:
        del world
        return draw_cells(np.asarray(see(state), bool), colours)

    return Screen(draw, pace=12.0)


def draw_cells(cells: Bool[np.ndarray, "h w c"], colours: tuple[str, ...]) -> Picture:
    """Cells in the colour of their first channel that is set; those of none are empty."""
    size = WIDTH // cells.shape[1]
    small: Any = np.full((*cells.shape[:2], 3), ImageColor.getrgb(STRIPE), np.uint8)
    for channel in reversed(range(min(cells.shape[2], len(colours)))):
        small[cells[:, :, channel]] = ImageColor.getrgb(colours[channel])
    picture = small.repeat(size, 0).repeat(size, 1)
    # A line of the page's colour keeps neighbours apart.
    picture[::size] = picture[:, ::size] = 254
    return picture
