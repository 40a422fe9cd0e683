import sys
from dataclasses import replace

import numpy as np
import pytest
from ale_py.vector_env import AtariVectorEnv

from gtr.environments.atari import Atari
from gtr.environments.protocol import Discrete
from gtr.errors import GTRError

THREE = ("breakout", "pong", "space_invaders")


def every(copies):
    return np.ones(copies, bool)


def play(copy, actions):
    """Transitions up to the end of the episode or of the actions."""
    seen = []
    for action in actions:
        seen.append(copy.step(np.int32(action)))
        if seen[-1].terminated or seen[-1].truncated:
            break
    return seen


def assert_alike(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.observation, b.observation)
        assert a[1:] == b[1:]


def differ(first, second):
    return any((a.observation != b.observation).any() for a, b in zip(first, second, strict=False))


@pytest.mark.parametrize(
    ("game", "side"),
    [
        ("breakout", 84),
        ("pong", 84),
        ("space_invaders", 84),
        ("freeway", 84),
        ("boxing", 84),
        ("breakout", 52),
    ],
)
def test_frames_rewards_and_ends_are_those_of_ales_vector_environment(game, side):
    environment = Atari((game,), sticky=0.0, idle=0, side=side)
    assert environment.observation_shape == (side, side, 4)
    copy = environment.start()
    clipped, raw = (
        AtariVectorEnv(
            game, 1, noop_max=0, reward_clipping=clipping, img_height=side, img_width=side
        )
        for clipping in (True, False)
    )
    raw.reset(seed=0)
    first, _ = clipped.reset(seed=0)
    np.testing.assert_array_equal(copy.restart(3, game), first[0].transpose(1, 2, 0))
    actions = np.random.default_rng(0).integers(environment.action_space.n, size=250)
    scored = 0.0
    for action in actions:
        ours = copy.step(action)
        theirs, reward, terminated, truncated, _ = clipped.step(action[None])
        _, score, *_ = raw.step(action[None])
        assert (ours.reward, ours.score) == (reward[0], score[0])
        assert (ours.terminated, ours.truncated) == (terminated[0], truncated[0])
        scored += abs(score[0])
        if ours.terminated:
            break
        np.testing.assert_array_equal(ours.observation, theirs[0].transpose(1, 2, 0))
    assert scored or game == "freeway"
    clipped.close()
    raw.close()


def test_a_games_score_is_not_clipped():
    environment = Atari(("space_invaders",), sticky=0.0)
    copy = environment.start()
    copy.restart(0, "space_invaders")
    seen = play(copy, np.random.default_rng(0).integers(6, size=300))
    assert {step.reward for step in seen} == {0.0, 1.0}
    assert {step.score for step in seen} > {0.0, 5.0}
    assert all(step.reward == np.sign(step.score) for step in seen)


def test_the_newest_frame_is_the_last():
    environment = Atari(("breakout",))
    copy = environment.start()
    before = copy.restart(0, "breakout")
    assert not before[..., :3].any()
    assert before[..., 3].any()
    for step in play(copy, [2, 2, 3, 0, 1]):
        np.testing.assert_array_equal(step.observation[..., :3], before[..., 1:])
        before = step.observation


@pytest.mark.parametrize(("processes", "side"), [(0, 84), (2, 52)])
def test_a_game_that_was_saved_goes_on_to_the_bit(processes, side):
    environment = Atari(THREE, processes=processes, side=side)
    rng = np.random.default_rng(0)
    actions = rng.integers(environment.action_space.n, size=(60, 3))
    for game in ("pong",) if processes else THREE:
        whole, cut = environment.open(3), environment.open(3)
        whole.restart(every(3), np.arange(3, dtype=np.uint32), game)
        # the one that goes on has another game behind it
        cut.restart(every(3), np.arange(3, dtype=np.uint32), "breakout")
        for action in actions[:30]:
            whole.send(action)
            whole.receive()
        saved = whole.save()
        assert saved.shape == (3, environment.saved_bytes)
        cut.restore(saved, game)
        np.testing.assert_array_equal(cut.save(), saved)
        for action in actions[30:]:
            after = []
            for copies in (whole, cut):
                copies.send(action)
                after.append(copies.receive())
            for a, b in zip(*after, strict=True):
                np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(cut.save(), whole.save())
        whole.close()
        cut.close()


def test_an_episode_is_a_function_of_its_seed_and_not_of_what_was_played_before():
    environment = Atari(THREE)
    used, fresh = environment.start(), environment.start()
    rng = np.random.default_rng(0)
    used.restart(1, "breakout")
    play(used, rng.integers(6, size=100))
    used.restart(2, "pong")
    play(used, rng.integers(6, size=20))
    actions = rng.integers(6, size=150)
    np.testing.assert_array_equal(used.restart(7, "pong"), fresh.restart(7, "pong"))
    played = play(used, actions)
    assert_alike(played, play(fresh, actions))
    fresh.restart(8, "pong")
    assert differ(played, play(fresh, actions))


def test_the_first_screen_is_the_games_where_nothing_is_done_before_it():
    copy = Atari(("freeway",), idle=0).start()
    first = copy.restart(0, "freeway").copy()
    play(copy, [1] * 20)
    np.testing.assert_array_equal(copy.restart(0, "freeway"), first)


def test_sticky_actions_are_the_only_chance_after_the_idle_frames():
    def episode(environment, seed, actions):
        copy = environment.start()
        copy.restart(seed, "breakout")
        return play(copy, actions)

    rng = np.random.default_rng(0)
    some, others = rng.integers(4, size=(2, 40))
    still = Atari(("breakout",), idle=0, sticky=0.0)
    assert_alike(episode(still, 0, some), episode(still, 1, some))
    held = replace(still, sticky=1.0)
    assert_alike(episode(held, 0, some), episode(held, 1, others))
    loose = replace(still, sticky=0.25)
    assert differ(episode(loose, 0, some), episode(loose, 1, some))


def test_an_episode_ends_with_its_game_or_is_truncated_after_so_many_frames():
    copy = Atari(("breakout",), longest=10).start()
    copy.restart(0, "breakout")
    seen = play(copy, [0] * 9)
    assert [step[2:4] for step in seen] == [(False, False), (False, False), (False, True)]
    copy = Atari(("breakout",)).start()
    copy.restart(0, "breakout")
    seen = play(copy, np.random.default_rng(0).integers(4, size=2000))
    assert seen[-1][2:4] == (True, False)
    # five lives were lost, and the first four ended nothing
    assert len(seen) > 100


def test_worlds_are_games_in_turn_with_one_action_set():
    environment = Atari(THREE)
    assert [environment.world(5, phase) for phase in range(4)] == [*THREE, "breakout"]
    assert environment.action_space == Discrete(6)
    assert Atari(("freeway",)).action_space == Discrete(3)
    assert Atari(("freeway", "breakout")).action_space == Discrete(6)
    assert Atari(("boxing", "breakout")).action_space == Discrete(18)


def test_mistakes_are_told_in_one_line(monkeypatch):
    with pytest.raises(GTRError, match=r"no game 'brekout'; close to it: breakout"):
        Atari(("brekout",))
    # one that ale-py carries and does not play
    with pytest.raises(GTRError, match=r"no game 'combat'$"):
        Atari(("combat",))
    with pytest.raises(GTRError, match="at least one game"):
        Atari(())
    with pytest.raises(GTRError, match="sticky is 2"):
        Atari(("pong",), sticky=2)
    with pytest.raises(GTRError, match="longest 1 or more"):
        Atari(("pong",), longest=0)
    with pytest.raises(GTRError, match="side is 0"):
        Atari(("pong",), side=0)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(GTRError, match=r"pip install 'gtr-rl\[atari\]'") as caught:
        Atari(("pong",)).start()
    assert "\n" not in str(caught.value)
