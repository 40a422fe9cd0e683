import math
from dataclasses import replace

import pandas as pd
import pytest

import gtr
import gtr.learner.run
import gtr.learner.store
from gtr.learner.run import train
from gtr.methods import method
from tests.learner.problems import TINY, assert_same

BATCH = TINY.environments * TINY.rollout_length


class Cut(Exception):
    pass


def test_a_training_cut_in_the_middle_ends_as_one_that_was_not(tmp_path, monkeypatch):
    suite = replace(gtr.suite("craftax-goals"), phases=2, phase_budget=30 * BATCH, config=TINY)

    def run(name, progress=None):
        return train(suite, method("ppo"), directory=tmp_path / name, progress=progress)

    def cut(status):
        if status.done >= 40 * BATCH:
            raise Cut

    whole = run("whole")
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(gtr.learner.store, "_CHECKPOINT_SHARE", math.inf)
    with pytest.raises(Cut):
        run("cut", cut)
    resumed = run("cut")
    assert_same(resumed.state, whole.state)
    pd.testing.assert_frame_equal(resumed.metrics, whole.metrics, check_exact=True)
    files = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("whole", "cut")]
    assert files[0] == files[1]

    rows = whole.metrics
    achievements = rows.filter(like="achievement/")
    assert achievements.shape[1] == 22
    ended = rows["episodes"] > 0
    assert ended.any()
    assert achievements[ended].isin([0.0, 1.0]).any(axis=None)
    assert rows.loc[~ended, "score_percent"].isna().all()
    # in phase 0 the score is the return, in percent of 22
    first = rows[ended & (rows["phase"] == 0)]
    assert len(first)
    assert (first["score_percent"] - first["return"] / 22 * 100).abs().max() < 1e-3
