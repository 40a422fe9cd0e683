"""Loggers follow metrics.csv: the same numbers under the same names, each once, come what may."""

import math
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gtr import loggers
from gtr.errors import GTRError
from gtr.loggers import follower
from gtr.loggers.follower import Follower, Point
from gtr.loggers.names import scalars
from gtr.loggers.thinning import Schedule
from tests.loggers.readers import Shown, shown
from tests.loggers.recording import SEEDS, TOTAL, record, rows

ROOT = Path(__file__).parents[2]
SERVICES = ("wandb", "mlflow")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "_SHARE", math.inf)


def written(directory: Path, seed: int) -> Shown:
    """What metrics.csv says of a seed, as loggers should show it, sorted."""
    table = pd.read_csv(directory / "metrics.csv")
    points = [
        (int(row["step"]), tag, value)
        for row in table[table["seed"] == seed].to_dict("records")
        for tag, value in scalars(row).items()
    ]
    return sorted(points)


def assert_shows(name: str, directory: Path) -> None:
    """Each number once, and as it is written."""
    for seed in SEEDS:
        found, expected = sorted(shown(name, directory, seed)), written(directory, seed)
        assert [one[:2] for one in found] == [one[:2] for one in expected], name
        np.testing.assert_allclose(
            [one[2] for one in found], [one[2] for one in expected], rtol=1e-6, err_msg=name
        )


def test_a_killed_run_goes_on_in_the_same_runs_with_each_number_once(
    tmp_path: Path, unhurried: None
) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.loggers.recording", str(tmp_path)]
    killed = subprocess.run([*command, ",".join(loggers.NAMES), "9"], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    steps = [step for step, _, _ in shown("wandb", tmp_path, 3)]
    checkpointed = int(max((tmp_path / "checkpoints").iterdir()).stem) * 32
    assert checkpointed < max(steps) < TOTAL * 32
    record(tmp_path, loggers.NAMES)
    for name in loggers.NAMES:
        assert_shows(name, tmp_path)
    # a run that is over has nothing more to tell
    record(tmp_path, SERVICES)
    for name in SERVICES:
        assert_shows(name, tmp_path)


def test_names_are_those_that_people_watch_and_the_step_is_the_axis() -> None:
    row = {"iteration": 1, "seed": 3, "step": 64, "return": 2, "kl": 0.5, "kernel_mean": math.nan}
    assert scalars(row) == {"rollout/ep_rew_mean": 2.0, "train/approx_kl": 0.5}


def test_a_service_that_is_asked_for_later_is_told_everything(tmp_path: Path) -> None:
    record(tmp_path, ())
    record(tmp_path, ("mlflow",))
    assert_shows("mlflow", tmp_path)


def test_a_logger_that_cannot_begin_is_one_line_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorboard").touch()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    record(tmp_path, ("tensorboard", "mlflow"))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "gtr: tensorboard failed",
        "gtr: mlflow failed",
    ]
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 2 * TOTAL


def test_a_logger_that_fails_on_the_way_is_one_line_and_is_given_the_rest_next_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], unhurried: None
) -> None:
    record(tmp_path, ("mlflow",))
    assert not capsys.readouterr().err
    for blocked in tmp_path.glob("mlflow/*/*/metrics/gtr/measure_7"):
        blocked.unlink()
        blocked.mkdir()
    # all has been sent but measure 7, whose file cannot be written
    record(tmp_path, ("mlflow",))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "mlflow failed, and training goes on without it" in lines[0]
    for blocked in tmp_path.glob("mlflow/*/*/metrics/gtr/measure_7"):
        blocked.rmdir()
    record(tmp_path, ("mlflow",))
    assert_shows("mlflow", tmp_path)


class Stuck:
    """A service that takes nothing until it is let."""

    def __init__(self) -> None:
        self.free, self.steps, self.finished = threading.Event(), [], False

    def send(self, seed: int, points: list[Point]) -> None:
        self.free.wait()
        self.steps += [point.step for point in points if seed == 3]

    def close(self, *, finished: bool) -> None:
        self.finished = finished


def test_training_does_not_wait_for_a_service_before_its_end() -> None:
    service = Stuck()
    following = Follower(service, Schedule(TOTAL, 10), pd.DataFrame())
    for iteration in range(TOTAL):
        following.append(rows(iteration))
    assert not service.steps
    service.free.set()
    following.close()
    assert service.steps == [32 * (i + 1) for i in range(TOTAL)]
    assert service.finished


def test_nor_for_ever_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "_PATIENCE", 0.1)
    service = Stuck()
    following = Follower(service, Schedule(TOTAL, 10), pd.DataFrame())
    following.append(rows(0))
    with pytest.raises(TimeoutError, match="the same command sends what is left"):
        following.close()
    service.free.set()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("tensorbord", "did you mean 'tensorboard'"),
        (["mlflow", "none"], "there is no logger 'none'"),
        ("aim", "give some of tensorboard, wandb, mlflow, or none"),
    ],
)
def test_an_unknown_logger_is_refused(names: str | list[str], says: str) -> None:
    with pytest.raises(GTRError, match=says):
        loggers.chosen(names)


def test_a_package_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(GTRError, match=r"pip install 'gtr-rl\[wandb\]'"):
        loggers.chosen(["tensorboard", "wandb"])
    assert loggers.chosen("none") == loggers.chosen([]) == ()
