import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from rich.console import Console

import gtr
from gtr import cli
from gtr.learner.run import Status
from gtr.networks import named
from gtr.networks.architectures import GRU, MLP, from_json
from gtr.progress import Display
from tests.study.small import SMALL
from tests.study.synthetic import known_arms, write_comparison

GTR = [sys.executable, "-W", "error", "-m", "gtr.cli"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs the command line in this process; gives exit status, output and error output."""

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gtr", *map(str, args)])
        status = 0
        try:
            cli.main()
        except SystemExit as exit:
            status = exit.code if isinstance(exit.code, int) else 1
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def known(tmp_path: Path) -> Path:
    return write_comparison(tmp_path / "known", known_arms(), (0, 1, 2))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtr.suites.suite", lambda name, size: SMALL)


def assert_one_line(error: str, says: str) -> None:
    assert error.startswith("gtr: ")
    assert error.endswith("\n")
    assert error.count("\n") == 1
    assert says in error


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["cornerswitch"], "there is corner-switch"),
        (["corner-switch", "--size", "huge"], "there is cpu, full"),
        (["corner-switch", "--method", "gtx"], "did you mean 'gtr'"),
        (["corner-switch", "--seeds", 0], "no seeds"),
        (["corner-switch", "--set", "minibatches=7"], "do not divide into 7 minibatches"),
        (["corner-switch", "--set", "stiffness=-1"], "stiffness is -1.0"),
        (["corner-switch", "--set", "radius=0"], "radius is 0.0; it must be greater than 0"),
        (["corner-switch", "--set", "radius=wide"], "radius is 'wide'"),
        (["corner-switch", "--set", "radus=1"], "did you mean 'radius'"),
        (["corner-switch", "--method", "ppo", "--set", "radius=1"], "no number 'radius'"),
        (["corner-switch", "--set", "anneal=5"], "give true or false"),
        (["corner-switch", "--set", "observation_memory=never"], "None for all"),
        (["corner-switch", "--set", "epochs=none"], "epochs is 'none'"),
        (["corner-switch", "--set", "epochs=2.5"], "give a whole number"),
        (["corner-switch", "--set", "radius"], "NAME=VALUE"),
        (["corner-switch", "--log", "wandbb"], "did you mean 'wandb'"),
        (["corner-switch", "--network", "gur"], "did you mean 'gru'"),
        (["corner-switch", "--network", "cnn"], "does not fit observations of shape (18,)"),
        (["minatar-permute", "--network", "nature-cnn"], "does not fit observations of shape (10"),
        (["halfcheetah-flip", "--network", "lstm"], "do not divide into 32 minibatches"),
    ],
)
def test_mistakes_are_one_line_and_leave_no_trace(
    command, tmp_path: Path, args: list, says: str
) -> None:
    status, output, error = command("train", *args, "--out", tmp_path / "new")
    assert status == 2
    assert not output
    assert_one_line(error, says)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("where", ["file", "file/below", "/proc/nowhere"])
@pytest.mark.parametrize("verb", ["train", "compare", "tune"])
def test_a_directory_that_cannot_be_is_one_line(
    command, tmp_path: Path, verb: str, where: str, small: None
) -> None:
    (tmp_path / "file").touch()
    status, _, error = command(verb, "any", "--out", tmp_path / where)
    assert status == 2
    assert_one_line(error, "cannot write")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--ray", "one", "two"], "takes one address, not one and two"),
        (["--ray", "auto", "--workers", 2], "leave out --workers"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused_before_anything_starts(
    command, tmp_path: Path, options: list, says: str
) -> None:
    status, _, error = command("compare", "corner-switch", "--out", tmp_path / "new", *options)
    assert status == 2
    assert_one_line(error, says)
    assert not (tmp_path / "new").exists()


def test_directories_of_other_work_and_missing_settings_are_refused(
    command, tmp_path: Path, known: Path
) -> None:
    status, _, error = command("train", "corner-switch", "--out", known)
    assert status == 2
    assert_one_line(error, "holds a comparison")
    tuned = tmp_path / "tuned.json"
    tuned.write_text(json.dumps({"methods": {"ppo": {"numbers": {}, "learner": {}}}}))
    args = ("compare", "corner-switch", "--out", tmp_path / "new", "--settings", tuned)
    status, _, error = command(*args)
    assert status == 2
    assert_one_line(error, "no settings for 'gtr'")


@pytest.mark.parametrize(
    "name", ["comparison.json", "runs/gtr/metrics.csv", "runs/gtr/config.json"]
)
def test_damaged_files_are_one_line(command, known: Path, name: str) -> None:
    content = (known / name).read_bytes()
    (known / name).write_bytes(content[: len(content) // 2])
    status, _, error = command("report", known)
    assert status == 2
    assert_one_line(error, name)


def test_report_prints_the_scores_and_where_the_page_is(command, known: Path) -> None:
    status, output, error = command("report", known)
    assert status == 0
    assert not error
    assert "gtr" in output
    assert f"report  {known / 'report.html'}" in output


def test_train_leaves_metrics_events_and_a_report_and_continues(
    command, tmp_path: Path, small: None
) -> None:
    out = tmp_path / "run"
    learner = ("--set", "environments=8", "observation_memory=none")
    args = ("train", "any", "--method", "ppo", "--out", out, *learner, "--set", "clip=.1")
    status, output, _ = command(*args)
    assert status == 0
    assert f"metrics  {out / 'metrics.csv'}" in output
    assert f"report   {out / 'report.html'}" in output
    assert list((out / "tensorboard").glob("*/events*"))
    config = json.loads((out / "config.json").read_text())
    assert config["numbers"] == {"clip": 0.1}
    assert config["learner"]["environments"] == 8
    assert config["learner"]["observation_memory"] is None
    # Twice the batch is half the iterations, rounded: a phase keeps its steps.
    assert config["phase_steps"] == 2 * 64
    assert json.loads((out / "results.json").read_text())["finished"]
    assert command(*args)[0] == 0
    file = tmp_path / "policy.safetensors"
    status, output, _ = command("export", out, "--out", file)
    assert status == 0
    assert output == f"policy  {file} (as phase 2 left it, seed 0)\n"
    assert file.exists()
    status, _, error = command(*args[:-1], "clip=.2")
    assert status == 2
    assert_one_line(error, "holds another training")


def test_compare_trains_what_was_tuned_and_what_is_set_comes_first(
    command, tmp_path: Path, small: None
) -> None:
    tuned = tmp_path / "tuned.json"
    chosen = {"numbers": {"clip": 0.3}, "learner": {"learning_rate": 0.01, "entropy": 0.5}}
    tuned.write_text(json.dumps({"methods": {"ppo": chosen}}))
    out = tmp_path / "duel"
    args = ("compare", "any", "--methods", "ppo", "--seeds", 1, "--settings", tuned, "--out", out)
    status, output, _ = command(*args, "--set", "entropy=0.25")
    assert status == 0
    assert f"report  {out / 'report.html'}" in output
    for arm in ("ppo", "oracle", "random"):
        config = json.loads((out / "runs" / arm / "config.json").read_text())
        assert config["numbers"] == {"clip": 0.3}
        assert config["learner"]["learning_rate"] == 0.01
        assert config["learner"]["entropy"] == 0.25
    assert "--set entropy=0.25" in json.loads((out / "comparison.json").read_text())["command"]


@pytest.mark.parametrize("verb", ["compare", "tune"])
def test_an_unfit_network_leaves_no_trace_of_a_study(
    command, tmp_path: Path, small: None, verb: str
) -> None:
    args = (verb, "any", "--methods", "ppo", "--network", "cnn", "--out", tmp_path / "new")
    status, _, error = command(*args)
    assert status == 2
    assert_one_line(error, "does not fit observations of shape (1,)")
    assert not (tmp_path / "new").exists()


def test_a_named_network_is_part_of_every_arms_configuration(
    command, tmp_path: Path, small: None
) -> None:
    """A memory stands behind the suite's own network, in the arm that never learns too."""
    args = ("compare", "any", "--methods", "ppo", "--seeds", 1, "--network", "gru")
    assert command(*args, "--out", tmp_path)[0] == 0
    named_one = GRU(64, SMALL.config.network)
    for arm in ("ppo", "oracle", "random"):
        config = json.loads((tmp_path / "runs" / arm / "config.json").read_text())
        assert from_json(config["learner"]["network"]) == named_one


def test_a_tuning_of_a_named_network_says_how_to_compare_it(
    command, tmp_path: Path, small: None
) -> None:
    args = ("tune", "any", "--methods", "ppo", "--configurations", 1, "--network", "mlp")
    status, output, _ = command(*args, "--out", tmp_path)
    assert status == 0
    assert "gtr compare any --network mlp --settings" in output
    plan = json.loads((tmp_path / "tuning.json").read_text())
    assert from_json(plan["learner"]["network"]) == MLP()


def test_the_lists_and_the_help(command) -> None:
    _, output, _ = command("methods")
    assert "radius=0.4" in output
    _, output, _ = command("suites")
    assert "corner-switch" in output
    assert all(f"\n{name} " in output for name in named.names())
    for verb in ("train", "compare", "tune"):
        status, output, _ = command(verb, "--help")
        assert status == 0
        assert f"gtr {verb} corner-switch" in output


def test_help_and_mathematics_come_without_jax() -> None:
    code = (
        "import sys, gtr.objective, gtr.cli, gtr.suites; gtr.suites.suites();"
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_real_mistake_has_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [*GTR, "train", "nowhere", "--out", str(tmp_path / "x")], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert_one_line(done.stderr, "No suite 'nowhere'")


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    # No file may grow beyond 4 KiB; the shell sets it, for forking and JAX's threads do not mix.
    limited = ["bash", "-c", 'ulimit -f 4; exec "$@"', "bash", *GTR]
    done = subprocess.run(
        [*limited, "train", "corner-switch", "--log", "none", "--out", str(tmp_path / "x")],
        capture_output=True,
        text=True,
        # Its own cache: an entry cut short must not be left for others.
        env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"},
    )
    assert done.returncode == 2
    assert_one_line(done.stderr.splitlines(keepends=True)[-1], "cannot write")
    assert "Traceback" not in done.stderr


def test_ctrl_c_saves_every_process_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "duel"
    args = ["compare", "corner-switch", "--methods", "ppo", "--seeds", "1", "--workers", "2"]
    process = subprocess.Popen(
        [*GTR, *args, "--out", str(out)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    metrics = out / "runs" / "ppo" / "metrics.csv"
    until = time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    # Before it there may be lines of progress.
    assert_one_line(error.splitlines(keepends=True)[-1], "the same command continues")
    assert "Traceback" not in error
    assert list((out / "runs" / "ppo" / "checkpoints").glob("*.safetensors"))


def test_five_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gtr.suite", lambda name: SMALL)

    suite = gtr.suite("corner-switch")
    method = gtr.method("ppo", clip=0.3)
    run = gtr.train(suite, method, seeds=2)
    figure = gtr.plot(run)

    assert isinstance(figure, Figure)
    lines = figure.axes[0].get_lines()
    ends = [float(line.get_xdata()[-1]) for line in lines if len(line.get_xdata()) > 1]
    assert max(ends) == SMALL.steps


def test_every_export_is_there() -> None:
    for name in gtr.__all__:
        assert getattr(gtr, name) is not None
        assert name in dir(gtr)
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = gtr.nonesuch  # pyright: ignore


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_progress_counts_all_runs_and_not_what_was_there_before() -> None:
    clock, written = _Clock(), io.StringIO()
    with Display(4000, console=Console(file=written), clock=clock) as display:
        clock.now = 10.0
        display("ppo", Status(500, 1000, 2, float("nan")))
        assert display.line.split("  ") == [" 25%", "starting", "ppo"]
        assert not written.getvalue()
        clock.now = 20.0
        display("ppo", Status(600, 1000, 2, 0.5))
        # 200 steps in 10 seconds; 2800 are left.
        assert display.line.split("  ") == [" 30%", "20 steps/s", "2:20 left", "ppo return 0.5"]
        assert written.getvalue() == display.line + "\n"
        clock.now = 21.0
        display("ppo", Status(1000, 1000, 2, 1.0))
        display("gtr", Status(100, 1000, 2, 0.25))
        assert display.line.endswith("gtr return 0.25")
        assert "ppo" not in display.line
    assert written.getvalue().count("\n") == 1


def test_time_left_counts_the_waits_for_arms_to_come() -> None:
    clock = _Clock()
    with Display(4000, console=Console(file=io.StringIO()), clock=clock) as display:
        for now, arm, done in (
            (10.0, "ppo", 0),
            (20.0, "ppo", 1000),
            (30.0, "gtr", 0),
            (40.0, "gtr", 1000),
        ):
            clock.now = now
            display(arm, Status(done, 1000, 1, 0.5))
    # 20 seconds at 100 steps/s and 10 of waiting, as is to be expected for the other half.
    assert display.line.split("  ")[1:3] == ["100 steps/s", "0:30 left"]


def test_progress_in_a_terminal_is_a_bar() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100)
    with Display(100, console=console) as display:
        display("gtr", Status(50, 100, 1, 0.5))
    assert "gtr return 0.5" in written.getvalue()
    assert "50%" in written.getvalue()
