from dataclasses import replace

import jax
import numpy as np
import pytest

from gtr.errors import GTRError
from gtr.learner.randomness import key_words
from gtr.learner.run import Setting, sweep, train
from gtr.methods import method
from tests.learner.problems import TINY, assert_same, differ, small_suite


def of_run(run, index):
    return jax.tree.map(lambda x: x[index], run.state)


@pytest.fixture(scope="module")
def pair():
    return train(small_suite(), method("ppo"), seeds=2)


def test_equal_configurations_give_equal_trajectories(pair):
    again = train(small_suite(), method("ppo"), seeds=2)
    assert_same(again.state, pair.state)
    assert again.metrics.equals(pair.metrics)


def test_different_seeds_differ(pair):
    assert differ(of_run(pair, 0).trained.actor, of_run(pair, 1).trained.actor)
    returns = pair.metrics.pivot(index="iteration", columns="seed", values="kl")
    assert (returns[0] != returns[1]).all()


@pytest.mark.parametrize("seeds", [[1], [7, 1, 0]])
def test_a_seeds_numbers_do_not_depend_on_its_company(seeds, pair):
    other = train(small_suite(), method("ppo"), seeds=seeds)
    assert_same(of_run(other, seeds.index(1)), of_run(pair, 1))
    mine = other.metrics[other.metrics["seed"] == 1].reset_index(drop=True)
    assert mine.equals(pair.metrics[pair.metrics["seed"] == 1].reset_index(drop=True))


def test_a_seeds_numbers_do_not_depend_on_a_sweep_of_settings(pair):
    faster = replace(TINY, learning_rate=5e-2, entropy=0.0)
    settings = [
        Setting(method("ppo", clip=0.1), faster, "faster"),
        Setting(method("ppo"), TINY, "plain"),
    ]
    swept = sweep(small_suite(), settings, seeds=2)
    mine = swept.metrics[swept.metrics["setting"] == "plain"].drop(columns="setting")
    assert mine.reset_index(drop=True).equals(pair.metrics)
    assert_same(jax.tree.map(lambda x: x[2:], swept.state), pair.state)
    assert differ(of_run(swept, 0).trained, of_run(swept, 2).trained)


def test_settings_that_differ_in_more_than_numbers_are_refused():
    for other in (
        Setting(method("ppo"), replace(TINY, epochs=3), "b"),
        Setting(method("spo"), TINY, "b"),
        Setting(method("gtr", anchors=3), TINY, "b"),
    ):
        first = method("gtr") if other.method.name == "gtr" else method("ppo")
        with pytest.raises(GTRError, match="differ in more than numbers"):
            sweep(small_suite(), [Setting(first, TINY, "a"), other])


@pytest.mark.parametrize("seeds", [0, [], [1, 1], [-1], [2**32]])
def test_seeds_that_cannot_be_are_refused(seeds):
    with pytest.raises(GTRError, match="seeds"):
        train(small_suite(), method("ppo"), seeds=seeds)


def test_keys_are_a_function_of_seed_and_iteration_alone():
    words = key_words(3, range(0, 6))
    assert words.shape == (6, 2, 2)
    np.testing.assert_array_equal(key_words(3, range(4, 6)), words[4:])
    # the schedule's is the seed's own, the other is new in every iteration
    assert len({w.tobytes() for w in words[:, 0]}) == 1
    assert len({w.tobytes() for w in words[:, 1]}) == 6
    assert differ(key_words(4, range(0, 6))[:, 0], words[:, 0])
