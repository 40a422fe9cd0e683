"""Policies that are kept at a phase's end are what acted there; damaged ones are refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

from gtr.errors import GTRError
from gtr.learner.anchors import Policy
from gtr.learner.config import from_description
from gtr.learner.policies import SEEDS, kept_seeds, path_of, read
from gtr.learner.run import Setting, describe, sweep, train
from gtr.methods import method
from gtr.suites import suites
from tests.learner.problems import TINY, assert_same, differ, small_suite

NORMALISED = replace(TINY, normalise_observations=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    suite = small_suite(config=NORMALISED, phase_iterations=3)
    return train(suite, method("ppo"), seeds=[4, 2, 9, 7], directory=directory)


def of_seed(state, place):
    import jax

    return jax.tree.map(lambda x: x[place], Policy(state.trained.actor, state.moments))


def test_the_last_policy_is_that_of_the_final_state(run):
    for place, seed in enumerate([4, 2, 9]):
        policy = of_seed(run.state, place)
        assert policy.moments is not None
        assert_same(read(run.directory, policy, phase=1, seed=seed), policy)


def test_the_policy_of_a_phase_is_that_of_a_training_that_ends_there(run):
    setting = Setting(method("ppo"), NORMALISED)
    suite = small_suite(config=NORMALISED, phase_iterations=3)
    ended = sweep(suite, [setting], seeds=[4, 2, 9, 7], iterations=3)
    policy = of_seed(ended.state, 1)
    found = read(run.directory, policy, phase=0, seed=2)
    assert_same(found, policy)
    assert differ(found, read(run.directory, policy, phase=1, seed=2))
    observation = np.eye(6, dtype=np.float32)
    np.testing.assert_array_equal(found(observation), policy(observation))


def test_the_first_seeds_are_kept_and_only_where_one_setting_is_trained(run, tmp_path):
    assert kept_seeds(run.directory, 0) == [4, 2, 9]
    assert SEEDS == 3
    assert kept_seeds(run.directory, 2) == []
    settings = [Setting(method("ppo"), TINY, "a"), Setting(method("ppo", clip=0.1), TINY, "b")]
    sweep(small_suite(phase_iterations=1), settings, directory=tmp_path)
    assert not (tmp_path / "policies").exists()


@pytest.mark.parametrize("size", ["cpu", "full"])
def test_a_configuration_is_read_back_as_it_was_described(size):
    for suite in suites(size):
        described = describe(suite, [Setting(method("ppo"), suite.config)], [0], 1, False)
        learner = json.loads(json.dumps(described))["learner"]
        assert from_description(learner) == suite.config, suite.name


def test_damaged_and_foreign_files_are_named(run, tmp_path):
    policy = of_seed(run.state, 0)
    target = path_of(tmp_path, 0)
    target.parent.mkdir()
    whole = path_of(run.directory, 0).read_bytes()
    target.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GTRError, match=r"phase-0\.safetensors is damaged"):
        read(tmp_path, policy, phase=0, seed=4)
    target.write_bytes(next((run.directory / "checkpoints").iterdir()).read_bytes())
    with pytest.raises(GTRError, match="holds no policies of this version"):
        kept_seeds(tmp_path, 0)
    target.write_bytes(whole)
    with pytest.raises(GTRError, match="of another shape"):
        read(tmp_path, replace(policy, moments=None), phase=0, seed=4)
