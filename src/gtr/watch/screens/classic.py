"""Classic control, drawn from the state; an offset on the observation moves nothing here."""

import math
from collections.abc import Callable
from typing import Any

from gtr.environments.protocol import World
from gtr.watch.screens.canvas import (
    BLUE,
    FAINT,
    GREEN,
    GRID,
    INK,
    ORANGE,
    STRIPE,
    WIDTH,
    Canvas,
    Point,
)
from gtr.watch.screens.screen import Picture, Screen

_HEIGHT = 160
# CartPole: where an episode ends, in metres from the middle, and what is seen beyond it.
_LIMIT, _BEYOND = 2.4, 0.3
_FLOOR = 118


def cartpole(state: Any) -> Picture:
    """A cart on a track, and its pole, 1 m long; the marks are where an episode ends."""
    scale = WIDTH / 2 / (_LIMIT + _BEYOND)
    x = WIDTH / 2 + scale * float(state.x)
    angle = float(state.theta)
    canvas = Canvas(WIDTH, _HEIGHT)
    canvas.box((0, _FLOOR), (WIDTH, _HEIGHT), STRIPE)
    canvas.line([(0, _FLOOR), (WIDTH, _FLOOR)], GRID, 2)
    for side in (-1, 1):
        mark = WIDTH / 2 + side * scale * _LIMIT
        canvas.box((mark - 1, _FLOOR - 6), (mark + 1, _FLOOR + 6), FAINT)
    canvas.box((x - 19, _FLOOR - 20), (x + 19, _FLOOR - 3), INK)
    hinge = (x, _FLOOR - 20)
    # Taller than to scale, that a small angle is seen.
    length = 82
    tip = (x + length * math.sin(angle), hinge[1] - length * math.cos(angle))
    canvas.line([hinge, tip], ORANGE, 7)
    canvas.disc(hinge, 3, STRIPE)
    return canvas.picture()


def acrobot(state: Any) -> Picture:
    """Two links that hang from the middle; the line is what the lower end has to reach."""
    scale, middle = 50.0, WIDTH / 2

    def at(x: float, y: float) -> Point:
        return middle + scale * x, middle - scale * y

    first = float(state.joint_angle1)
    second = first + float(state.joint_angle2)
    elbow = (math.sin(first), -math.cos(first))
    hand = (elbow[0] + math.sin(second), elbow[1] - math.cos(second))
    canvas = Canvas(WIDTH, WIDTH)
    canvas.line([at(-3, 1), at(3, 1)], GREEN, 2)
    canvas.line([at(0, 0), at(*elbow)], BLUE, 11)
    canvas.line([at(*elbow), at(*hand)], ORANGE, 11)
    for joint in ((0.0, 0.0), elbow):
        canvas.disc(at(*joint), 3, STRIPE)
    return canvas.picture()


def mountain_car(state: Any) -> Picture:
    """A car in a valley and the flag that ends the episode."""
    low, high, flag = -1.2, 0.6, 0.5
    scale = WIDTH / (high - low)

    def ground(x: float) -> Point:
        height = 0.45 * math.sin(3 * x) + 0.55
        return scale * (x - low), _HEIGHT - 8 - 100 * height

    canvas = Canvas(WIDTH, _HEIGHT)
    hill = [ground(low + (high - low) * i / 80) for i in range(81)]
    canvas.polygon([(0, _HEIGHT), *hill, (WIDTH, _HEIGHT)], STRIPE)
    canvas.line(hill, GRID, 2)
    foot = ground(flag)
    canvas.line([foot, (foot[0], foot[1] - 28)], FAINT, 2)
    canvas.polygon(
        [(foot[0], y) for y in (foot[1] - 28, foot[1] - 16)] + [(foot[0] - 15, foot[1] - 22)], GREEN
    )
    x = float(state.position)
    middle, ahead = ground(x), ground(x + 0.01)
    steep = math.atan2(ahead[1] - middle[1], ahead[0] - middle[0])

    def on_car(along: float, up: float) -> Point:
        return (
            middle[0] + along * math.cos(steep) + up * math.sin(steep),
            middle[1] + along * math.sin(steep) - up * math.cos(steep),
        )

    body = [(-13, 5), (-13, 12), (-7, 12), (-4, 18), (6, 18), (8, 12), (13, 11), (13, 5)]
    canvas.polygon([on_car(*corner) for corner in body], ORANGE)
    for wheel in (-7, 7):
        canvas.disc(on_car(wheel, 4), 4.5, INK)
    return canvas.picture()


_DRAWN: dict[str, tuple[Callable[[Any], Picture], float]] = {
    # with steps a second: CartPole's own, the others' quickened
    "CartPole-v1": (cartpole, 50.0),
    "Acrobot-v1": (acrobot, 15.0),
    "MountainCar-v0": (mountain_car, 30.0),
}


def screens() -> dict[str, Screen]:
    """The screens by gymnax's names."""

    def of(draw: Callable[[Any], Picture]) -> Callable[[Any, World], Picture]:
        return lambda state, world: draw(state)

    return {name: Screen(of(draw), pace) for name, (draw, pace) in _DRAWN.items()}
