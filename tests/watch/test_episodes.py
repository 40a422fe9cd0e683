"""Episodes that are played for a film: known returns, the worlds of training, no chance left."""

from dataclasses import replace
from itertools import islice

import equinox as eqx
import jax
import numpy as np
import pytest

from gtr.environments.changes import ObservationOffset
from gtr.environments.corner_switch import CornerSwitch
from gtr.learner.anchors import Policy
from gtr.learner.randomness import key_words, keys_of
from gtr.learner.run import problem_of, train
from gtr.methods import method
from gtr.networks.architectures import GRU, MLP
from gtr.watch.episodes import play, stage_of
from gtr.watch.policies import Kept, blank_policy
from tests.host_probes import HostClock
from tests.learner.problems import CORNERS, TINY, Clock, assert_same, small_suite


@pytest.mark.parametrize("environment", [Clock(3), HostClock(3)], ids=["in JAX", "outside"])
def test_moments_and_returns_are_those_of_a_known_clock(environment):
    problem = problem_of(small_suite(environment))
    stage = stage_of(problem)
    for phase in (0, 1):  # truncated in one, terminated in the other
        moments = play(
            stage, blank_policy(problem), stage.world(0, phase), np.random.default_rng(0)
        )
        told = [tuple(moment[1:]) for moment in islice(moments, 6)]
        assert told == [
            (1, 0, 0.0, False),
            (1, 1, 1.0, False),
            (1, 2, 3.0, False),
            (1, 3, 6.0, True),
            (2, 0, 0.0, False),
            (2, 1, 1.0, False),
        ]
    stage.close()


def test_worlds_are_those_that_the_run_met():
    problem = problem_of(small_suite(ObservationOffset(CORNERS)))
    stage = stage_of(problem)
    for seed, phase in ((0, 1), (5, 1), (5, 3)):
        schedule = keys_of(key_words(seed, range(70, 71))[0]).schedule
        assert_same(stage.world(seed, phase), jax.device_get(problem.world(schedule, phase)))


@pytest.mark.parametrize("network", [MLP((8,)), GRU(8, MLP((8,)))], ids=["mlp", "gru"])
def test_a_kept_policy_plays_as_the_trained_one_and_always_alike(tmp_path, network):
    suite = small_suite(config=replace(TINY, network=network), phase_iterations=2)
    run = train(suite, method("ppo"), seeds=2, directory=tmp_path)
    problem = problem_of(suite)
    trained = jax.tree.map(lambda x: x[1], Policy(run.state.trained.actor, run.state.moments))
    kept = Kept(tmp_path, problem).policy(1, 1)

    def steps(policy, stage, seed=3):
        moments = play(stage, policy, stage.world(1, 1), np.random.default_rng(seed))
        return [jax.tree.map(np.asarray, moment) for moment in islice(moments, 40)]

    stage = stage_of(problem)
    first = steps(kept, stage)
    assert_same(steps(trained, stage), first)
    assert_same(steps(kept, stage_of(problem)), first)
    assert any(
        a.scene.column != b.scene.column for a, b in zip(first, steps(kept, stage, 4), strict=True)
    )


def test_a_policy_with_a_memory_plays_by_it():
    config = replace(TINY, network=GRU(8, MLP((8,))))
    problem = problem_of(small_suite(CornerSwitch(9), config))
    policy = blank_policy(problem)
    policy = eqx.tree_at(
        lambda one: one.actor.network.head.weight, policy, replace_fn=lambda x: 1e3 * x
    )
    forgetful = eqx.tree_at(
        lambda one: one.actor.network.core.recurrent, policy, replace_fn=lambda x: 0 * x
    )
    stage = stage_of(problem)
    seen = [
        [
            (int(moment.scene.row), int(moment.scene.column))
            for moment in islice(play(stage, one, stage.world(1, 0), np.random.default_rng(0)), 60)
        ]
        for one in (policy, policy, forgetful)
    ]
    assert seen[0] == seen[1] != seen[2]
