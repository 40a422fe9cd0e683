import math
from copy import copy as copied
from multiprocessing import get_context

import gymnasium
import numpy as np
import pytest

from gtr.environments.gymnasium_adapter import Gymnasium, GymnasiumCopy, Variation
from gtr.environments.mujoco_variations import Flip, Slippery, StandWalkRun
from gtr.environments.protocol import Box, Discrete
from gtr.errors import GTRError

ROBOTS = [
    "HalfCheetah-v5",
    "Ant-v5",
    "Walker2d-v5",
    "Hopper-v5",
    "Humanoid-v5",
    "HumanoidStandup-v5",
    "Swimmer-v5",
    "Reacher-v5",
    "Pusher-v5",
    "InvertedPendulum-v5",
    "InvertedDoublePendulum-v5",
]


def actions(env: Gymnasium, number: int) -> np.ndarray:
    space = env.action_space
    assert isinstance(space, Box)
    drawn = np.random.default_rng(0).uniform(space.low, space.high, (number, *space.shape))
    return drawn.astype(np.float32)


def test_a_copy_is_gymnasiums_environment_and_its_time_limit():
    env = Gymnasium("HalfCheetah-v5")
    assert (env.observation_shape, env.action_space) == ((17,), Box((6,), -1.0, 1.0))
    ours, theirs = env.start(), gymnasium.make("HalfCheetah-v5")
    for seed in (3, 4):
        first, _ = theirs.reset(seed=seed)
        np.testing.assert_array_equal(ours.restart(seed, None), first)
        for action in actions(env, 1000):
            observation, reward, terminated, truncated, _ = theirs.step(action)
            after = ours.step(action)
            np.testing.assert_array_equal(after.observation, observation)
            assert after[1:4] == (reward, terminated, truncated)
        assert truncated


@pytest.mark.parametrize("name", ROBOTS)
def test_a_saved_copy_goes_on_in_another_bit_for_bit(name):
    env = Gymnasium(name)
    one, other = env.start(), env.start()
    one.restart(0, None)
    other.restart(1, None)
    for action in actions(env, 25):
        one.step(action)
    saved = one.save()
    assert saved.nbytes == env.saved_bytes > 0
    other.restore(saved, None)
    for action in actions(env, 40):
        here, there = one.step(action), other.step(action)
        np.testing.assert_array_equal(here.observation, there.observation)
        assert here[1:] == there[1:]
    # how far the episode is, too
    np.testing.assert_array_equal(one.save(), other.save())


def test_an_environment_with_state_of_its_own_is_not_taken_to_be_saved():
    env = Gymnasium("CartPole-v1")
    assert env.saved_bytes == 0
    assert env.action_space == Discrete(2)
    copy = env.start()
    copy.restart(0, None)
    assert copy.step(np.int32(1)).reward == 1.0


def test_mistakes_are_one_line_that_says_how_to_mend_them():
    for options, message in (
        (("HalfCheeta-v5",), "no environment 'HalfCheeta-v5'; close to it: HalfCheetah-v5"),
        (("FrozenLake-v1",), "observations that are not supported: Discrete.*FlattenObservation"),
        (("Ant-v5", (("xml_file", "no.xml"),)), "Ant-v5 cannot be made: OSError: .*no.xml"),
    ):
        with pytest.raises(GTRError, match=message) as caught:
            Gymnasium(*options)
        assert "\n" not in str(caught.value)


def test_environments_are_equal_when_they_behave_alike_and_travel_to_processes():
    one = Gymnasium("HalfCheetah-v5", variation=Flip())
    assert one == Gymnasium("HalfCheetah-v5", variation=Flip())
    assert one != Gymnasium("HalfCheetah-v5")
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(copied, (one,)) == one
    assert hash(one) == hash(Gymnasium("HalfCheetah-v5", variation=Flip()))


def test_flip_turns_the_pay_for_speed_and_leaves_the_costs():
    env = Gymnasium("HalfCheetah-v5", variation=Flip())
    assert [env.world(0, phase) for phase in range(4)] == [1, -1, 1, -1]
    forward, backward = env.start(), env.start()
    forward.restart(0, 1)
    backward.restart(0, -1)
    for action in actions(env, 50):
        ahead, back = forward.step(action), backward.step(action)
        cost = 0.1 * np.square(action).sum()
        np.testing.assert_array_equal(ahead.observation, back.observation)
        assert ahead.reward + back.reward == pytest.approx(-2 * cost, abs=1e-6)
        assert ahead.reward == pytest.approx(float(forward.env.data.qvel[0]) - cost, abs=1.0)


def test_slippery_draws_log_uniformly_and_alters_the_model_itself():
    env = Gymnasium("Ant-v5", variation=Slippery())
    assert env.world(0, 0) is None
    drawn = np.log([env.world(seed, phase) for seed in range(100) for phase in (1, 2)])
    assert len(np.unique(drawn)) == 200
    assert math.log(0.02) <= drawn.min() < drawn.max() <= math.log(2)
    # a uniform distribution's mean and deviation, within 4 standard errors
    width = math.log(100)
    assert drawn.mean() == pytest.approx(math.log(0.2), abs=4 * width / math.sqrt(12 * 200))
    assert drawn.std() == pytest.approx(width / math.sqrt(12), rel=0.15)
    copy = env.start()
    model = copy.env.model
    copy.restart(0, None)
    assert (model.geom_friction[:, 0] == 1).all()
    copy.restart(0, 0.05)
    assert copy.env.model is model
    assert (model.geom_friction[:, 0] == 0.05).all()


def test_the_slippery_ground_is_felt():
    env = Gymnasium("Ant-v5", variation=Slippery())
    firm, icy = env.start(), env.start()
    firm.restart(0, 2.0)
    icy.restart(0, 0.02)
    for action in actions(env, 30):
        ends = firm.step(action).observation, icy.step(action).observation
    assert np.abs(ends[0] - ends[1]).max() > 0.1


@pytest.mark.parametrize(
    ("height", "angle", "velocity", "world", "reward"),
    [
        (1.3, 0.0, 0.0, 0.0, 1.0),  # it stands, and is asked to
        (1.3, 0.0, 0.0, 1.0, 1 / 6),  # it stands where it is to walk
        (1.3, 0.0, 0.5, 1.0, 3.5 / 6),  # half the speed is worth half
        (1.3, 0.0, 1.0, 1.0, 1.0),
        (1.3, 0.0, 1.0, 8.0, (5 * 0.125 + 1) / 6),  # it walks where it is to run
        (1.3, 0.0, 9.0, 8.0, 1.0),
        (0.6, 0.0, 0.0, 0.0, 1.3 / 4),  # a margin below: a tenth of standing, and upright
        (1.3, math.pi, 0.0, 0.0, 3 / 4),  # on its head
    ],
)
def test_the_walker_is_paid_as_dm_controls(height, angle, velocity, world, reward):
    env = gymnasium.make("Walker2d-v5").unwrapped
    env.data.qpos[1:3] = height, angle
    paid = StandWalkRun().reward(env, 99.0, {"x_velocity": velocity}, world)
    assert paid == pytest.approx(reward)
    assert [Gymnasium("Walker2d-v5", variation=StandWalkRun()).world(7, i) for i in range(4)] == [
        0,
        1,
        8,
        0,
    ]


def test_a_variation_is_asked_for_the_reward_of_its_own_world():
    class Doubled(Variation):
        def plain(self):
            return 1.0

        def draw(self, rng, phase):
            return 2.0

        def reward(self, env, reward, info, world):
            return reward * world

    copy = GymnasiumCopy(gymnasium.make("CartPole-v1").unwrapped, 3, Doubled())
    copy.restart(0, 2.0)
    seen = [copy.step(np.int32(t % 2)) for t in range(3)]
    assert [after.reward for after in seen] == [2.0, 2.0, 2.0]
    assert [after.truncated for after in seen] == [False, False, True]
