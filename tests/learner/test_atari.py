"""Training on games that run on the host."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import gtr.learner.run
import gtr.learner.store
from gtr.environments.atari import Atari
from gtr.learner.config import LearnerConfig
from gtr.learner.run import train
from gtr.methods import method
from gtr.networks.architectures import MLP
from tests.learner.problems import assert_same, checkpoints, small_suite

SMALL = LearnerConfig(environments=2, rollout_length=16, epochs=1, minibatches=2, network=MLP((8,)))
# Episodes of 10 steps, so that they end within batches, at their ends and across them.
GAMES = Atari(("pong", "breakout"), longest=40)


class Cut(Exception):
    pass


def test_a_training_cut_in_each_phase_ends_as_one_that_was_not(tmp_path, monkeypatch):
    def run(directory, environment=GAMES, stop=math.inf):
        def progress(status):
            if status.done >= stop * 32:
                raise Cut

        suite = small_suite(environment, SMALL, phases=2, phase_iterations=3)
        return train(suite, method("gtr"), directory=directory, progress=progress)

    whole = run(tmp_path / "whole")
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(gtr.learner.store, "_CHECKPOINT_SHARE", math.inf)
    for stop in (2, 5):
        with pytest.raises(Cut):
            run(tmp_path / "cut", stop=stop)
    # where the copies run makes no difference either
    resumed = run(tmp_path / "cut", replace(GAMES, processes=2))
    assert_same(resumed.state, whole.state)
    pd.testing.assert_frame_equal(resumed.metrics, whole.metrics, check_exact=True)
    last = [load_file(checkpoints(tmp_path / side)[-1]) for side in ("whole", "cut")]
    assert_same(*last)
    assert whole.metrics["episodes"].sum() > 0


def test_the_return_that_is_reported_is_the_games_score():
    """An iteration is an episode: its score is a sum of SpaceInvaders' 5 to 30 points a hit."""
    environment = Atari(("space_invaders",), longest=480)
    config = replace(SMALL, environments=1, rollout_length=120)
    suite = small_suite(environment, config, phases=1, phase_iterations=2)
    metrics = train(suite, method("ppo")).metrics
    np.testing.assert_array_equal(metrics["length"], 120)
    returns = metrics["return"].to_numpy()
    assert (returns % 5 == 0).all()
    assert returns.max() > 10
