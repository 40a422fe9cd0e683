import math
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

import gtr.learner.run
import gtr.learner.store
from gtr.interruption import Interrupted
from gtr.learner.run import Setting, sweep, train
from gtr.methods import method
from gtr.networks.architectures import GRU, MLP
from tests.learner.problems import ONE_STEP, TINY, assert_same, checkpoints, small_suite

ROOT = Path(__file__).parents[2]
BATCH = TINY.environments * TINY.rollout_length


class Cut(Exception):
    pass


def policy_files(directory):
    return {path.name: path.read_bytes() for path in sorted((directory / "policies").iterdir())}


def cut_after(iterations):
    def progress(status):
        if status.done >= iterations * BATCH:
            raise Cut

    return progress


NORMALISED = replace(
    TINY,
    normalise_observations=True,
    normalise_rewards=True,
    advantage_scale="running",
    anneal=True,
)
CASES = {
    "ppo": ("ppo", TINY, False),
    "gtr": ("gtr", TINY, False),
    "ppo-ewma": ("ppo-ewma", ONE_STEP, False),
    "ppo-kl": ("ppo-kl", TINY, False),
    "normalised": ("gtr-one-anchor", NORMALISED, False),
    "oracle": ("ppo", TINY, True),
    "gru": ("gtr", replace(TINY, network=GRU(8, MLP((8,)))), False),
    "layer norm": ("ppo", replace(TINY, network=MLP((8,), layer_norm=True)), False),
    "l2-init": ("ppo", replace(TINY, regulariser="l2-init", regularisation=1e-2), True),
    "c-chain": ("gtr", replace(TINY, regulariser="c-chain", regularisation=1e2), False),
}


@pytest.mark.parametrize("case", CASES)
def test_a_training_cut_twice_ends_as_one_that_was_not(case, tmp_path, monkeypatch):
    name, config, fresh = CASES[case]
    suite = small_suite(config=config)

    def run(directory, progress=None):
        return train(
            suite,
            method(name),
            seeds=2,
            directory=directory,
            fresh_each_phase=fresh,
            progress=progress,
        )

    whole = run(tmp_path / "whole")
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)
    # only the first chunk is followed by a checkpoint: metrics.csv then knows more than it
    monkeypatch.setattr(gtr.learner.store, "_CHECKPOINT_SHARE", 0.0)
    with pytest.raises(Cut):
        run(tmp_path / "cut", cut_after(4))
    assert [path.stem for path in checkpoints(tmp_path / "cut")] == ["000000001"]
    assert len(pd.read_csv(tmp_path / "cut" / "metrics.csv")) == 8
    monkeypatch.setattr(gtr.learner.store, "_CHECKPOINT_SHARE", math.inf)
    with pytest.raises(Cut):
        run(tmp_path / "cut", cut_after(23))
    assert [path.stem for path in checkpoints(tmp_path / "cut")] == ["000000022", "000000023"]
    told = []
    resumed = run(tmp_path / "cut", lambda status: told.append(status.done // BATCH))
    assert told[0] == 24

    metrics = (tmp_path / "cut" / "metrics.csv").read_bytes()
    assert metrics == (tmp_path / "whole" / "metrics.csv").read_bytes()
    assert_same(resumed.state, whole.state)
    pd.testing.assert_frame_equal(resumed.metrics, whole.metrics, check_exact=True)
    last = [load_file(checkpoints(tmp_path / side)[-1]) for side in ("whole", "cut")]
    assert_same(*last)
    kept = [policy_files(tmp_path / side) for side in ("whole", "cut")]
    assert list(kept[0]) == ["phase-0.safetensors", "phase-1.safetensors"]
    assert kept[0] == kept[1]
    # once more changes nothing
    assert_same(run(tmp_path / "cut").state, whole.state)
    assert (tmp_path / "cut" / "metrics.csv").read_bytes() == metrics


def test_the_oracle_begins_each_phase_anew():
    suite = small_suite()
    oracle = train(suite, method("ppo"), seeds=2, fresh_each_phase=True).metrics
    learner = train(suite, method("ppo"), seeds=2).metrics
    first = oracle["phase"] == 0
    pd.testing.assert_frame_equal(oracle[first], learner[first])
    drops = oracle["weight_norm"].to_numpy().reshape(-1, 2)
    began, ended = drops[0], drops[19]
    assert (np.abs(drops[20] - began) < np.abs(drops[20] - ended)).all()
    assert oracle["path_length"].iloc[40] < oracle["path_length"].iloc[39]


def test_the_size_of_chunks_does_not_matter(monkeypatch, tmp_path):
    runs, calls = [], []
    for seconds in (0.0, 0.05, 1e9):
        monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", seconds)
        told = []
        runs.append(
            train(
                small_suite(),
                method("gtr"),
                seeds=2,
                directory=tmp_path / str(seconds),
                progress=told.append,
            )
        )
        calls.append(len(told))
    assert (calls[0], calls[2]) == (40, 3)
    for other in runs[1:]:
        assert_same(other.state, runs[0].state)
        assert other.metrics.equals(runs[0].metrics)
    homes = [tmp_path / s for s in ("0.0", "0.05", "1000000000.0")]
    assert len({(home / "metrics.csv").read_bytes() for home in homes}) == 1
    assert policy_files(homes[0]) == policy_files(homes[1]) == policy_files(homes[2])


def test_what_is_returned_is_what_is_written(tmp_path):
    kept = train(small_suite(), method("ppo"), seeds=2, directory=tmp_path)
    free = train(small_suite(), method("ppo"), seeds=2)
    assert_same(kept.state, free.state)
    assert list(kept.metrics.columns) == list(free.metrics.columns)
    for name in kept.metrics.columns:
        np.testing.assert_allclose(kept.metrics[name], free.metrics[name], rtol=1e-6, err_msg=name)


def test_a_stop_at_an_iteration_is_the_beginning_of_the_whole():
    suite, config = small_suite(), TINY
    whole = train(suite, method("ppo"), seeds=2).metrics
    part = sweep(suite, [Setting(method("ppo"), config)], seeds=2, iterations=5).metrics
    pd.testing.assert_frame_equal(part, whole.iloc[:10], check_exact=True)


def start(directory, phase_iterations):
    given = [str(directory), str(phase_iterations)]
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.learner.short_training", *given],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def finish(directory, phase_iterations):
    """Runs to the end, and gives the numbers of the iterations that were done for it."""
    process = start(directory, phase_iterations)
    told = process.communicate(timeout=300)[0].split()
    assert process.returncode == 0
    return [int(steps) // BATCH for steps in told]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("undisturbed")
    train(small_suite(), method("ppo"), seeds=2, directory=directory)
    return directory


@pytest.mark.parametrize(
    ("kills", "phase_iterations"), [(3, 20), pytest.param(50, 1500, marks=pytest.mark.slow)]
)
def test_a_training_killed_at_random_moments_ends_as_one_that_was_not(
    kills, phase_iterations, tmp_path
):
    """SIGKILL at a random moment of about the first 20 chunks that follow a start."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    suite = small_suite(phase_iterations=phase_iterations)
    train(suite, method("ppo"), seeds=2, directory=whole)
    rng = random.Random(kills)
    reached = [0]
    for _ in range(kills):
        process = start(cut, phase_iterations)
        assert process.stdout is not None
        reached.append(int(process.stdout.readline()))
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.communicate(timeout=60)
    # every start found what was saved before, and was killed before the end
    assert reached == sorted(set(reached))
    assert finish(cut, phase_iterations)[-1] == 2 * phase_iterations
    assert (cut / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()
    assert_same(load_file(checkpoints(cut)[-1]), load_file(checkpoints(whole)[-1]))
    assert policy_files(cut) == policy_files(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_polite_signal_saves_everything_and_then_stops(number, undisturbed, tmp_path):
    process = start(tmp_path, 20)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(number)
    output = process.communicate(timeout=120)[0].splitlines()
    assert process.returncode == 3
    assert output[-1].startswith("Interrupted: stopped at step ")
    assert output[-1].endswith("the same command continues")
    newest = checkpoints(tmp_path)[-1]
    rows = pd.read_csv(tmp_path / "metrics.csv")
    assert rows["iteration"].max() + 1 == int(newest.stem)
    assert finish(tmp_path, 20)[0] == int(newest.stem) + 1
    assert (tmp_path / "metrics.csv").read_bytes() == (undisturbed / "metrics.csv").read_bytes()


def test_a_signal_that_comes_after_the_checkpoint_saves_everything_too(tmp_path, monkeypatch):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)
    # so that only the first chunk and the signal's are followed by a checkpoint
    monkeypatch.setattr(gtr.learner.store, "_CHECKPOINT_SHARE", 0.0)

    def progress(status):
        if status.done == 3 * BATCH:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(
        Interrupted, match=r"stopped at step .*; the same command continues"
    ) as stop:
        train(small_suite(), method("ppo"), seeds=2, directory=tmp_path, progress=progress)
    stopped = int(str(stop.value).split("step ")[1].split(" of")[0].replace(",", ""))
    assert stopped in (3 * BATCH, 4 * BATCH)
    assert int(checkpoints(tmp_path)[-1].stem) * BATCH == stopped
    with pytest.raises(Interrupted, match="nothing was kept"):
        train(small_suite(), method("ppo"), seeds=2, progress=progress)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_signal_acts_at_once():
    def progress(status):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        train(small_suite(), method("ppo"), seeds=2, progress=progress)
    assert not isinstance(caught.value, Interrupted)


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch):
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = train(
            small_suite(),
            method("ppo"),
            progress=lambda status: signal.raise_signal(signal.SIGINT),
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.metrics["iteration"].max() == 39
