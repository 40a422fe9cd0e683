import math
import sys

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr.environments.gymnasium_adapter import Gymnasium
from gtr.environments.mjx_ant import AntState, SlipperyAnt
from gtr.environments.mjx_physics import Physics, PhysicsState
from gtr.environments.mujoco_variations import Slippery
from gtr.environments.protocol import Box
from gtr.errors import GTRError
from tests.environments.contract import assert_keeps_promises

KEY = jax.random.key(4)
ANT = SlipperyAnt()
OWN = jnp.ones(14)
# Which way each motor moves an ankle out; 0 for the hips.
OUT = np.array([0, -1, 0, -1, 0, 1, 0, 1])


@jax.jit
def compiled(state, action, world):
    return ANT.step(KEY, state, action, world)


def step(state, action, friction=1.0):
    """One step of ours; NumPy's arrays have no weak types, and compiling takes half a minute."""
    return compiled(state, np.float32(action), np.full(14, friction, np.float32))


@pytest.fixture
def host():
    """Gymnasium's own Ant-v5."""
    env = gymnasium.make("Ant-v5").unwrapped
    yield env
    env.close()


def as_ours(env, steps: int = 0) -> AntState:
    data = env.data
    physics = PhysicsState(*map(np.float32, (data.qpos, data.qvel, data.qacc_warmstart)))
    return AntState(physics, np.float32(data.xpos[1, 0]), np.int32(steps))


@pytest.mark.parametrize("friction", [1.0, 0.05])
def test_steps_are_gymnasiums(host, friction):
    """Each from the host's state. No capsule stands steeper than 60 degrees, where MJX differs.

    In float32 some contact begins or ends a moment sooner or later: hence the shares of steps.
    """
    rng = np.random.default_rng(1)
    host.reset(seed=1)
    Slippery().enter(host, friction)
    errors, touching = [], 0
    for number in range(120):
        noise = rng.uniform(-1, 1, 8)
        action = np.float32(np.where(OUT == 0, noise, 0.6 * OUT + 0.2 * noise))
        ours = step(as_ours(host), action, friction)
        observation, reward, terminated, _, _ = host.step(action)
        parts = np.split(np.abs(ours.observation - observation), [13, 27])
        errors.append([*(part.max() for part in parts), abs(float(ours.reward) - reward)])
        assert bool(ours.terminated) == terminated
        touching += host.data.ncon > 0
        if terminated:
            host.reset(seed=number)
    assert touching > 40
    places, velocities, forces, rewards = np.quantile(errors, 0.9, axis=0)
    assert places < 1e-5
    assert velocities < 1e-3
    assert forces < 5e-3
    assert rewards < 1e-4
    assert (np.max(errors, axis=0)[[0, 1, 3]] < 0.3).all()


def test_an_unhealthy_robot_terminates_as_gymnasiums(host):
    for height, ends in ((1.3, True), (0.9, False)):
        host.reset(seed=0)
        qpos = host.data.qpos.copy()
        qpos[2] = height
        host.set_state(qpos, host.data.qvel.copy())
        ours = step(as_ours(host), np.zeros(8))
        _, reward, terminated, _, _ = host.step(np.zeros(8))
        assert bool(ours.terminated) == terminated == ends
        assert float(ours.reward) == pytest.approx(reward, abs=1e-4)


def test_an_episode_is_cut_after_a_thousand_steps(host):
    host.reset(seed=0)
    assert gymnasium.spec("Ant-v5").max_episode_steps == 1000
    for steps, late in ((998, False), (999, True)):
        after = step(as_ours(host, steps), np.zeros(8))
        assert bool(after.truncated) == late
        assert not after.terminated
        assert int(after.state.steps) == steps + 1


def test_a_simulation_that_is_not_finite_ends_where_it_last_was(host):
    host.reset(seed=0)
    state = as_ours(host)
    wild = state._replace(physics=state.physics._replace(qvel=np.full(14, 1e30, np.float32)))
    after = step(wild, np.full(8, 0.5))
    assert after.terminated
    assert not after.truncated
    np.testing.assert_array_equal(after.state.physics.qvel, wild.physics.qvel)
    np.testing.assert_array_equal(after.observation[27:], 0)
    assert float(after.reward) == pytest.approx(-0.5 * 8 * 0.25)


def test_the_friction_is_felt_as_on_the_host(host):
    """A robot that slides on its belly is slowed by its friction: by nothing else along x."""
    slowed = {}
    for friction in (0.05, 0.5):
        Slippery().enter(host, friction)
        host.reset(seed=0)
        qpos, qvel = np.zeros(15), np.zeros(14)
        qpos[2:4], qvel[0] = (0.27, 1.0), 3.0
        qpos[[8, 14]], qpos[[10, 12]] = 0.6, -0.6
        host.set_state(qpos, qvel)
        ours = step(as_ours(host), np.zeros(8), friction)
        host.step(np.zeros(8))
        slowed[friction] = 3.0 - float(ours.state.physics.qvel[0])
        assert slowed[friction] == pytest.approx(3.0 - host.data.qvel[0], abs=1e-3)
    assert 0 < slowed[0.05] < slowed[0.5] / 4


def test_an_episode_begins_as_gymnasiums(host):
    """Uniform noise of 0.1 on the places, normal on the velocities, no force yet."""
    states, observations = jax.vmap(ANT.reset, (0, None))(jax.random.split(KEY, 4000), OWN)
    noise = np.asarray(states.physics.qpos) - host.init_qpos
    assert -0.1 <= noise.min() < -0.0999
    assert 0.0999 < noise.max() <= 0.1
    np.testing.assert_allclose(noise.std(0), 0.1 / math.sqrt(3), rtol=0.05)
    np.testing.assert_allclose(np.std(states.physics.qvel, 0), 0.1, rtol=0.07)
    np.testing.assert_allclose(np.mean(states.physics.qvel, 0), 0, atol=0.007)
    seen, _ = host.reset(seed=0)
    host.set_state(*(np.float64(x[0]) for x in states.physics[:2]))
    np.testing.assert_allclose(observations[0, :27], host._get_obs()[:27], atol=1e-6)
    np.testing.assert_array_equal(seen[27:], 0)
    np.testing.assert_array_equal(observations[:, 27:], 0)
    np.testing.assert_array_equal(states.x, states.physics.qpos[:, 0])


def test_friction_is_drawn_log_uniformly_and_phase_0_is_the_models_own(host):
    keys = jax.random.split(KEY, 300)
    worlds = jax.jit(jax.vmap(jax.vmap(ANT.world, (None, 0)), (0, None)))(keys, jnp.arange(3))
    np.testing.assert_array_equal(worlds[:, 0], np.tile(host.model.geom_friction[:, 0], (300, 1)))
    drawn = np.log(worlds[:, 1:])
    assert (drawn == drawn[..., :1]).all()
    drawn = drawn[..., 0].ravel()
    assert len(np.unique(drawn)) == 600
    assert math.log(0.02) <= drawn.min() < drawn.max() <= math.log(2.0) + 1e-6
    # a uniform distribution's mean and deviation, within 4 standard errors
    width = math.log(100)
    assert drawn.mean() == pytest.approx(math.log(0.2), abs=4 * width / math.sqrt(12 * 600))
    assert drawn.std() == pytest.approx(width / math.sqrt(12), rel=0.1)


def test_promises_and_spaces_of_the_host():
    assert_keeps_promises(ANT)
    like = Gymnasium("Ant-v5", variation=Slippery())
    assert (ANT.observation_shape, ANT.action_space) == (like.observation_shape, like.action_space)
    assert ANT.action_space == Box((8,), -1.0, 1.0)
    assert SlipperyAnt() == ANT
    assert SlipperyAnt(low=0.1) != ANT
    assert hash(SlipperyAnt()) == hash(ANT)


def test_copies_on_a_cpu_follow_one_another(host):
    """A batch of decompositions hangs: `test_no_program_decomposes_matrices_in_batches`."""
    host.reset(seed=0)
    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), as_ours(host))
    several = jax.vmap(ANT.step, (None, 0, 0, None))
    text = jax.jit(several).lower(KEY, states, jnp.zeros((3, 8)), OWN).as_text()
    calls = [line for line in text.splitlines() if "custom_call @lapack" in line]
    assert calls
    assert all('num_batch_dims = "0"' in line for line in calls)
    # and an accelerator does not round the physics' products
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_what_is_missing_is_told_in_one_line(monkeypatch, capsys):
    Physics("ant.xml", 5)
    assert capsys.readouterr().out == ""
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(GTRError, match=r"pip install 'gtr-rl\[mjx\]'") as caught:
        Physics("ant.xml", 5)
    assert "\n" not in str(caught.value)
