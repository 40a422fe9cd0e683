"""Pictures show the state: where things are in it, and in which colour, is known."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from PIL import ImageColor

from gtr.environments.changes import ActionPermutation, Changed, ObservationOffset, RewardSign
from gtr.environments.corner_switch import CornerSwitch, Position
from gtr.environments.gymnasium_adapter import Gymnasium
from gtr.environments.gymnax_adapter import Gymnax
from gtr.environments.mujoco_variations import Flip, Slippery, StandWalkRun
from gtr.errors import GTRError
from gtr.watch.screens import classic, screen_of
from gtr.watch.screens.canvas import BLUE, GREEN, GRID, INK, ORANGE, STRIPE
from gtr.watch.screens.corners import draw_grid
from gtr.watch.screens.minatar import draw_cells
from gtr.watch.screens.robots import tell


def where(picture: np.ndarray, colour: str) -> np.ndarray:
    """Rows and columns of the pixels of a colour, (n, 2)."""
    return np.argwhere((picture == ImageColor.getrgb(colour)).all(-1))


def middle(picture: np.ndarray, colour: str) -> np.ndarray:
    """Row and column of a colour's centre."""
    found = where(picture, colour)
    assert len(found)
    return found.mean(0)


def test_the_agent_and_the_paying_corner_of_a_grid_are_where_they_should_be():
    for size, column, row, paying in ((3, 0, 2, 3), (9, 4, 1, 1), (9, 8, 8, 0)):
        picture = draw_grid(size, 20, column, row, paying)
        assert picture.shape == (20 * size, 20 * size, 3)
        np.testing.assert_allclose(
            middle(picture, INK), [20 * row + 9.5, 20 * column + 9.5], atol=0.6
        )
        at = [20 * (size - 1) * (paying // 2) + 9.5, 20 * (size - 1) * (paying % 2) + 9.5]
        np.testing.assert_allclose(middle(picture, GREEN), at, atol=0.6)
    colours = {tuple(x) for x in picture.reshape(-1, 3)}
    assert {ImageColor.getrgb(one) for one in (STRIPE, GRID)} <= colours


def cartpole(x: float, theta: float) -> np.ndarray:
    return classic.cartpole(SimpleNamespace(x=x, theta=theta))


def test_the_cart_moves_and_the_pole_leans_as_the_state_says():
    still = middle(cartpole(0.0, 0.0), INK)
    np.testing.assert_allclose(still[1], 119.5, atol=0.6)
    moved = middle(cartpole(1.0, 0.0), INK)
    np.testing.assert_allclose(moved - still, [0, 120 / 2.7], atol=0.6)
    assert middle(cartpole(-1.0, 0.0), INK)[1] < still[1]
    upright = middle(cartpole(0.0, 0.0), ORANGE)
    np.testing.assert_allclose(upright[1], 119.5, atol=0.6)
    # A positive angle leans to the right.
    assert middle(cartpole(0.0, 0.2), ORANGE)[1] > upright[1] + 5


def test_acrobot_hangs_down_and_reaches_the_line_upright():
    def tip(first: float, second: float) -> np.ndarray:
        state = SimpleNamespace(joint_angle1=first, joint_angle2=second)
        return middle(classic.acrobot(state), ORANGE)

    np.testing.assert_allclose(tip(0, 0), [120 + 75, 119.5], atol=3)
    np.testing.assert_allclose(tip(np.pi, 0), [120 - 75, 119.5], atol=3)
    np.testing.assert_allclose(tip(np.pi / 2, np.pi / 2), [120 - 25, 120 + 50], atol=6)


def test_the_car_is_lowest_where_the_valley_is():
    def car(position: float) -> np.ndarray:
        return middle(classic.mountain_car(SimpleNamespace(position=position)), ORANGE)

    rows = [car(x)[0] for x in (-1.0, -0.52, 0.4)]
    assert rows[1] > rows[0] + 20
    assert rows[1] > rows[2] + 20
    assert car(-1.0)[1] < car(-0.52)[1] < car(0.4)[1]


def test_a_cell_has_the_colour_of_its_first_channel():
    cells = np.zeros((10, 10, 3), bool)
    cells[2, 3] = [False, True, True]
    cells[9, 0] = [True, False, True]
    picture = draw_cells(cells, (INK, ORANGE, BLUE))
    assert picture.shape == (240, 240, 3)
    np.testing.assert_allclose(middle(picture, ORANGE), [2 * 24 + 12, 3 * 24 + 12])
    np.testing.assert_allclose(middle(picture, INK), [9 * 24 + 12, 12])
    assert not len(where(picture, BLUE))


def test_a_game_is_drawn_as_it_is_and_not_as_the_agent_sees_it():
    env = ActionPermutation(Gymnax("Breakout-MinAtar"))
    world = jax.device_get(env.world(jax.random.key(0), 1))
    state = jax.device_get(env.reset(jax.random.key(1), world)[0])
    picture = screen_of(env).draw(state, world)
    paddle = middle(picture, INK)
    np.testing.assert_allclose(paddle, [9 * 24 + 12, int(state.pos) * 24 + 12])


def test_a_robot_stands_on_the_ground_and_is_followed():
    environment = Gymnasium("Walker2d-v5", variation=StandWalkRun())
    screen, copy = screen_of(environment), environment.start()
    copy.restart(0, 0.0)
    first = screen.draw(copy, 0.0)
    # Both legs are in one plane at first.
    torso, leg = middle(first, INK), middle(first, BLUE)
    assert torso[0] < leg[0] - 20
    np.testing.assert_allclose(torso[1], 119.5, atol=6)
    before: Any = copy.env.data.qpos.copy()
    copy.env.set_state(before + np.eye(9)[0] * 0.5, np.zeros(9))
    moved = screen.draw(copy, 0.0)
    np.testing.assert_allclose(middle(moved, INK), torso, atol=1)
    # Half a metre on, light and dark have changed places in half of a row of squares.
    assert (moved[138] != first[138]).any(-1).mean() == pytest.approx(0.5, abs=0.1)
    assert screen.pace == pytest.approx(125)
    copy.close()


def test_what_no_picture_shows_is_told():
    assert tell(Flip(), -1) == "backward pays"
    assert tell(Slippery(), None) == "the model's friction"
    assert tell(Slippery(), 0.02944) == "friction 0.029"
    assert tell(StandWalkRun(), 8.0) == "to move at 8 m/s"
    offset = screen_of(ObservationOffset(Gymnax("CartPole-v1")))
    assert offset.note(Changed((), np.array([1.25, -0.5, 0, 2], np.float32))) == (
        "offset +1.2 -0.5 +0.0 +2.0"
    )
    assert offset.note(Changed((), np.zeros(4, np.float32))) == ""
    both = screen_of(RewardSign(ObservationOffset(Gymnax("CartPole-v1"))))
    inner = Changed((), np.ones(1, np.float32))
    assert both.note(Changed(inner, np.float32(-1))) == "offset +1.0, rewards reversed"


def test_environments_without_a_picture_are_named_and_can_be_given_one():
    with pytest.raises(GTRError, match="no picture of Unknown"):
        screen_of(Unknown())
    with pytest.raises(GTRError, match="no picture of gymnax's Pendulum-v1, but of CartPole-v1"):
        screen_of(Gymnax("Pendulum-v1"))
    with pytest.raises(GTRError, match="no picture of FrozenLake-v1"):
        screen_of(SimpleFrozen())
    screen_of.register(Unknown)(lambda environment: screen_of(CornerSwitch(3)))
    picture = screen_of(Unknown()).draw(Position(*np.int32([0, 0, 0])), np.int32(1))
    assert picture.shape == (240, 240, 3)


class Unknown:
    pass


class SimpleFrozen(Gymnasium):
    """Of Gymnasium, but not of MuJoCo."""

    def __init__(self) -> None:
        object.__setattr__(self, "env_id", "FrozenLake-v1")

    def start(self) -> Any:
        return SimpleNamespace(env=object(), close=lambda: None)
