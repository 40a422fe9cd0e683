"""Studies that are unfinished, damaged, or have lost some of their files."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from gtr.errors import GTRError
from gtr.study.transitions.page import write_page
from gtr.study.transitions.plan import MAIN, QUESTIONS
from gtr.study.transitions.reading import read_study
from tests.study.known_study import scores
from tests.study.pages import Page
from tests.study.studies import SIZE, write_grid, write_scores, write_study


def test_an_unfinished_study_shows_what_there_is_and_says_what_there_is_not(tmp_path):
    write_study(tmp_path, replace(SIZE, main=SIZE.main[:1], wide=()), score=scores(0.2), rows=False)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "relaxation.png").write_text("of a time when rows were kept")
    page = Page(write_page(SIZE, tmp_path))
    bar = json.loads((tmp_path / "results.json").read_text())["acceptance"]
    assert bar["met"] is None
    assert bar["suites_missing"] == bar["twins_missing"] == ["cartpole-offset"]
    for line in bar["demands"].values():
        assert line["met"] is None
        assert line["finds"].startswith("so far met, on 1 of 2 suites: ")
    for line in (
        "Missing: cartpole-offset.",
        "Not there yet: a finished comparison on cartpole-offset.",
        "Not there yet: the capacity grid on corner-switch; the clip grid on corner-switch.",
        "Not there yet: the raw rows of the comparison on corner-switch and cartpole-offset.",
        "Not there yet: a comparison of all arms on corner-switch.",
    ):
        assert line in page.text
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {
        *("suites", "movement", "stationary"),
    }


@pytest.mark.parametrize("question", [one.name for one in QUESTIONS])
def test_a_grid_alone_waits_for_its_comparison(tmp_path, question):
    write_grid(SIZE, tmp_path, "corner-switch", question, lambda *_: 0.5)
    study = read_study(SIZE, tmp_path)
    assert study.unscaled == {question: ("corner-switch",)}
    page = Page(write_page(SIZE, tmp_path))
    assert f"a comparison to normalise the {question} grid by, on corner-switch" in page.text


def test_a_suite_whose_oracle_fails_has_no_normalised_score(tmp_path):
    home = tmp_path / "corner-switch" / "main"
    write_scores(home, lambda *_: 0.5, list(MAIN), range(3), 3)
    table = pd.read_csv(home / "scores.csv")
    table.loc[table["metric"] == "normalised", "value"] = np.nan
    table.to_csv(home / "scores.csv", index=False)
    page = Page(write_page(SIZE, tmp_path))
    assert "for want of an oracle better than random, on corner-switch" in page.text
    assert not (tmp_path / "figures" / "suites.png").exists()


def test_nothing_at_all_is_one_line(tmp_path):
    with pytest.raises(GTRError, match="holds nothing of the study yet: run `gtr study") as caught:
        write_page(SIZE, tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["corner-switch/main/scores.csv", "corner-switch/clip.csv"])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text[:-4], "cut short"),
        (lambda text: "", "is empty"),
        (lambda text: text.replace("seed", "sead", 1), "lacks the column seed"),
        (lambda text: text.replace("\n", "\nx,", 1), "line 2 has"),
        (lambda text: text[: text.rindex(",") + 1] + "much\n", "must be a number, not 'much'"),
        (lambda text: text + text.rstrip("\n").split("\n")[-1] + "\n", "twice"),
    ],
)
def test_a_damaged_table_is_named_in_one_line(tmp_path, name, damage, says):
    write_scores(tmp_path / "corner-switch" / "main", lambda *_: 0.5, ["ppo", "gtr"], range(2), 3)
    write_grid(SIZE, tmp_path, "corner-switch", "clip", lambda *_: 0.5)
    path = tmp_path / name
    path.write_text(damage(path.read_text()))
    with pytest.raises(GTRError, match=says) as caught:
        write_page(SIZE, tmp_path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert not (tmp_path / "study.html").exists()
