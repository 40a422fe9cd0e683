"""Runs whose environments are outside JAX."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import gtr.environments.simulators
import gtr.learner.run
import gtr.learner.store
from gtr.environments.gymnasium_adapter import Gymnasium
from gtr.environments.mujoco_variations import Flip
from gtr.errors import GTRError
from gtr.learner.run import Setting, sweep, train
from gtr.methods import method
from tests.host_probes import HostClock
from tests.learner.problems import TINY, Clock, assert_same, checkpoints, small_suite

ROBOT = Gymnasium("HalfCheetah-v5", variation=Flip())
CONTINUOUS = replace(TINY, normalise_observations=True, normalise_rewards=True)


@pytest.fixture
def every_iteration_is_a_chunk(monkeypatch):
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(gtr.learner.store, "_CHECKPOINT_SHARE", np.inf)


@pytest.mark.parametrize(("name", "seeds"), [("ppo", 1), ("gtr", 3)])
def test_outside_jax_a_run_is_the_one_inside(name, seeds):
    """The clocks are alike and draw nothing, so all that differs is who steps them."""
    inside = train(small_suite(Clock()), method(name), seeds=seeds).metrics
    outside = train(small_suite(HostClock()), method(name), seeds=seeds).metrics
    exact = ["iteration", "seed", "step", "phase", "episodes", "return", "length"]
    pd.testing.assert_frame_equal(inside[exact], outside[exact])
    pd.testing.assert_frame_equal(inside, outside, rtol=1e-3, atol=1e-4)


def test_processes_change_nothing():
    alone = train(small_suite(HostClock()), method("gtr"), seeds=2)
    spread = train(small_suite(HostClock(processes=3)), method("gtr"), seeds=2)
    pd.testing.assert_frame_equal(alone.metrics, spread.metrics)
    assert_same(alone.state, spread.state)


@pytest.mark.parametrize("name", ["ppo-kl", "ppo-ewma", "gtr"])
def test_a_robot_run_that_was_cut_is_one_without_a_cut(tmp_path, name, every_iteration_is_a_chunk):
    suite = small_suite(ROBOT, CONTINUOUS, phase_iterations=6)
    whole = train(suite, method(name), seeds=2, directory=tmp_path / "whole")

    def stop(status):
        if status.done == 9 * 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(suite, method(name), seeds=2, directory=tmp_path / "cut", progress=stop)
    assert checkpoints(tmp_path / "cut")[-1].stem == "000000009"
    again = train(suite, method(name), seeds=2, directory=tmp_path / "cut")
    assert_same(whole.state, again.state)
    first, second = (tmp_path / one / "metrics.csv" for one in ("whole", "cut"))
    assert first.read_bytes() == second.read_bytes()


def test_simulators_that_cannot_be_saved_begin_anew_and_say_so(
    tmp_path, capsys, every_iteration_is_a_chunk
):
    # 8 steps an iteration and episodes of 5: the cut falls into one
    suite = small_suite(HostClock(limit=5, saves=False))

    def stop(status):
        if status.done == 3 * 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(suite, method("ppo"), directory=tmp_path, progress=stop)
    rows = train(suite, method("ppo"), directory=tmp_path).metrics
    told = capsys.readouterr().out
    assert "clock cannot save its state" in told
    assert "at iteration 3 begin anew" in told
    # steps 24 to 28 are an episode of its own now, where step 25 would have been the end of one
    assert rows["episodes"][:5].tolist() == [4, 8, 4, 4, 8]
    assert (rows["return"].dropna() == 15).all()


FAILURES = {
    "raises": "copy 0 raised ValueError: the clock is broken at",
    "shape": r"copy 0 gave an observation of shape \(2,\), not \(1,\) at",
    "reward": r"copy 0 gave a reward of shape \(3,\), not \(\) at",
    # the first copies of the two processes fail at once
    "dies": "copy [02] lost its process, which ended with code 7 at",
    "hangs": "copy 0 did not answer within 5 s at",
}


@pytest.mark.parametrize("fault", FAILURES)
def test_a_simulator_that_fails_stops_the_run_and_is_named(
    tmp_path, monkeypatch, fault, every_iteration_is_a_chunk
):
    monkeypatch.setattr(gtr.environments.simulators, "PATIENCE", 5.0)
    processes = 2 if fault in ("dies", "hangs") else 0
    clock = HostClock(fault=fault, fault_at=20, processes=processes)
    where = r" iteration 2, step 3 of its rollout \(environment step 64\), seed 5; .*mend the"
    with pytest.raises(GTRError, match=f"clock: {FAILURES[fault]}{where} environment") as caught:
        train(small_suite(clock), method("ppo"), seeds=[5], directory=tmp_path)
    assert "\n" not in str(caught.value)
    assert [path.stem for path in checkpoints(tmp_path)] == ["000000001", "000000002"]


@pytest.mark.parametrize(("fault", "culprit"), [("nan", "observation"), ("nan reward", "reward")])
def test_a_nan_of_a_simulator_is_named_with_its_step(tmp_path, fault, culprit):
    clock = HostClock(fault=fault, fault_at=20)
    expected = (
        f"NaN or Inf in the {culprit} at iteration 2, step 3 of its rollout in copy 0 "
        r"\(environment step 64\), seed 5"
    )
    with pytest.raises(GTRError, match=expected):
        train(small_suite(clock), method("ppo"), seeds=[5, 6], directory=tmp_path)


def test_a_setting_that_blows_up_is_given_up_and_the_others_go_on(capsys):
    suite = small_suite(ROBOT, TINY, phase_iterations=4)
    sound = Setting(method("ppo"), TINY, "sound")
    wild = Setting(method("ppo"), replace(TINY, learning_rate=1e30), "wild")
    alone = train(suite, method("ppo"), seeds=2)
    rows = sweep(suite, [wild, sound], seeds=2).metrics
    kept = rows[rows["setting"] == "sound"].drop(columns="setting").reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, alone.metrics, rtol=1e-4, check_dtype=False)
    assert "given up: NaN or Inf in the " in capsys.readouterr().out


def test_the_oracle_begins_anew_with_each_phase():
    suite = small_suite(ROBOT, TINY, phase_iterations=3)
    rows = train(suite, method("ppo"), fresh_each_phase=True).metrics
    assert rows["weight_norm"][3] == pytest.approx(rows["weight_norm"][0], rel=1e-2)
    assert rows["weight_norm"][3] != rows["weight_norm"][0]
