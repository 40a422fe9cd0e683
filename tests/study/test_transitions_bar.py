"""What the study says of the bar that the project set itself."""

import json
from dataclasses import replace

import pytest

from gtr.study.transitions import answers, verdicts
from gtr.study.transitions.bar import acceptance
from gtr.study.transitions.page import write_page
from gtr.study.transitions.plan import GRID_SEED
from gtr.study.transitions.reading import read_study
from tests.study.known_study import COMMAND, FIGURES, ONE_SEED, grids, scores, sentence
from tests.study.pages import Page
from tests.study.studies import SIZE, write_study


def test_better_by_construction_meets_the_bar(written):
    document = json.loads((written / "results.json").read_text())
    bar = document["acceptance"]
    assert bar["met"] is True
    assert [demand["met"] for demand in bar["demands"].values()] == [True] * 6
    assert bar["headline"] == "GTR's acceptance bar is met: of its 6 demands 6 are met."
    assert bar["demands"]["improvement"]["values"]["improvement"]["value"] == 1
    assert bar["demands"]["stationary"]["values"]["share"] == 1
    assert bar["suites"] == bar["twins"] == ["corner-switch", "cartpole-offset"]
    assert bar["suites_missing"] == []
    gtr = document["together"]["suites"]["gtr"]
    assert gtr["difference"]["value"] == pytest.approx(0.2)
    assert gtr["score"]["value"] == pytest.approx(0.7, abs=0.01)
    assert gtr["shown"] == "better"
    assert document["seeds"]["comparison"] == list(range(10))
    assert document["seeds"]["grids"] == [GRID_SEED, GRID_SEED + 1, GRID_SEED + 2]
    assert set(document["versions"]) == {"gtr-rl", "jax", "jaxlib", "gymnax", "numpy"}
    assert document["command"] == COMMAND


@pytest.mark.parametrize(
    ("gain", "together", "by_suite"),
    [
        (0.2, "gtr is better", "better on corner-switch and cartpole-offset"),
        (0.0, "no difference shown", "no difference shown on corner-switch and cartpole-offset"),
        (-0.2, "gtr is worse", "worse on corner-switch and cartpole-offset"),
    ],
)
def test_wins_losses_and_draws_are_said_alike(tmp_path, gain, together, by_suite):
    write_study(tmp_path, replace(SIZE, wide=()), score=scores(gain), rows=False)
    study = read_study(SIZE, tmp_path)
    answer = answers.does_it_help(study)
    assert f"]: {together}; from ppo@defaults" in answer.sentence
    searched_alike = (
        f"it is +{0.35 + gain:.2f} [{0.35 + gain:.2f}, {0.35 + gain:.2f}]: gtr is better;"
    )
    assert searched_alike in answer.sentence
    pairs = answer.tables["suites_pairs"].set_index(["to", "suite"])["difference"]
    for rival, score in (("ppo", 0.5), ("ppo-kl", 0.2), ("ppo-ewma", 0.1), ("ppo@defaults", 0.15)):
        for suite in ("corner-switch", "cartpole-offset", verdicts.TOGETHER):
            assert pairs[rival, suite].value == pytest.approx(0.5 + gain - score)
    assert answer.sentence.endswith(f"by suite, gtr next to ppo: {by_suite}.")
    bar = acceptance(study)
    assert bar.met is (gain > 0)
    assert [line.met for line in bar.lines] == [gain > 0, gain > 0, True, True, True, gain >= 0]


@pytest.mark.parametrize(("share", "met"), [(0.975, False), (0.985, True)])
def test_the_twins_allow_two_per_cent(tmp_path, share, met):
    def twin(suite, arm, seed):
        return 1.2 * (share if arm == "gtr" else 1.0)

    write_study(tmp_path, replace(SIZE, wide=()), score=scores(0.2), twin=twin, rows=False)
    bar = acceptance(read_study(SIZE, tmp_path))
    assert bar.lines[-1].met is bar.met is met
    assert bar.lines[-1].values["share"] == pytest.approx(share)


def test_a_twin_on_which_ppo_fails_tells_no_share(tmp_path):
    write_study(tmp_path, replace(SIZE, wide=()), score=scores(0.2), twin=lambda *_: -0.1)
    line = acceptance(read_study(SIZE, tmp_path)).lines[-1]
    assert line.met is None
    assert "no better than random" in line.finds


def test_few_seeds_are_a_smoke_check(tmp_path):
    write_study(tmp_path, replace(SIZE, seeds=3), score=scores(0.2), grid=grids)
    page = Page(write_page(SIZE, tmp_path))
    assert "Smoke check with 3 seeds. GTR's acceptance bar is met" in page.text
    assert "3 seeds: this is a smoke check. A claim needs at least 10." in page.text
    assert json.loads((tmp_path / "results.json").read_text())["acceptance"]["smoke_check"]


def test_one_seed_shows_nothing_and_is_drawn(tmp_path):
    write_study(tmp_path, ONE_SEED, score=scores(0.2), grid=grids)
    page = Page(write_page(ONE_SEED, tmp_path))
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["acceptance"]["met"] is None
    assert "not known yet" in document["acceptance"]["headline"]
    assert "one seed, so nothing is shown" in sentence(tmp_path, "suites")
    assert "one seed, so nothing is shown on corner-switch" in sentence(tmp_path, "capacity")
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == FIGURES
    assert "better on" not in page.text
