"""The slippery Ant in JAX through the whole trainer; compiling it takes minutes on a CPU."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import gtr
import gtr.learner.run
import gtr.learner.store
from gtr.learner.config import configure
from gtr.learner.run import train
from gtr.methods import method
from tests.learner.problems import assert_same

COPIES, STEPS = 2, 4


class Cut(Exception):
    pass


@pytest.mark.slow
def test_a_training_that_was_cut_goes_on_to_the_bit(tmp_path, monkeypatch):
    full = gtr.suite("ant-slippery", "full")
    config = configure(
        full.config, environments=COPIES, rollout_length=STEPS, epochs=1, minibatches=2
    )
    suite = replace(full, phases=2, phase_budget=2 * COPIES * STEPS, config=config)

    def run(name, progress=None):
        return train(suite, method("gtr"), directory=tmp_path / name, progress=progress)

    def cut(status):
        if status.done >= 2 * COPIES * STEPS:
            raise Cut

    whole = run("whole")
    assert np.isfinite(whole.metrics["policy_loss"]).all()
    assert list(whole.metrics["phase"]) == [0, 0, 1, 1]
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(gtr.learner.store, "_CHECKPOINT_SHARE", math.inf)
    with pytest.raises(Cut):
        run("cut", cut)
    resumed = run("cut")
    assert_same(resumed.state, whole.state)
    pd.testing.assert_frame_equal(resumed.metrics, whole.metrics, check_exact=True)
