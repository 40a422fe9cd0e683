import json
import os
import shlex
import signal
from pathlib import Path

import pandas as pd
import pytest

from gtr import cli
from gtr.errors import GTRError
from gtr.interruption import Interrupted
from gtr.language import training
from gtr.language.comparing import HELD_OUT, compare
from gtr.language.learner import Settings
from gtr.language.losses import rule
from gtr.language.schedule import Schedule
from gtr.study.figures import held_out
from gtr.study.records import read_directory
from gtr.study.results import evaluate
from gtr.study.style import Look
from tests import tiny_llama
from tests.language.test_learner import echo

TINY = Settings(problems=4, answers=4, minibatches=2, learning_rate=1e-2, longest=2)
TASKS = {"echo": echo(), "ones": echo("ones", answer="1")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as Hugging Face's libraries keep it."""
    where = tmp_path_factory.mktemp("model")
    tiny_llama.model(layers=1).save_pretrained(where)
    tiny_llama.tokenizer().save_pretrained(where)
    return where


def run(folder: Path, directory: Path, **changes) -> pd.DataFrame:
    arguments = {
        "where": folder,
        "rule": rule("gtr", anchors=2, every=1),
        "schedule": Schedule(("echo", "ones"), 2),
        "settings": TINY,
        "seeds": (0, 1),
        "directory": directory,
        "tasks": TASKS,
        "say": lambda line: None,
    }
    training.train(**(arguments | changes))
    return pd.read_csv(directory / "metrics.csv").drop(columns="seconds")


def test_a_cut_training_goes_on_to_the_same_rows(folder, tmp_path, monkeypatch):
    whole = run(folder, tmp_path / "whole")
    assert whole["iteration"].tolist() == [0, 1, 2, 3] * 2
    assert whole["step"].tolist() == [16, 32, 48, 64] * 2
    assert whole["task"].tolist() == ["echo", "echo", "ones", "ones"] * 2
    assert whole["accuracy_ones"].notna().tolist() == [False, True, False, True] * 2
    assert whole["before_accuracy_echo"].notna().sum() == 2

    monkeypatch.setattr(training, "_CHECKPOINT_SECONDS", 0.0)
    lines: list[str] = []

    def cut(line: str) -> None:
        lines.append(line)
        if len(lines) in (3, 6):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(folder, tmp_path / "cut", say=cut)
    pd.testing.assert_frame_equal(run(folder, tmp_path / "cut", say=cut), whole)
    assert not list((tmp_path / "cut").glob("checkpoint*"))


def test_ctrl_c_ends_the_iteration_and_saves_it(folder, tmp_path):
    lines: list[str] = []

    def press(line: str) -> None:
        lines.append(line)
        if len(lines) in (2, 5):
            os.kill(os.getpid(), signal.SIGINT)

    for done in ("2 of 4", "1 of 4"):
        with pytest.raises(Interrupted, match=f"after iteration {done}; the same command"):
            run(folder, tmp_path / "cut", say=press)
    found = run(folder, tmp_path / "cut", say=press)
    # None was made twice.
    assert len(lines) == 8
    pd.testing.assert_frame_equal(found, run(folder, tmp_path / "whole"))


def test_a_directory_of_another_training_is_refused(folder, tmp_path):
    run(folder, tmp_path, seeds=(0,))
    with pytest.raises(GTRError, match="another training"):
        run(folder, tmp_path, seeds=(0,), rule=rule("ppo"))


def test_a_comparison_is_one_that_the_study_reads(folder, tmp_path):
    page = compare(
        folder,
        ["ppo", "gtr"],
        Schedule(("echo", "ones"), 2),
        TINY,
        numbers={"radius": 0.5},
        seeds=(0, 1),
        directory=tmp_path,
        tasks=TASKS,
        say=lambda line: None,
    )
    assert "Held-out problems" in page.read_text()
    assert "oracle" not in page.read_text()
    assert (tmp_path / "figures" / "held_out.png").exists()
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["finished"]
    assert not any("oracle" in note for note in results["notes"])
    table = pd.read_csv(tmp_path / HELD_OUT)
    assert len(table) == 2 * 2 * 4  # methods, phases, measures
    rows = pd.read_csv(tmp_path / "runs" / "gtr" / "metrics.csv")
    ends = rows[rows["iteration"] == 3]
    found = table[(table["method"] == "gtr") & (table["phase"] == 1)].set_index("measure")
    expected = ends["accuracy_echo"].mean()
    assert found.loc["accuracy_echo", "value"] == pytest.approx(expected)
    figure = held_out(evaluate(read_directory(tmp_path)))
    assert figure is not None
    assert [axes.get_title("left") for axes in figure.axes] == ["held-out echo", "held-out ones"]
    assert figure.axes[-1].get_xlabel() == "answers"
    # From before the first step, over both phases.
    curves = {line.get_color(): line for line in figure.axes[0].lines}
    drawn = curves[Look(["ppo", "gtr"]).colour("gtr")]
    assert list(drawn.get_xdata()) == [0, 32, 64]
    asked = [
        rows["before_accuracy_echo"].mean(),
        *rows.groupby("step")["accuracy_echo"].mean()[[32, 64]],
    ]
    assert list(drawn.get_ydata()) == pytest.approx(asked)
    with pytest.raises(GTRError, match="'radius'; gtr has"):
        compare(
            folder,
            ["ppo"],
            Schedule(("echo",), 1),
            TINY,
            numbers={"radius": 0.5},
            seeds=(0,),
            directory=tmp_path / "other",
        )


def test_methods_train_side_by_side_to_the_same_rows(folder, tmp_path):
    small = Settings(problems=2, answers=2, minibatches=2, held_out=2, longest=2)

    def compared(workers: int, methods: list[str]) -> Path:
        lines: list[str] = []
        where = tmp_path / str(workers)
        compare(
            folder,
            methods,
            Schedule(("sums", "letters"), 1),
            small,
            numbers={"stiffness": 0.1},
            seeds=(0,),
            directory=where,
            workers=workers,
            say=lines.append,
        )
        assert len(lines) == 2 * len(methods)
        return where

    methods = ["gtr", "gtr-behaviour"]
    apart, here = compared(2, methods), compared(1, methods)
    for method in methods:
        config = json.loads((here / "runs" / method / "config.json").read_text())
        assert "stiffness=0.1" in config["numbers"]
        one, other = (pd.read_csv(x / "runs" / method / "metrics.csv") for x in (here, apart))
        # Another number of threads adds up in another order.
        pd.testing.assert_frame_equal(
            one.drop(columns="seconds"), other.drop(columns="seconds"), rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize("workers", [1, 2])
def test_a_method_that_fails_keeps_no_other_from_its_turn(folder, tmp_path, workers):
    small = Settings(problems=2, answers=2, minibatches=2, held_out=2, longest=2)

    def compared(model: Path) -> None:
        compare(
            model,
            ["ppo", "gtr"],
            Schedule(("sums",), 1),
            small,
            numbers={},
            seeds=(0,),
            directory=tmp_path / "out" / model.name,
            workers=workers,
            say=lambda line: None,
        )

    theirs = tmp_path / "out" / folder.name / "runs" / "ppo"
    theirs.mkdir(parents=True)
    (theirs / "config.json").write_text('{"method": "another"}')
    with pytest.raises(GTRError, match=r"^ppo failed: .*another training.*; what was done is kept"):
        compared(folder)
    assert len(pd.read_csv(theirs.parent / "gtr" / "metrics.csv")) == 1
    with pytest.raises(GTRError, match=r"^ppo, gtr failed: there is no model") as caught:
        compared(tmp_path / "nothing")
    assert str(caught.value).count("there is no model") == 1


def test_the_command_trains_on_the_real_tasks(folder, tmp_path, monkeypatch, capsys):
    small = "problems=2 answers=2 minibatches=2 held_out=2 longest=2 stiffness=.1"
    command = (
        f"gtr language train --task sums letters --method gtr --iterations 1 --model {folder} "
        f"--out {tmp_path / 'run'} --keep-model --set {small}"
    )
    monkeypatch.setattr("sys.argv", shlex.split(command))
    cli.main()
    assert "gtr seed 0  2/2  letters" in capsys.readouterr().out
    assert (tmp_path / "run" / "report.html").exists()
    assert read_directory(tmp_path / "run").step == "answers"
    assert (tmp_path / "run" / "model-0" / "config.json").exists()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("train", "Train a language model on tasks"),
        ("compare", "Train several methods on the same"),
    ],
)
def test_help_says_once_what_a_command_does(monkeypatch, capsys, command, says):
    monkeypatch.setattr("sys.argv", ["gtr", "language", command, "--help"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    page = capsys.readouterr().out
    assert page.count(says) == 1
    assert "--out" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--set answers=two", "must be a number"),
        ("--set answers=2.5", "whole number"),
        ("--method ppo --set radius=.3", "no number 'radius'"),
        ("--task poems", "there is no task"),
        ("--model /nowhere", "there is no model"),
    ],
)
def test_a_mistake_is_one_line(folder, tmp_path, monkeypatch, capsys, words, message):
    base = f"gtr language train --out {tmp_path} --model {folder} {words}"
    monkeypatch.setattr("sys.argv", shlex.split(base))
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("gtr: ")
    assert message in line


def test_a_comparison_on_an_unknown_task_leaves_nothing_behind(folder, tmp_path):
    with pytest.raises(GTRError, match=r"^there is no task 'poems'; there are sums"):
        compare(
            folder,
            ["ppo", "gtr"],
            Schedule(("echo", "poems"), 2),
            TINY,
            numbers={},
            seeds=(0,),
            directory=tmp_path / "out",
            tasks=TASKS,
            say=lambda line: None,
        )
    assert not (tmp_path / "out").exists()
