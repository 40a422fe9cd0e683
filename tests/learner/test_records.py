import re
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tensorboardX.proto.event_pb2 import Event

import gtr.learner.run
import gtr.learner.store
from gtr.learner.run import train
from gtr.loggers.tensorboard import TensorBoard
from gtr.methods import method
from tests.learner.problems import TINY, small_suite

ROOT = Path(__file__).parents[2]
BATCH = TINY.environments * TINY.rollout_length


def documented_columns():
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text.split("| column | meaning |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| ([a-z_, ]+) \|", table, re.MULTILINE)
    return [name for cell in cells for name in cell.split(", ")]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    directory = tmp_path_factory.mktemp("recorded")
    return train(small_suite(), method("gtr"), seeds=[3, 8], directory=directory, log="tensorboard")


def test_the_columns_are_the_documented_ones(recorded):
    header = (recorded.directory / "metrics.csv").read_text().splitlines()[0].split(",")
    assert header == documented_columns()
    assert len(header) > 25


def test_there_is_one_row_an_iteration_and_seed(recorded):
    rows = pd.read_csv(recorded.directory / "metrics.csv")
    assert list(zip(rows["iteration"], rows["seed"], strict=True)) == [
        (i, seed) for i in range(40) for seed in (3, 8)
    ]
    np.testing.assert_array_equal(rows["step"], (rows["iteration"] + 1) * BATCH)
    np.testing.assert_array_equal(rows["phase"], rows["iteration"] // 20)
    assert recorded.directory.joinpath("metrics.csv").read_bytes().endswith(b"\n")


def test_numbers_are_within_their_bounds(recorded):
    rows = recorded.metrics
    for name in ("clip_fraction", "kernel_mean", "redescended_fraction", "dormant_fraction"):
        assert rows[name].dropna().between(0, 1).all(), name
    for name in ("return", "directional_efficiency"):
        assert rows[name].dropna().between(0, 1.00001).all(), name
    assert rows["entropy"].between(0, np.log(4) + 1e-5).all()
    assert rows["explained_variance"].le(1).all()
    assert rows["step_cosine"].dropna().between(-1, 1).all()
    assert rows["length"].dropna().between(1, 6).all()
    assert (rows["episodes"] > 0).all()
    # the path begins anew with each phase, and is never shorter than the way as the crow flies
    assert (rows["net_displacement"] <= rows["path_length"] + 1e-5).all()
    for _, run in rows.groupby(["seed", "phase"]):
        np.testing.assert_allclose(
            run["path_length"], run["step_distance"].cumsum(), rtol=1e-3, atol=1e-5
        )
        assert run["net_displacement"].iloc[0] == pytest.approx(
            run["path_length"].iloc[0], rel=0.01
        )


def test_a_methods_columns_are_empty_where_it_measures_nothing():
    rows = train(small_suite(), method("ppo"), seeds=2).metrics
    assert rows[["stiffness", "kernel_mean", "anchor_spread"]].isna().all(axis=None)
    assert rows[["kl", "ratio_max", "clip_fraction", "return"]].notna().all(axis=None)


def records_of(path):
    """Events of a TFRecord file: length, its checksum, the event, its checksum."""
    content = path.read_bytes()
    place = 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        yield Event.FromString(content[place + 12 : place + 12 + length])
        place += 16 + length


def scalars(directory):
    """Every (step, tag): value that TensorBoard shows, its rule of purging applied."""
    shown = []
    for path in sorted(directory.glob("events*")):
        for event in records_of(path):
            if event.HasField("session_log"):
                shown = [one for one in shown if one[0] < event.step]
            shown += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
    return shown


def test_tensorboard_shows_every_measured_number_once(recorded):
    for seed in (3, 8):
        shown = scalars(recorded.directory / "tensorboard" / f"seed-{seed}")
        assert max(Counter((step, tag) for step, tag, _ in shown).values()) == 1
        rows = recorded.metrics[recorded.metrics["seed"] == seed].set_index("step")
        kl = {step: value for step, tag, value in shown if tag == "train/approx_kl"}
        np.testing.assert_allclose(list(kl.values()), rows["kl"].loc[list(kl)], rtol=1e-5)
        assert len(kl) == 40
        returns = [step for step, tag, _ in shown if tag == "rollout/ep_rew_mean"]
        assert returns == list(rows["return"].dropna().index)


def test_a_run_continued_within_a_second_keeps_its_events(tmp_path):
    for step in (32, 64, 96):
        board = TensorBoard(tmp_path, [0], next_step=step - 32)
        board.append(pd.DataFrame({"seed": [0], "step": [step], "kl": [0.5], "return": [np.nan]}))
        # on disk already: a kill would lose nothing
        assert [one[0] for one in scalars(tmp_path / "seed-0")] == list(range(32, step + 1, 32))
        board.close()


class Cut(Exception):
    pass


def test_a_cut_leaves_no_gap_and_no_double_in_tensorboard(recorded, tmp_path, monkeypatch):
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)

    def cut(status):
        if status.done == 5 * BATCH:
            raise Cut

    def run(progress=None):
        return train(
            small_suite(),
            method("gtr"),
            seeds=[3, 8],
            directory=tmp_path,
            log="tensorboard",
            progress=progress,
        )

    # the checkpoint is that of iteration 1, though 5 were done
    monkeypatch.setattr(gtr.learner.store, "_CHECKPOINT_SHARE", 0.0)
    with pytest.raises(Cut):
        run(cut)
    run()
    for seed in ("seed-3", "seed-8"):
        whole = scalars(recorded.directory / "tensorboard" / seed)
        assert scalars(tmp_path / "tensorboard" / seed) == whole
