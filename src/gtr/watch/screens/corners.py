"""Corner-switch: the grid, the corner that pays, the agent."""

from typing import Any

from jaxtyping import Int

from gtr.environments.corner_switch import CornerSwitch, Position
from gtr.watch.screens.canvas import GREEN, GRID, INK, STRIPE, WIDTH, Canvas
from gtr.watch.screens.screen import Picture, Screen


def screen(environment: CornerSwitch) -> Screen:
    """The screen of a grid of any size."""
    cell = WIDTH // environment.size

    def draw(state: Position, world: Int[Any, ""]) -> Picture:
        return draw_grid(environment.size, cell, int(state.column), int(state.row), int(world))

    return Screen(draw, pace=8.0)


def draw_grid(size: int, cell: int, column: int, row: int, paying: int) -> Picture:
    """The agent in a grid whose corners are grey, and green where they pay.

    Args:
        size: cells along a side.
        cell: pixels along a cell's side.
        column: the agent's, from the left.
        row: the agent's, from the top.
        paying: 0 ... 3 for left top, right top, left bottom, right bottom.
    """
    canvas = Canvas(size * cell, size * cell)
    # What is left between cells is the grid's lines.
    canvas.box((0, 0), (size * cell, size * cell), GRID)
    last = size - 1
    for x in range(size):
        for y in range(size):
            fill = STRIPE
            if x in (0, last) and y in (0, last):
                fill = GREEN if paying == (x == last) + 2 * (y == last) else GRID
            left, top = x * cell + 0.5, y * cell + 0.5
            canvas.box((left, top), (left + cell - 1, top + cell - 1), fill)
    centre = ((column + 0.5) * cell, (row + 0.5) * cell)
    canvas.disc(centre, 0.4 * cell, INK)
    return canvas.picture()
