from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import gtr.learner.run
import gtr.learner.store
from gtr.errors import GTRError
from gtr.learner.faults import WATCHED, FaultWatch
from gtr.learner.run import Setting, sweep, train
from gtr.methods import method
from tests.learner.problems import TINY, checkpoints, small_suite
from tests.probes import NaNAfter


def finite(path):
    arrays = load_file(path)
    return all(np.isfinite(x).all() for name, x in arrays.items() if "track" not in name)


def test_an_environments_nan_stops_the_run_and_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(gtr.learner.store, "_CHECKPOINT_SHARE", np.inf)
    suite = small_suite(NaNAfter(20))
    # healthy to the 20th step: the 21st is number 4 (from 0) of iteration 2's eight
    expected = (
        r"NaN or Inf in the observation at iteration 2, step 4 of its rollout in copy 0 "
        r"\(environment step 64\), seed 5; .*mend the environment"
    )
    for _ in range(2):  # and the same again, from the checkpoint
        with pytest.raises(GTRError, match=expected) as caught:
            train(suite, method("ppo"), seeds=[5, 6], directory=tmp_path)
        assert "\n" not in str(caught.value)
        files = checkpoints(tmp_path)
        assert [path.stem for path in files] == ["000000001", "000000002"]
        assert all(finite(path) for path in files)
        rows = pd.read_csv(tmp_path / "metrics.csv")
        assert rows["iteration"].max() == 1


def test_a_learning_rate_that_blows_up_names_what_it_blew_up(tmp_path):
    suite = small_suite(config=replace(TINY, learning_rate=1e30))
    with pytest.raises(GTRError, match="lower learning_rate") as caught:
        train(suite, method("ppo"), seeds=2, directory=tmp_path)
    blamed = str(caught.value).split(" in the ")[1].split(" at iteration")[0]
    assert blamed in WATCHED[2:]
    assert "iteration 0" in str(caught.value) or "iteration 1" in str(caught.value)
    assert all(finite(path) for path in checkpoints(tmp_path))


@pytest.mark.parametrize("culprit", WATCHED)
def test_the_first_culprit_of_the_first_iteration_is_named(culprit):
    bit = WATCHED.index(culprit)
    faults = np.zeros((3, 4), np.int32)
    # everything computed after it is NaN too, and another run fails later
    faults[2, 1] = sum(1 << later for later in range(bit, len(WATCHED)))
    faults[0, 2] = 1
    measures = {
        "faults": faults,
        "fault_step": np.full((3, 4), 6),
        "fault_copy": np.full((3, 4), 2),
    }
    labels = pd.DataFrame({"setting": ["a", "a", "b"], "seed": [0, 1, 9]})
    with pytest.raises(GTRError) as caught:
        FaultWatch(labels, 32).sound(measures, 10)
    message = str(caught.value)
    assert message.startswith(f"NaN or Inf in the {culprit} at iteration 11")
    assert "(environment step 352), seed 9 (b)" in message
    assert ("step 6 of its rollout in copy 2" in message) == (bit < 2)
    assert FaultWatch(labels, 32).sound({"faults": np.zeros((3, 4), np.int32)}, 10).all()


def test_a_run_that_was_lost_stays_lost_and_the_last_setting_is_not_given_up(capsys):
    watch = FaultWatch(pd.DataFrame({"setting": ["a", "a", "b"], "seed": [0, 1, 0]}), 32)

    def chunk(*faults):
        return {"faults": np.array(faults), "fault_step": np.zeros((3, 3), int)}

    first = watch.sound(chunk([0, 0, 0], [0, 4, 0], [0, 0, 0]), 0)
    np.testing.assert_array_equal(first, [[1, 1, 1], [1, 0, 0], [1, 1, 1]])
    second = watch.sound(chunk([0, 0, 4], [0, 0, 0], [0, 0, 0]), 3)
    np.testing.assert_array_equal(second, [[1, 1, 0], [0, 0, 0], [1, 1, 1]])
    told = "given up: NaN or Inf in the policy output at iteration 1 (environment step 32), seed 1"
    assert capsys.readouterr().out == f"{told} (a)\n"
    with pytest.raises(GTRError, match=r"policy output at iteration 8 .*seed 0 \(b\)"):
        watch.sound(chunk([0, 0, 0], [0, 0, 0], [0, 0, 4]), 6)


def test_a_setting_that_blows_up_is_given_up_and_the_others_are_what_they_are_alone(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)
    suite = small_suite()
    sound = Setting(method("ppo"), TINY, "sound")
    wild = Setting(method("ppo"), replace(TINY, learning_rate=1e30), "wild")
    alone = train(suite, method("ppo"), seeds=2)
    for _ in range(2):  # and the same from the last checkpoint
        rows = sweep(suite, [wild, sound], seeds=2, directory=tmp_path).metrics
        kept = rows[rows["setting"] == "sound"].drop(columns="setting").reset_index(drop=True)
        pd.testing.assert_frame_equal(kept, alone.metrics, rtol=1e-5, check_dtype=False)
        lost = rows[rows["setting"] == "wild"]
        assert len(lost) <= 2
        assert np.isfinite(lost["policy_loss"]).all()
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 1
    assert told[0].startswith("given up: NaN or Inf in the ")
    assert told[0].endswith("(wild)")
