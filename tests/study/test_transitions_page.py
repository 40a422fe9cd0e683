import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from gtr.errors import GTRError
from gtr.learner.run import Setting
from gtr.methods import method, numbers
from gtr.study.statistics import Estimate
from gtr.study.transitions import answers, grid_answers, verdicts
from gtr.study.transitions.bar import acceptance
from gtr.study.transitions.page import write_page
from gtr.study.transitions.plan import GRID_SEED, MAIN, QUESTIONS, factors_of
from gtr.study.transitions.reading import ordered, read_study
from gtr.study.transitions.tables import tidy
from tests.study.pages import Page, is_drawn, screenshot
from tests.study.studies import FLOOR, SIZE, TOP, luck, write_grid, write_scores, write_study

FIGURES = {
    *("suites", "drop_in", "reuse", "movement", "capacity", "surface", "shape", "relaxation"),
    *("anchor", "advantage", "cures", "stationary"),
}
COMMAND = "gtr study transitions --size tiny --out <there> & back"
ONE_SEED = replace(SIZE, seeds=1, grid_seeds=1)
NUMBERS = numbers(method("gtr"))

_PLAIN = Setting(method("ppo"), SIZE.suite("corner-switch").config)
SETTINGS = {
    question.name: [factors_of(one.label) for one in question.settings(_PLAIN, _PLAIN, SIZE.steps)]
    for question in QUESTIONS
}
"""What the plan asks for, by question."""

NARROW, OWN = (SETTINGS["capacity"][at] for at in (0, 2))
HIGHEST, LOST = SETTINGS["surface"][5], SETTINGS["surface"][-1]


def scores(gain, cures=()):
    """PPO and GTR share the luck of the seed, GTR gets `gain` more; a cure adds what it is said to.

    The other main arms are far below, all others as PPO, with luck of their own.
    """
    known = {"ppo": 0.5, "gtr": 0.5 + gain, "ppo-kl": 0.2, "ppo-ewma": 0.1, "ppo@defaults": 0.15}

    def score(suite, arm, seed):
        base, _, cure = arm.partition("+")
        own = 0.05 * luck(arm, suite, seed) if arm not in known else 0.0
        return known.get(base, 0.5) + dict(cures).get(cure, 0.0) + 0.02 * luck(suite, seed) + own

    return score


def grids(question, factors, seed):
    """Known effects, and in the stead of one setting a NaN."""
    noise = 0.01 * luck(question, seed)
    match question:
        case "capacity":
            shallow = factors["depth"] == "1"
            return 0.5 + noise + 0.2 * (factors == NARROW) - 0.1 * shallow
        case "clip":
            return 0.5 + noise - 0.3 * (float(factors["clip"]) > 1e5)
        case "surface":
            return float("nan") if factors == LOST else 0.4 + noise + 0.3 * (factors == HIGHEST)
        case "drop_in":
            gain = 0.05 if factors["method"] == "gtr" else 0.01 * float(factors["configuration"])
            return 0.5 + noise + gain
        case "reuse":
            gain = 0.01 * (float(factors["epochs"]) - 5) * (factors["method"] == "gtr")
            return 0.5 + noise + gain - 0.1 * (factors["rate"] == "third")
        case "shape":
            free = factors["clipped"] == "no"
            return 0.5 + noise + (0.3 if free else -0.1) * (factors["shape"] == "gtr-monotone")
        case "anchor":
            return 0.5 + noise + 0.01 * float(factors["count"])
        case _:
            running, gtr = factors["scale"] == "running", factors["method"] == "gtr"
            return 0.4 + noise + 0.1 * running + 0.05 * gtr * (1 if running else -1)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A finished study in which GTR is better by construction, with its page; only read."""
    directory = tmp_path_factory.mktemp("written") / "known"
    score = scores(0.2, {"layer-norm": 0.1, "adam": -0.1}.items())
    write_study(directory, score=score, twin=lambda *_: 1.1, grid=grids)
    write_page(SIZE, directory, COMMAND)
    return directory


def sentence(directory: Path, name: str) -> str:
    return json.loads((directory / "results.json").read_text())["answers"][name]["sentence"]


# ---------------------------------------------------------------- the bar


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


# ---------------------------------------------------------------- the questions


def test_over_several_suites_the_mean_of_their_contrasts_is_told(tmp_path):
    both = replace(SIZE, wide=SIZE.main)
    write_study(tmp_path, both, score=scores(0.2), grid=grids, rows=False)
    first, second = both.main
    path = tmp_path / second / "reuse.csv"
    table = pd.read_csv(path)
    table.loc[table["method"] == "gtr", "value"] -= 0.1 * (TOP - FLOOR)
    table.to_csv(path, index=False)
    answer = grid_answers.reuse(read_study(both, tmp_path))
    two = answer.tables["reuse_contrasts"].iloc[:3]
    assert two["suite"].to_list() == [verdicts.TOGETHER, first, second]
    assert [found.value for found in two["difference"]] == pytest.approx([-0.08, -0.03, -0.13])
    assert answer.sentence.startswith(
        "All else equal, gtr in place of ppo, 2 epochs: \N{MINUS SIGN}0.08 "
        "[\N{MINUS SIGN}0.08, \N{MINUS SIGN}0.08] over 2 suites, worse on corner-switch and "
        "cartpole-offset; gtr in place of ppo, 4 epochs:"
    )


def test_movement_is_compared_with_a_fresh_agent(written):
    assert sentence(written, "movement") == (
        "In the first fifth after a change, the path of ppo next to that of a fresh agent (the "
        "oracle): less straight on corner-switch and cartpole-offset; that of gtr next to that of "
        "ppo@defaults, which has the same clip: straighter on corner-switch and cartpole-offset."
    )


def test_networks_and_clips_are_compared_with_ppo_as_it_was_tuned(written):
    others, clips = len(SETTINGS["capacity"]) - 1, len(SETTINGS["clip"])
    assert sentence(written, "capacity") == (
        f"Shown to be better than ppo as it was tuned: of other networks, 1 of {others} (width "
        f"{NARROW['width']}, depth {NARROW['depth']}) on corner-switch; of clip ranges, none of "
        f"{clips} on corner-switch."
    )
    table = pd.read_csv(written / "tables" / "capacity.csv", dtype={"width": str, "depth": str})
    rows = table.set_index(["width", "depth"])
    assert rows.loc[tuple(NARROW.values()), "difference"] == pytest.approx(0.2)
    assert rows.loc[tuple(OWN.values()), "shown"] == "reference"
    assert rows.loc[(OWN["width"], "1"), "shown"] == "worse"


def test_no_clip_is_written_so_and_numbers_are_in_their_order(written):
    *clips, last = pd.read_csv(written / "tables" / "clip.csv", dtype={"clip": str})["clip"]
    assert last == "none"
    assert [float(clip) for clip in clips] == sorted(
        float(one["clip"]) for one in SETTINGS["clip"] if float(one["clip"]) < 1e6
    )
    stiffness = pd.read_csv(written / "tables" / "surface.csv")["stiffness"]
    assert list(stiffness) == sorted(stiffness)
    assert ordered(["none", "10", "9", "0.5", "batch"]) == ["0.5", "9", "10", "batch", "none"]


def test_the_highest_setting_is_named_and_lost_ones_are_counted(written):
    found = sentence(written, "surface")
    left = len(SETTINGS["surface"]) - 1
    assert f"stiffness {NUMBERS['stiffness']} and radius {NUMBERS['radius']}; highest" in found
    highest = f"{HIGHEST['stiffness']} and {HIGHEST['radius']}"
    assert f"{highest} of {left} settings on corner-switch (0.70" in found
    document = json.loads((written / "results.json").read_text())
    missing = document["answers"]["surface"]["missing"]
    assert missing.startswith("1 setting without a score")
    assert len(pd.read_csv(written / "tables" / "surface.csv")) == left


def test_contrasts_are_those_of_settings_that_agree_in_all_else(written):
    found = pd.read_csv(written / "tables" / "shape_contrasts.csv")
    expected = [0.1, 0, 0, -0.3, 0, 0]
    assert found["difference"].to_list() == pytest.approx(expected, abs=1e-12)
    assert sentence(written, "drop_in") == (
        "All else equal, gtr in place of ppo: better on corner-switch."
    )
    drawn = {float(one["configuration"]) for one in SETTINGS["drop_in"]}
    found = pd.read_csv(written / "tables" / "drop_in_contrasts.csv")
    expected = 0.05 - 0.01 * sum(drawn) / len(drawn)
    assert found["difference"].to_list() == pytest.approx([expected])
    assert sentence(written, "shape") == (
        "All else equal, with the clip, gtr against gtr-monotone: better on corner-switch; with "
        "the clip, gtr against gtr-bump: no difference shown on corner-switch; with the clip, gtr "
        "against gtr-exact: no difference shown on corner-switch; without it, gtr against "
        "gtr-monotone: worse on corner-switch; without it, gtr against gtr-bump: no difference "
        "shown on corner-switch; without it, gtr against gtr-exact: no difference shown on "
        "corner-switch."
    )
    found = pd.read_csv(written / "tables" / "reuse_contrasts.csv")
    assert found["difference"].to_list() == pytest.approx([-0.03, -0.01, 0.03, 0.11])
    assert sentence(written, "reuse") == (
        "All else equal, gtr in place of ppo, 2 epochs: worse on corner-switch; gtr in place of "
        "ppo, 4 epochs: worse on corner-switch; gtr in place of ppo, 8 epochs: better on "
        "corner-switch; gtr in place of ppo, 16 epochs: better on corner-switch."
    )
    found = pd.read_csv(written / "tables" / "anchor_contrasts.csv")
    counts = {float(one["count"]) for one in SETTINGS["anchor"] if one["anchor"] == "mixture"}
    mean = sum(counts) / len(counts)
    assert found["difference"].to_list() == pytest.approx([0.01 * (mean - 1)] * 2)
    found = pd.read_csv(written / "tables" / "advantage_contrasts.csv")
    assert found["difference"].to_list() == pytest.approx([*[-0.05] * 3, *[0.05] * 3, 0.1, 0.2])
    assert found["shown"].to_list() == ["worse"] * 3 + ["better"] * 5


def test_grids_are_normalised_by_the_same_phases(tmp_path):
    """The oracle earns 10 times as much in phase 2, which the short grid never sees."""
    home = tmp_path / "corner-switch"
    write_scores(home / "main", lambda arm, seed: 0.5, ["ppo", "gtr"], range(3), 3)
    table = pd.read_csv(home / "main" / "scores.csv")
    table.loc[table["metric"] == "return_phase_2", "value"] *= 10
    table.loc[table["metric"] == "later_return", "value"] *= 5.5
    table.to_csv(home / "main" / "scores.csv", index=False)
    write_grid(SIZE, tmp_path, "corner-switch", "surface", lambda *_: 0.25)
    study = read_study(SIZE, tmp_path)
    assert set(study.grids["surface"]["value"].round(12)) == {0.25}
    level = grid_answers.level(study, "surface", "corner-switch", "ppo")
    assert (level.value, level.runs) == (pytest.approx(0.5), 3)


def test_cures_and_rivals_are_compared_over_suites(written):
    found = sentence(written, "cures")
    for base in ("ppo", "gtr"):
        assert (
            f"added to {base}: layer-norm better, adam worse, no difference shown for l2-init and "
            "c-chain" in found
        )
    assert "against gtr: ppo-kl, ppo-ewma, ppo@defaults, spo, cim" in found
    assert found.endswith("gtr-one-anchor and gtr-behaviour worse.")
    table = pd.read_csv(written / "tables" / "cures.csv")
    row = table[(table["method"] == "gtr+layer-norm") & (table["suite"] == "all together")].iloc[0]
    assert row["difference"] == pytest.approx(0.1, abs=0.03)
    assert row["to"] == "gtr"


def test_a_comparison_of_all_arms_stands_for_that_of_the_main_ones(tmp_path):
    home = tmp_path / "corner-switch"
    write_scores(home / "main", lambda *_: 0.1, ["ppo", "gtr"], range(3), 3)
    write_scores(home / "all", lambda *_: 0.9, ["ppo", "gtr", "spo"], range(3), 3)
    study = read_study(SIZE, tmp_path)
    assert study.wide == ("corner-switch",)
    assert set(study.runs("corner-switch", "ppo")) == {0.9}
    assert (
        list(study.runs("corner-switch", "ppo", "later_return"))
        == [FLOOR + 0.9 * (TOP - FLOOR)] * 3
    )


def test_what_relaxes_is_drawn_where_the_rows_were_kept(written):
    curve = pd.read_csv(written / "tables" / "relaxation.csv")
    held = curve[(curve["measure"] == "redescended_fraction") & (curve["suite"] == "corner-switch")]
    assert set(held["method"]) == {"gtr"}
    assert held["value"].iloc[0] > 4 * held["value"].iloc[-1]
    told = sentence(written, "relaxation")
    assert "before one, is higher on corner-switch and cartpole-offset" in told
    assert "share of the number, is higher on corner-switch and cartpole-offset" in told


def test_what_relaxed_is_still_drawn_when_the_rows_did_not_come_along(tmp_path):
    size = replace(SIZE, wide=())
    write_study(tmp_path, size, score=scores(0.2))
    write_page(size, tmp_path)
    table = tmp_path / "tables" / "relaxation.csv"
    before = pd.read_csv(table)
    for suite in SIZE.main:
        assert set(before[before["suite"] == suite]["method"]) == {"ppo", "gtr"}
    shutil.rmtree(tmp_path / SIZE.main[0] / "main" / "runs")
    write_page(size, tmp_path)
    order = ["suite", "method", "measure", "step"]
    after = pd.read_csv(table)
    pd.testing.assert_frame_equal(
        *(one.sort_values(order, ignore_index=True) for one in (before, after)), check_exact=True
    )
    assert (tmp_path / "figures" / "relaxation.png").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("value_low", "low"),
        lambda text: text.replace(text.splitlines()[1].split(",")[4], "much"),
        lambda text: text[: text.index("\n") + 20],
    ],
)
def test_a_damaged_table_of_curves_is_named(tmp_path, change):
    size = replace(SIZE, wide=())
    write_study(tmp_path, size, score=scores(0.2))
    write_page(size, tmp_path)
    table = tmp_path / "tables" / "relaxation.csv"
    table.write_text(change(table.read_text()))
    with pytest.raises(GTRError, match=r"relaxation\.csv is damaged .*: delete it"):
        read_study(size, tmp_path)


# ---------------------------------------------------------------- studies in parts


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


# ---------------------------------------------------------------- the files


def test_the_page_is_one_file_that_loads_nothing(written):
    page = Page(written / "study.html")
    text = (written / "study.html").read_text()
    assert all(load.startswith("#") for load in page.loads)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    assert "http" not in text
    assert "@import" not in text
    assert {load[1:] for load in page.loads} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == len(FIGURES)
    assert "prefers-color-scheme:dark" in text


def test_every_figure_is_drawn(written):
    found = {path.stem: path for path in (written / "figures").glob("*.png")}
    assert set(found) == FIGURES
    assert [name for name, path in found.items() if not is_drawn(path)] == []


def test_every_table_is_tidy(written):
    found = {path.stem: pd.read_csv(path) for path in (written / "tables").glob("*.csv")}
    assert set(found) == {
        *(
            "acceptance",
            "suites",
            "suites_pairs",
            "drop_in",
            "drop_in_contrasts",
            "reuse",
            "reuse_contrasts",
            "movement",
            "capacity",
            "clip",
            "surface",
            "shape",
        ),
        *("shape_contrasts", "relaxation", "anchor", "anchor_contrasts", "advantage"),
        *("advantage_contrasts", "cures", "others", "stationary", "stationary_pairs", "tuned"),
    }
    for name, table in found.items():
        assert len(table), name
        assert "Estimate" not in table.to_csv(), name
    demand = (
        found["acceptance"].set_index(["demand", "quantity"]).loc[("improvement", "improvement")]
    )
    assert (demand["shown"], demand["value"], demand["value_runs"]) == ("met", 1, 10)
    chosen = found["tuned"].set_index(["suite", "arm", "number"])["value"]
    assert chosen["corner-switch", "gtr+adam", "radius"] == 0.5


def test_an_estimate_becomes_plain_cells():
    table = tidy(pd.DataFrame({"a": ["x", "y"], "b": [Estimate(1.0, 0.5, 2.0, 3), None]}))
    assert list(table.columns) == ["a", "b", "b_low", "b_high", "b_runs"]
    assert table.iloc[0].to_list() == ["x", 1.0, 0.5, 2.0, 3]
    assert table["b"].isna().to_list() == [False, True]


def test_pages_are_reproducible(written):
    files = [path for path in written.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    write_page(SIZE, written, COMMAND)
    after = {path: path.read_bytes() for path in written.rglob("*") if path.is_file()}
    assert after == before


def test_what_is_written_by_others_is_escaped(tmp_path):
    home = tmp_path / "corner-switch"
    write_scores(home / "main", lambda *_: 0.5, ["ppo", "gtr"], range(2), 3)
    write_grid(SIZE, tmp_path, "corner-switch", "clip", lambda *_: 0.5)
    grid = home / "clip.csv"
    grid.write_text(grid.read_text().replace("0.05,", "<b>x,"))
    page = Page(write_page(SIZE, tmp_path, "<script>alert(1)</script>"))
    assert not {"script", "b"} & set(page.tags)
    assert "<script>alert(1)</script>" in page.text
    assert "<b>x" in page.text


def test_a_browser_shows_the_page(written, tmp_path):
    image = screenshot(written / "study.html", tmp_path)
    assert imread(image).shape[:2] == (1600, 1200)
    assert is_drawn(image)
