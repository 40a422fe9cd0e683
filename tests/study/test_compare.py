import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from gtr.errors import GTRError
from gtr.learner.run import Setting, Status
from gtr.methods import method
from gtr.study.compare import compare
from gtr.study.records import read_directory
from gtr.study.workers import Task, train_side_by_side
from tests.study.small import LIMIT, SMALL, die

ARMS = ("ppo", "gtr", "oracle", "random")
COMMAND = "gtr compare wages --methods ppo gtr"
again = partial(compare, SMALL, ["ppo", "gtr"], seeds=2, command=COMMAND)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("compare") / "it"
    page = again(directory=directory)
    assert page == directory / "report.html"
    return directory


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_a_comparison_leaves_a_finished_report(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    assert results["finished"]
    assert results["command"] == COMMAND
    assert sorted(results["methods"]) == sorted(ARMS)
    assert all(one["finished_seeds"] == [0, 1] for one in results["methods"].values())
    configurations = {name: one["configuration"] for name, one in results["methods"].items()}
    assert configurations["oracle"]["fresh_each_phase"]
    assert configurations["random"]["learner"]["epochs"] == 0
    assert not configurations["gtr"]["fresh_each_phase"]
    assert "gtr" in (finished / "report.html").read_text()


def test_equal_seeds_meet_equal_worlds_in_every_arm(finished: Path) -> None:
    arms = read_directory(finished).arms
    earned = {}
    for name in ARMS:
        metrics = arms[name].metrics
        # A training's last episode may begin in one world and end in the next.
        inside = metrics[metrics["iteration"] % SMALL.phase_iterations > 0]
        worlds = inside.groupby(["seed", "phase"])["return"].agg(["min", "max"])
        assert (worlds["min"] == worlds["max"]).all()
        earned[name] = worlds["min"]
    for name in ARMS:
        pd.testing.assert_series_equal(earned[name], earned["ppo"])
    assert earned["ppo"].nunique() == 2 * SMALL.phases
    assert (earned["ppo"] < LIMIT).all()


def test_only_what_is_missing_is_trained_again(copy: Path, finished: Path) -> None:
    shutil.rmtree(copy / "runs" / "gtr")
    (copy / "report.html").unlink()
    worked = set()

    def note(arm: str, status: Status) -> None:
        if status.done < status.total:
            worked.add(arm)

    again(directory=copy, progress=note)
    assert worked == {"gtr"}
    assert (copy / "report.html").exists()
    for name in ARMS:
        at = f"runs/{name}/metrics.csv"
        assert (copy / at).read_bytes() == (finished / at).read_bytes()


def test_a_finished_comparison_without_its_runs_is_left_as_it_is(copy: Path) -> None:
    shutil.rmtree(copy / "runs")
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert again(directory=copy) == copy / "report.html"
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_another_comparison_is_refused_and_the_first_kept(copy: Path) -> None:
    before = (copy / "comparison.json").read_bytes()
    with pytest.raises(GTRError, match=r"what differs: seeds"):
        compare(SMALL, ["ppo", "gtr"], seeds=3, directory=copy)
    with pytest.raises(GTRError, match=r"what differs: settings"):
        again(directory=copy, config=replace(SMALL.config, learning_rate=0.1))
    assert (copy / "comparison.json").read_bytes() == before
    with pytest.raises(GTRError, match="holds a training"):
        again(directory=copy / "runs" / "ppo")


def test_a_dead_process_is_named_and_takes_no_other_along(finished: Path, tmp_path: Path) -> None:
    doomed = Task(
        "doomed",
        replace(SMALL, make=die),
        (Setting(method("ppo"), SMALL.config),),
        (0,),
        tmp_path / "doomed",
    )
    sound = Task("ppo", SMALL, doomed.settings, (0, 1), tmp_path / "ppo")
    heard = []
    failures = train_side_by_side([doomed, sound], 2, lambda *said: heard.append(said))
    assert list(failures) == ["doomed"]
    assert "SIGKILL" in str(failures["doomed"])
    ours, theirs = tmp_path / "ppo" / "metrics.csv", finished / "runs" / "ppo" / "metrics.csv"
    assert ours.read_bytes() == theirs.read_bytes()
    assert {name for name, _ in heard} == {"ppo"}


def test_an_arm_that_fails_is_named_after_the_others_are_through(copy: Path) -> None:
    config = copy / "runs" / "ppo" / "config.json"
    config.write_text("{")
    shutil.rmtree(copy / "runs" / "random")
    with pytest.raises(GTRError, match=r"^ppo failed: .*config\.json is not valid JSON"):
        again(directory=copy)
    assert (copy / "runs" / "random" / "metrics.csv").exists()


def test_a_suite_that_cannot_travel_is_refused_in_one_line(tmp_path: Path) -> None:
    suite = replace(SMALL, make=lambda: SMALL.environment)
    with pytest.raises(GTRError, match="workers=1"):
        compare(suite, ["ppo"], seeds=1, directory=tmp_path, workers=2)


@pytest.mark.parametrize(
    ("methods", "options", "says"),
    [
        ([], {}, "no methods"),
        (["ppo", "ppo"], {}, "named twice"),
        (["nonesuch"], {}, "there is no method 'nonesuch'"),
        ([Setting(method("ppo"), SMALL.config, "oracle")], {}, "every comparison"),
        ([Setting(method("ppo"), SMALL.config, "../up")], {}, "directory's name"),
        (["ppo"], {"workers": 0}, "0 workers"),
        (["ppo"], {"seeds": 0}, "no seeds"),
        (["ppo"], {"config": replace(SMALL.config, minibatches=5)}, "do not divide"),
    ],
)
def test_what_cannot_be_compared_leaves_no_trace(
    tmp_path: Path, methods: list, options: dict, says: str
) -> None:
    with pytest.raises(GTRError, match=says):
        compare(SMALL, methods, directory=tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
