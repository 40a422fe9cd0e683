import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr.environments.corner_switch import CornerSwitch, Position
from gtr.errors import GTRError
from tests.environments.contract import assert_keeps_promises

KEY = jax.random.key(3)


def transitions(env: CornerSwitch, corner: int):
    """Every cell and move, tabulated: next cell, reward, terminated."""
    cells = jnp.arange(env.size)

    def one(column, row, move):
        step = env.step(KEY, Position(column, row, jnp.int32(0)), move, jnp.int32(corner))
        return step.state.column, step.state.row, step.reward, step.terminated

    over = jax.vmap(jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None)), (0, None, None))
    return [np.asarray(part) for part in jax.jit(over)(cells, cells, jnp.arange(4))]


@pytest.mark.parametrize("corner", range(4))
@pytest.mark.parametrize("size", [3, 9, 13])
@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_declared_optimum_is_what_dynamic_programming_finds(corner, size, discount):
    env = CornerSwitch(size)
    column, row, reward, terminated = transitions(env, corner)
    value = np.zeros((size, size))
    for _ in range(env.limit):
        value = (reward + discount * np.where(terminated, 0, value[column, row])).max(-1)
    start = size // 2
    assert value[start, start] == pytest.approx(env.optimal_return(discount), rel=1e-6)


def test_only_corners_terminate_and_only_one_of_them_pays():
    env = CornerSwitch(5)
    for corner, cell in enumerate([(0, 0), (4, 0), (0, 4), (4, 4)]):
        column, row, reward, terminated = transitions(env, corner)
        at_corner = np.isin(column, [0, 4]) & np.isin(row, [0, 4])
        np.testing.assert_array_equal(terminated, at_corner)
        np.testing.assert_array_equal(reward, (column == cell[0]) & (row == cell[1]))


def test_moves_go_where_they_say_and_walls_block():
    column, row, _, _ = transitions(CornerSwitch(5), 0)
    assert [(int(c), int(r)) for c, r in zip(column[2, 2], row[2, 2], strict=True)] == [
        (1, 2),
        (3, 2),
        (2, 1),
        (2, 3),
    ]
    assert (column[0, 2, 0], row[0, 2, 0]) == (0, 2)
    assert (column[4, 2, 1], row[4, 2, 1]) == (4, 2)
    assert (column[2, 0, 2], row[2, 0, 2]) == (2, 0)
    assert (column[2, 4, 3], row[2, 4, 3]) == (2, 4)


def test_truncates_at_the_limit_but_a_corner_at_the_limit_terminates():
    env = CornerSwitch(9, limit=60)
    step = jax.jit(env.step)
    state, _ = env.reset(KEY, jnp.int32(0))
    for time in range(1, 61):
        result = step(KEY, state, jnp.int32(0), jnp.int32(0))
        state = result.state
        assert bool(result.truncated) == (time == 60)
        assert not result.terminated
    beside = Position(jnp.int32(1), jnp.int32(0), jnp.int32(59))
    result = step(KEY, beside, jnp.int32(0), jnp.int32(0))
    assert (bool(result.terminated), bool(result.truncated), float(result.reward)) == (
        True,
        False,
        1,
    )


def test_observation_is_column_and_row_one_hot():
    env = CornerSwitch(5)
    state, observation = env.reset(KEY, jnp.int32(0))
    np.testing.assert_array_equal(observation, [0, 0, 1, 0, 0, 0, 0, 1, 0, 0])
    observation = env.step(KEY, state, jnp.int32(1), jnp.int32(0)).observation
    np.testing.assert_array_equal(observation, [0, 0, 0, 1, 0, 0, 0, 1, 0, 0])


def test_the_paying_corner_changes_every_phase_and_evenly():
    env = CornerSwitch()
    keys = jax.random.split(KEY, 400)
    worlds = jax.jit(
        jax.vmap(jax.vmap(env.world, (None, 0)), (0, None)),
    )(keys, jnp.arange(6))
    assert (worlds[:, 0] == 0).all()
    shifts = np.asarray((worlds[:, 1:] - worlds[:, :-1]) % 4)
    share = [(shifts == shift).mean() for shift in range(4)]
    assert share[0] == 0
    assert share[1:] == pytest.approx([1 / 3] * 3, abs=0.04)
    world = jax.jit(env.world)
    one_by_one = [int(world(keys[7], jnp.int32(phase))) for phase in range(6)]
    assert one_by_one == worlds[7].tolist()


def test_promises_and_mistakes():
    assert_keeps_promises(CornerSwitch())
    assert CornerSwitch(9) == CornerSwitch(9)
    assert CornerSwitch(9).action_mask(None, None) is None
    for size, limit in ((8, 60), (1, 60), (9, 7)):
        with pytest.raises(GTRError, match="must be"):
            CornerSwitch(size, limit)
