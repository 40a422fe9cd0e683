import contextlib
import errno
import os
import pickle
import resource
from contextlib import contextmanager
from dataclasses import replace

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

import gtr.learner.run
import gtr.learner.store
from gtr.errors import GTRError
from gtr.files import write_whole
from gtr.learner.checkpoint import read_newest, write
from gtr.learner.run import train
from gtr.methods import method
from tests.learner.problems import TINY, assert_same, checkpoints, small_suite

OURS = "0123456789abcdef"
STATE = {
    "floats": np.array([[1.5, -0.0], [np.nan, np.inf]], np.float32),
    "nested": (np.array([True, False]), np.int32(7)),
    "empty": np.zeros((0, 3), np.float32),
    "words": np.array([2**32 - 1], np.uint32),
    "nothing": None,
}


def shifted(by):
    return jax.tree.map(lambda x: (np.asarray(x) + by).astype(np.asarray(x).dtype), STATE)


def save(directory, iteration, state=STATE):
    return write(
        directory, state, iteration=iteration, metrics_bytes=100 + iteration, fingerprint=OURS
    )


def newest(directory, like=STATE, fingerprint=OURS):
    return read_newest(directory, like, fingerprint=fingerprint)


@contextmanager
def small_disk(limit):
    """No file may grow beyond `limit` bytes: what a full disk does to one who writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_read_is_what_was_written_to_the_bit(tmp_path):
    path = save(tmp_path, 12)
    assert path == tmp_path / "000000012.safetensors"
    found, refusals = newest(tmp_path)
    assert (found.iteration, found.metrics_bytes, refusals) == (12, 112, [])
    assert_same(found.state, STATE)
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), np.asarray(x).dtype), STATE)
    assert_same(newest(tmp_path, like)[0].state, STATE)


def test_without_files_there_is_nothing_to_go_on_from(tmp_path):
    assert newest(tmp_path) == (None, [])
    assert newest(tmp_path / "absent") == (None, [])


def test_the_newest_two_are_kept_and_the_newest_is_read(tmp_path):
    for iteration in (8, 9, 10, 1000):
        save(tmp_path, iteration, shifted(iteration))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["000000010.safetensors", "000001000.safetensors"]
    found, _ = newest(tmp_path)
    assert found.iteration == 1000
    assert_same(found.state, shifted(1000))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_passed_over_for_the_one_before(share, tmp_path):
    save(tmp_path, 1)
    path = save(tmp_path, 2, shifted(1))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    found, refusals = newest(tmp_path)
    assert found.iteration == 1
    assert_same(found.state, STATE)
    assert len(refusals) == 1
    assert str(path) in refusals[0]
    assert "damaged" in refusals[0]
    assert "\n" not in refusals[0]


def test_whichever_byte_is_flipped_no_other_state_is_read(tmp_path):
    """Arrays and header alike: a wrong iteration would be as bad as a wrong number."""
    save(tmp_path, 1)
    path = save(tmp_path, 2, shifted(1))
    content = path.read_bytes()
    passed_over = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        try:
            found, refusals = newest(tmp_path)
        except GTRError:
            continue
        passed_over += len(refusals)
        expected = STATE if refusals else shifted(1)
        numbers = (1, 101) if refusals else (2, 102)
        assert (found.iteration, found.metrics_bytes) == numbers, place
        assert_same(found.state, expected)
    assert passed_over > sum(np.asarray(x).nbytes for x in jax.tree.leaves(STATE))


def test_if_no_file_is_whole_the_run_is_not_started_anew_in_silence(tmp_path):
    save(tmp_path, 1).write_bytes(b"")
    with pytest.raises(GTRError, match=r"no checkpoint in .* is whole .* delete"):
        newest(tmp_path)


def test_foreign_files_are_refused(tmp_path):
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "000000001.safetensors")
    with pytest.raises(GTRError, match="is no checkpoint of this version of gtr"):
        newest(tmp_path)


def test_another_configurations_checkpoint_is_refused(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(GTRError, match="belongs to a run with another configuration"):
        newest(tmp_path, fingerprint="f" * 16)


def test_another_structure_is_refused(tmp_path):
    save(tmp_path, 1)
    for like in (
        {**STATE, "words": np.zeros(2, np.uint32)},
        {**STATE, "words": np.zeros(1, np.int32)},
        {k: v for k, v in STATE.items() if k != "words"},
        {**STATE, "more": np.zeros(1)},
    ):
        with pytest.raises(GTRError, match="was written by another version of gtr"):
            newest(tmp_path, like)


def test_a_pickle_is_never_loaded(tmp_path):
    class Mischief:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "done"),))

    (tmp_path / "000000001.safetensors").write_bytes(pickle.dumps(Mischief()))
    with pytest.raises(GTRError, match="damaged"):
        newest(tmp_path)
    assert not (tmp_path / "done").exists()


def test_a_file_left_half_written_is_in_nobodys_way(tmp_path):
    save(tmp_path, 1)
    leftover = tmp_path / "000000002.safetensors.partial"
    leftover.write_bytes(b"half")
    assert newest(tmp_path)[0].iteration == 1
    save(tmp_path, 2, shifted(1))
    assert not leftover.exists()
    assert_same(newest(tmp_path)[0].state, shifted(1))


def test_a_full_disk_costs_no_earlier_file(tmp_path):
    first = save(tmp_path, 1)
    before = first.read_bytes()
    for limit in (0, 10, len(before) - 1):
        with small_disk(limit), pytest.raises(GTRError, match=r"cannot write .* free space"):
            save(tmp_path, 2, shifted(1))
        assert [path.name for path in tmp_path.iterdir()] == [first.name]
        assert first.read_bytes() == before


def test_a_failure_of_the_last_moment_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    write_whole(path, b"old")

    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(GTRError, match="No space left on device"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_cannot_be_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(GTRError, match="cannot write") as caught:
            train(small_suite(), method("ppo"), directory=directory)
        assert "\n" not in str(caught.value)


@contextlib.contextmanager
def unprivileged():
    """Root may write anywhere: as root, this is the user nobody."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_directory_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with unprivileged(), pytest.raises(GTRError, match=r"cannot write .* Permission denied"):
        train(small_suite(), method("ppo"), directory=tmp_path / "run")


# -- in a whole training ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whole")
    run = train(small_suite(), method("ppo"), seeds=2, directory=directory)
    return run, (directory / "metrics.csv").read_bytes()


def again(directory, **changed):
    given = {"suite": small_suite(), "method": method("ppo"), "seeds": 2} | changed
    return train(directory=directory, **given)


def test_a_training_goes_on_from_the_checkpoint_before_a_damaged_one(
    whole, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(gtr.learner.run, "_CHUNK_SECONDS", 0.0)
    monkeypatch.setattr(gtr.learner.store, "_CHECKPOINT_SHARE", np.inf)
    again(tmp_path)
    last = checkpoints(tmp_path)[-1]
    content = bytearray(last.read_bytes())
    content[-1] ^= 0x40
    last.write_bytes(content)
    run = again(tmp_path)
    assert f"{last} is damaged (its checksum does not match)" in capsys.readouterr().out
    assert_same(run.state, whole[0].state)
    assert (tmp_path / "metrics.csv").read_bytes() == whole[1]


@pytest.mark.parametrize("limit", [0, 600, 3000, 6000])
def test_a_training_whose_disk_is_full_says_so_and_continues_later(limit, whole, tmp_path):
    with small_disk(limit), pytest.raises(GTRError, match=r"cannot write .* free space"):
        again(tmp_path)
    run = again(tmp_path)
    assert_same(run.state, whole[0].state)
    assert (tmp_path / "metrics.csv").read_bytes() == whole[1]


def test_another_run_in_the_directory_is_refused_and_named(whole):
    directory = whole[0].directory
    for changed, part in (
        ({"method": method("ppo", clip=0.1)}, "numbers"),
        ({"method": method("spo")}, "method"),
        ({"seeds": 3}, "seeds"),
        ({"config": replace(TINY, learning_rate=1e-3)}, "learner"),
        ({"suite": small_suite(phases=3)}, "phases"),
        ({"fresh_each_phase": True}, "fresh_each_phase"),
    ):
        with pytest.raises(GTRError, match=f"holds another training .*{part}") as caught:
            again(directory, **changed)
        assert "\n" not in str(caught.value)
    assert (directory / "metrics.csv").read_bytes() == whole[1]


def test_metrics_shortened_by_hand_are_refused(whole, tmp_path):
    again(tmp_path)
    (tmp_path / "metrics.csv").write_bytes(whole[1][:-10])
    with pytest.raises(GTRError, match="is shorter than its checkpoint says"):
        again(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_configuration_that_cannot_be_read_is_refused(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(GTRError, match=r"config\.json") as caught:
        again(tmp_path)
    assert "\n" not in str(caught.value)
