"""Studies on a Ray cluster of several processes, some of which are killed."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import gtr
from gtr.errors import GTRError
from gtr.interruption import Interrupted
from gtr.learner.config import Setting
from gtr.learner.run import Status
from gtr.methods import method
from gtr.study.compare import compare
from gtr.study.on_ray import Share, _refuse_unshared, _Token, on_ray, share
from gtr.study.tune import tune
from gtr.study.workers import Task, train_in_turn
from tests.ray_cluster import local_cluster
from tests.study.small import SMALL, die_once
from tests.test_docs import ROOT, blocks, execute

ARMS = ("ppo", "gtr", "oracle", "random")
# Some seconds of training, so that it can be met in the middle.
LONG = replace(SMALL, phase_budget=32 * 1500)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with local_cluster(4):
        yield


def worker_of(task: str) -> int | None:
    """The process that trains a task: Ray calls it by the task's name."""
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if (process / "cmdline").read_bytes().strip(b"\0") == f"ray::{task}".encode():
                return int(process.name)
    return None


class Killing:
    """Kills the workers of some arms, once each, when a fifth of their work is done."""

    def __init__(self, *arms: str) -> None:
        self.waiting = set(arms)
        self.killed: dict[str, float] = {}

    def __call__(self, arm: str, status: Status) -> None:
        if arm in self.waiting and 0.2 < status.done / status.total < 0.8:
            worker = worker_of(arm)
            if worker is not None:
                os.kill(worker, signal.SIGKILL)
                self.waiting.discard(arm)
                self.killed[arm] = status.done / status.total


# before the others: a program that has a cluster stays with it
def test_an_address_where_nobody_answers_is_named() -> None:
    with (
        pytest.raises(GTRError, match="no Ray cluster at '127"),
        on_ray("127.0.0.1:9"),
    ):
        pass


@pytest.mark.slow
def test_two_of_four_workers_killed_midway_change_nothing(cluster: None, tmp_path: Path) -> None:
    again = partial(compare, LONG, ["ppo", "gtr"], seeds=2)
    killing = Killing("gtr", "oracle")
    with on_ray() as place:
        again(directory=tmp_path / "disturbed", workers=place, progress=killing)
        again(directory=tmp_path / "undisturbed", workers=place)
    assert set(killing.killed) == {"gtr", "oracle"}
    again(directory=tmp_path / "here")
    for at in ("results.json", "scores.csv", *(f"runs/{arm}/metrics.csv" for arm in ARMS)):
        disturbed = (tmp_path / "disturbed" / at).read_bytes()
        assert disturbed == (tmp_path / "undisturbed" / at).read_bytes(), at
        assert disturbed == (tmp_path / "here" / at).read_bytes(), at


def test_what_a_worker_that_died_was_at_is_done_by_another(cluster: None, tmp_path: Path) -> None:
    def tasks(place: str) -> list[Task]:
        setting = Setting(method("gtr"), SMALL.config)
        doomed = replace(SMALL, make=partial(die_once, tmp_path / "scar"))
        faulty = tmp_path / place / "faulty"
        faulty.mkdir(parents=True)
        (faulty / "config.json").write_text("{")
        return [
            Task("doomed", doomed, (setting,), (0, 1), tmp_path / place / "doomed"),
            Task("faulty", SMALL, (setting,), (0,), faulty),
        ]

    heard: list[str] = []
    with on_ray() as place:
        failures = place(tasks("there"), lambda arm, _: heard.append(arm))
    assert (tmp_path / "scar").exists()
    assert set(heard) == {"doomed"}
    assert list(failures) == ["faulty"]
    assert "config.json is not valid JSON" in str(failures["faulty"])

    assert list(train_in_turn(tasks("here"), None)) == ["faulty"]
    ours, theirs = (tmp_path / place / "doomed" / "metrics.csv" for place in ("here", "there"))
    assert ours.read_bytes() == theirs.read_bytes()


@pytest.mark.slow
def test_stopped_on_the_cluster_it_goes_on_here(cluster: None, tmp_path: Path) -> None:
    again = partial(compare, LONG, ["ppo"], seeds=1)

    def stop(arm: str, status: Status) -> None:
        if status.done > 0:
            raise KeyboardInterrupt

    with on_ray() as place, pytest.raises(Interrupted, match="the same command continues"):
        again(directory=tmp_path / "cut", workers=place, progress=stop)
    assert list((tmp_path / "cut").glob("runs/*/checkpoints/*.safetensors"))
    again(directory=tmp_path / "cut")
    again(directory=tmp_path / "whole")
    whole, cut = (tmp_path / name / "results.json" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()


@pytest.mark.slow
def test_tuning_on_the_cluster_chooses_what_it_chooses_here(cluster: None, tmp_path: Path) -> None:
    again = partial(tune, SMALL, ["ppo", "spo"], configurations=4)
    with on_ray() as place:
        there = again(directory=tmp_path / "there", workers=place)
    here = again(directory=tmp_path / "here")
    assert there.read_bytes() == here.read_bytes()
    tables = [tmp_path / name / "configurations.csv" for name in ("there", "here")]
    assert tables[0].read_bytes() == tables[1].read_bytes()


@pytest.mark.slow
def test_the_pages_example_runs(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gtr, "suite", lambda name: SMALL)
    for code in blocks(ROOT / "docs/studies-on-ray.md", "python"):
        execute(code, {"__name__": "page"})
    assert (tmp_path / "runs" / "duel" / "report.html").exists()


def test_machines_that_do_not_see_the_directory_are_named(cluster: None, tmp_path: Path) -> None:
    # a file of the same name that is another's
    (tmp_path / "token").write_text("theirs")
    with pytest.raises(GTRError, match=r"\d+\) do not see .*: choose a directory on a file system"):
        _refuse_unshared(_Token(tmp_path / "token", "ours"))


@pytest.mark.parametrize(
    ("nodes", "tasks", "expected"),
    [
        ([{"CPU": 4.0}], 4, Share(1, 0)),
        ([{"CPU": 4.0}], 9, Share(1, 0)),
        ([{"CPU": 8.0}], 3, Share(2, 0)),
        ([{"CPU": 64.0}, {"CPU": 16.0}], 4, Share(16, 0)),
        ([{"CPU": 64.0, "GPU": 8.0}], 4, Share(16, 1)),
        ([{"CPU": 64.0, "GPU": 8.0}, {"CPU": 4.0}], 20, Share(8, 1)),
        # a head that is there to speak with, and no more
        ([{}, {"CPU": 2.0}], 1, Share(2, 0)),
    ],
)
def test_tasks_share_what_there_is(nodes: list, tasks: int, expected: Share) -> None:
    assert share(nodes, tasks) == expected


def test_a_cluster_without_a_processor_is_refused() -> None:
    with pytest.raises(GTRError, match="no machine of the Ray cluster has a CPU"):
        share([{"memory": 1e9}], 2)
