"""Craftax, as its own renderer shows it."""

import contextlib
import sys
from importlib import import_module
from typing import Any

import jax
import numpy as np
from PIL import Image

from gtr.environments.craftax_adapter import Craftax
from gtr.environments.protocol import World
from gtr.watch.screens.canvas import WIDTH
from gtr.watch.screens.screen import Picture, Screen

# One of the sizes that craftax keeps its textures in.
_BLOCK = 64


def screen(environment: Craftax) -> Screen:
    """The screen of Craftax-Classic or of the full game."""
    game = "craftax_classic" if "Classic" in environment.env_id else "craftax"
    # Importing it tells how the textures are loaded; the first time on a machine it takes a minute.
    with contextlib.redirect_stdout(sys.stderr):
        renderer = import_module(f"craftax.{game}.renderer")
        render = renderer.make_craftax_pixel_renderer(_BLOCK)

    @jax.jit
    def pixels(state: Any) -> Any:
        key = jax.random.wrap_key_data(state.state_rng, impl="threefry2x32")
        return render(state.replace(state_rng=key))

    def draw(state: Any, world: World) -> Picture:
        del world
        image = Image.fromarray(np.asarray(pixels(state)).clip(0, 255).astype(np.uint8))
        height = round(WIDTH * image.height / image.width)
        return np.asarray(image.resize((WIDTH, height), Image.Resampling.BOX))

    return Screen(draw, pace=6.0)
