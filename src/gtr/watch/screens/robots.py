"""MuJoCo's robots, drawn from where their parts are.

MuJoCo's own renderer needs OpenGL, which headless machines often lack, and gives other pixels on
other machines. Capsules and spheres from one side need neither.
"""

import math
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from gtr.environments.gymnasium_adapter import Gymnasium, GymnasiumCopy
from gtr.environments.mujoco_variations import Flip, Slippery, StandWalkRun
from gtr.environments.protocol import World
from gtr.errors import GTRError
from gtr.watch.screens.canvas import BLUE, GREEN, GRID, INK, ORANGE, PAPER, STRIPE, WIDTH, Canvas
from gtr.watch.screens.screen import Picture, Screen

_HEIGHT = 160
_LIMBS = (ORANGE, BLUE, GREEN, "#8c6bb1")
# Numbers of MuJoCo's mjtGeom and mjtJoint.
_SPHERE, _CAPSULE, _FREE = 2, 3, 0


class View(NamedTuple):
    """Where a camera that is infinitely far away looks from, along y and down.

    Attributes:
        elevation: angle above the ground, radians.
        scale: pixels a metre.
        floor: how far the ground reaches to either side of the middle, metres along y.
    """

    elevation: float
    scale: float
    floor: int

    def place(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Metres right of the point looked at, metres above it on the picture, and depth."""
        sine, cosine = math.sin(self.elevation), math.cos(self.elevation)
        x, y, z = points.T
        return np.stack([x, sine * y + cosine * z, cosine * y - sine * z], -1)


_SIDE, _ABOVE = View(0.12, 66.0, 1), View(0.6, 60.0, 4)


class Part(NamedTuple):
    """A capsule, or a sphere where both ends are one point; metres."""

    ends: Float[np.ndarray, "2 3"]
    radius: float
    colour: str


def screen(environment: Gymnasium) -> Screen:
    """The screen of one of MuJoCo's robots.

    Raises:
        GTRError: the environment is none of them.
    """
    copy = environment.start()
    env = copy.env
    if not hasattr(env, "model") or not hasattr(env, "dt"):
        copy.close()
        raise GTRError(
            f"there is no picture of {environment.env_id}: of Gymnasium's environments only "
            "MuJoCo's are drawn; register one with gtr.watch.screens.screen_of"
        )
    view = _ABOVE if env.model.jnt_type[0] == _FREE else _SIDE
    pace = 1 / env.dt
    copy.close()

    def draw(copy: GymnasiumCopy, world: World) -> Picture:
        del world
        return draw_parts(parts_of(copy.env.model, copy.env.data), copy.env.data.xpos[1], view)

    return Screen(draw, pace, lambda world: tell(environment.variation, world))


@singledispatch
def tell(variation: Any, world: World) -> str:
    """What varies in a world, in a few words."""
    del variation, world
    return ""


@tell.register
def _(variation: Flip, world: int) -> str:
    return "forward pays" if world > 0 else "backward pays"


@tell.register
def _(variation: Slippery, world: float | None) -> str:
    return "the model's friction" if world is None else f"friction {world:.2g}"


@tell.register
def _(variation: StandWalkRun, world: float) -> str:
    return f"to move at {world:g} m/s" if world else "to stand"


def parts_of(model: Any, data: Any) -> list[Part]:
    """Capsules and spheres of a model as it stands; each limb has a colour, the torso is dark."""
    parts = []
    for geom in range(model.ngeom):
        if model.geom_type[geom] not in (_SPHERE, _CAPSULE):
            continue
        half = 0.0 if model.geom_type[geom] == _SPHERE else model.geom_size[geom, 1]
        axis = data.geom_xmat[geom].reshape(3, 3)[:, 2] * half
        centre = data.geom_xpos[geom]
        ends = np.stack([centre - axis, centre + axis])
        colour = _colour(model, int(model.geom_bodyid[geom]))
        parts.append(Part(ends, float(model.geom_size[geom, 0]), colour))
    return parts


def draw_parts(parts: list[Part], torso: Float[np.ndarray, " 3"], view: View) -> Picture:
    """Parts on a ground of squares of 1 m, the camera moving with the torso.

    Args:
        parts: of the robot.
        torso: where it is, metres.
        view: of the camera.
    """
    looked_at = np.array([torso[0], torso[1] if view.floor > 1 else 0.0, 0.0])
    horizon = _HEIGHT - 26 if view.floor == 1 else _HEIGHT * 0.62
    canvas = Canvas(WIDTH, _HEIGHT)

    def on_picture(points: Float[np.ndarray, "n 3"]) -> list[tuple[float, float]]:
        placed = view.place(points - looked_at)[:, :2] * view.scale
        return [(WIDTH / 2 + float(x), horizon - float(y)) for x, y in placed]

    reach = math.ceil(WIDTH / 2 / view.scale) + 1
    middle = np.floor(looked_at[:2]).astype(int)
    for i in range(middle[0] - reach, middle[0] + reach + 1):
        for j in range(middle[1] - view.floor, middle[1] + view.floor + (view.floor > 1)):
            square = [(i, j, 0), (i + 1, j, 0), (i + 1, j + 1, 0), (i, j + 1, 0)]
            canvas.polygon(on_picture(np.array(square, float)), GRID if (i + j) % 2 else STRIPE)
    far_first = sorted(parts, key=lambda part: -view.place(part.ends - looked_at)[:, 2].mean())
    for part in far_first:
        ends, width = on_picture(part.ends), 2 * part.radius * view.scale
        canvas.line(ends, PAPER, width + 2)
        canvas.line(ends, part.colour, width)
    return canvas.picture()


def _colour(model: Any, body: int) -> str:
    """The torso's is body 1; what hangs from it is a limb, with all that hangs from that."""
    if body <= 1:
        return INK
    while model.body_parentid[body] != 1:
        body = model.body_parentid[body]
    limbs = [limb for limb in range(model.nbody) if limb > 1 and model.body_parentid[limb] == 1]
    return _LIMBS[limbs.index(body) % len(_LIMBS)]
