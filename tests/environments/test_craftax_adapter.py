import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from craftax.craftax_classic.constants import Achievement, BlockType
from craftax.craftax_env import make_craftax_env_from_name

from gtr.environments.changes import Changed, Cycle, Goals, RewardSign
from gtr.environments.craftax_adapter import Craftax
from gtr.environments.protocol import Discrete, episode_measures, reset_interval
from gtr.errors import GTRError
from tests.environments.contract import assert_keeps_promises

KEY = jax.random.key(1)
CLASSIC = Craftax("Craftax-Classic-Symbolic-v1")
FULL = Craftax("Craftax-Symbolic-v1")
GOALS = Goals(CLASSIC, (("collect_wood", "place_table"), ("wake_up",), ("place_plant",)))
THEIRS = make_craftax_env_from_name(CLASSIC.env_id, auto_reset=False)
PARAMS = THEIRS.default_params
COPIES, STEPS = 8, 240
START = (jnp.zeros(COPIES, jnp.int32), jnp.zeros(COPIES, bool))

# Compiling takes most of these tests' time, so spend none of it on optimising.
quick = partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def as_theirs(state):
    return state.replace(state_rng=jax.random.wrap_key_data(state.state_rng))


def as_ours(state):
    like = jax.eval_shape(lambda: CLASSIC.reset(KEY, ())[0])
    plain = state.replace(state_rng=jax.random.key_data(state.state_rng))
    return jax.tree.map(lambda leaf, of: jnp.asarray(leaf, of.dtype), plain, like)


@quick
def play(key, rewarded, time, lava):
    """Random actions in both, each step from the same states; the episodes' start is always one.

    Args:
        key: of everything.
        rewarded: the achievements that are, (22,).
        time: steps that are counted at the start, (copies,).
        lava: whether the world is made of it, (copies,).
    """
    world = Changed((), rewarded)
    keys = jax.random.split(key, (2 + STEPS, COPIES))
    fresh = [jax.vmap(GOALS.reset, (0, None))(keys[0], world)]
    fresh.append(jax.vmap(lambda k: THEIRS.reset(k, PARAMS))(keys[0])[::-1])
    fresh[1] = (as_ours(fresh[1][0]), fresh[1][1])
    first = fresh[0][0].replace(timestep=time)
    floor = jnp.where(lava[:, None, None], BlockType.LAVA.value, first.map)
    first = first.replace(map=floor)

    def one(state, key):
        act, key = jax.random.split(key)
        action = jax.random.randint(act, (), 0, 17)
        ours = GOALS.step(key, state, action, world)
        observation, after, reward, done, info = THEIRS.step(key, as_theirs(state), action, PARAMS)
        told = episode_measures(GOALS, ours.state, world)
        theirs = (as_ours(after), observation, reward, done)
        before, now = state.achievements, ours.state.achievements
        return ours, theirs, told, info, (before, now, ours.state.player_health)

    def both(state, keys):
        seen = jax.vmap(one)(state, keys)
        ours = seen[0]
        done = ours.terminated | ours.truncated
        following = jax.tree.map(
            lambda new, old: jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old),
            first,
            ours.state,
        )
        return following, seen

    return fresh, jax.lax.scan(both, first, keys[1:])[1]


@pytest.fixture(scope="module")
def plain():
    return jax.device_get(play(KEY, jnp.ones(22, bool), *START))


def test_every_step_is_craftaxs_own(plain):
    """Against craftax's `step`, from the same states, and where nothing is unrewarded."""
    (mine, theirs), (ours, expected, *_) = plain
    for one, other in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    found = (ours.state, ours.observation, ours.reward, ours.terminated | ours.truncated)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    assert ours.terminated.sum() > COPIES
    assert not ours.truncated.any()


def test_measures_are_the_score_and_the_achievements_of_a_count_by_hand(plain):
    _, (_, (_, _, reward, done), told, info, _) = plain
    checked = 0
    for copy in range(COPIES):
        begins = 0
        for end in np.flatnonzero(done[:, copy]):
            total = reward[begins : end + 1, copy].sum()
            np.testing.assert_allclose(
                told["score_percent"][end, copy], total / 22 * 100, atol=1e-3
            )
            begins, checked = end + 1, checked + 1
    assert checked > COPIES
    unlocked = 0
    for one in Achievement:
        name = one.name.lower()
        rates = told[f"achievement/{name}"][done] * 100
        np.testing.assert_array_equal(rates, info[f"Achievements/{name}"][done])
        unlocked += rates.any()
    assert unlocked > 3
    assert len(told) == 23


def test_unrewarded_achievements_pay_nothing_and_health_still_counts():
    rewarded = np.zeros(22, bool)
    rewarded[[Achievement.WAKE_UP.value, Achievement.COLLECT_WOOD.value]] = True
    _, (ours, (_, _, original, _), *_, (before, now, health)) = jax.device_get(
        play(KEY, jnp.array(rewarded), *START)
    )
    newly = now & ~before
    counted = (newly & rewarded).sum(-1)
    expected = counted + (original - newly.sum(-1))
    np.testing.assert_allclose(ours.reward, expected, atol=1e-6)
    assert counted.sum() > 3
    assert (newly & ~rewarded).sum() > 3
    assert (ours.reward[counted == 0] < 0).any()
    # what is left when every achievement is taken away is the health
    change = np.diff(health.astype(float), axis=0)
    going_on = ~(ours.terminated | ours.truncated)[:-1]
    rest = (ours.reward - counted)[1:]
    np.testing.assert_allclose(rest[going_on], 0.1 * change[going_on], atol=1e-5)


def test_death_terminates_and_the_time_limit_truncates():
    limit = PARAMS.max_timesteps
    time = jnp.array([0, limit - 2, limit - 1, limit - 1] * 2, jnp.int32)
    lava = jnp.arange(COPIES) >= 4
    _, (ours, *_) = jax.device_get(play(KEY, jnp.ones(22, bool), time, lava))
    np.testing.assert_array_equal(ours.truncated[0], [False, False, True, True] + [False] * 4)
    np.testing.assert_array_equal(ours.terminated[0], lava)
    assert ours.truncated[1, 1]


@pytest.mark.parametrize("env", [CLASSIC, FULL], ids=lambda env: env.env_id)
def test_promises(env):
    assert_keeps_promises(env)
    assert env == Craftax(env.env_id)
    state, _ = jax.eval_shape(lambda: env.reset(KEY, ()))
    # a checkpoint is arrays of numbers
    assert all(isinstance(leaf.dtype, np.dtype) for leaf in jax.tree.leaves(state))
    told = jax.eval_shape(lambda state: env.episode_measures(state, ()), state)
    assert {(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in told.values()} == {
        ((), jnp.dtype(jnp.float32), False)
    }


def test_spaces_and_what_all_achievements_are_worth():
    assert (CLASSIC.observation_shape, CLASSIC.action_space) == ((1345,), Discrete(17))
    assert (FULL.observation_shape, FULL.action_space) == ((8268,), Discrete(43))
    # the maxima that the authors' table of scores is in percent of
    assert (sum(CLASSIC.rewards), sum(FULL.rewards)) == (22, 226)
    assert (len(CLASSIC.achievements), len(FULL.achievements)) == (22, 67)


def test_goals_are_drawn_in_turns_never_the_same_twice_in_a_row():
    draw = jax.jit(jax.vmap(lambda key, phase: GOALS.world(key, phase).change, (None, 0)))
    sets = [tuple(name in names for name in CLASSIC.achievements) for names in GOALS.goals]
    orders = set()
    for seed in range(20):
        worlds = np.asarray(draw(jax.random.key(seed), jnp.arange(8)))
        assert worlds[0].all()
        numbers = [sets.index(tuple(world.tolist())) for world in worlds[1:]]
        assert sorted(numbers[:3]) == [0, 1, 2]
        assert numbers == (numbers[:3] * 3)[:7]
        orders.add(tuple(numbers[:3]))
    assert len(orders) == 6


def test_goals_keep_the_promises_and_wrapping_hides_nothing():
    assert_keeps_promises(GOALS)
    assert Goals(CLASSIC, GOALS.goals) == GOALS
    assert reset_interval(GOALS) == reset_interval(CLASSIC) > 1
    assert reset_interval(Cycle((CLASSIC, RewardSign(CLASSIC)))) == reset_interval(CLASSIC)


def test_mistakes_are_told_in_one_line(monkeypatch):
    with pytest.raises(GTRError, match="there is Craftax-Classic-Symbolic-v1, "):
        Craftax("Craftax-Pixels-v1")
    with pytest.raises(GTRError, match="no achievement 'collect_woods'; there is collect_wood"):
        Goals(CLASSIC, (("collect_woods",), ("wake_up",)))
    with pytest.raises(GTRError, match="at least two"):
        Goals(CLASSIC, (("wake_up",),))
    monkeypatch.setitem(sys.modules, "craftax.craftax_env", None)
    with pytest.raises(GTRError, match=r"pip install 'gtr-rl\[craftax\]'") as caught:
        Craftax(CLASSIC.env_id)
    assert "\n" not in str(caught.value)
