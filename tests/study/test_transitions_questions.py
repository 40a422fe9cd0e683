"""What the study answers to each of its questions."""

import json
import shutil
from dataclasses import replace

import pandas as pd
import pytest

from gtr.errors import GTRError
from gtr.study.transitions import grid_answers, verdicts
from gtr.study.transitions.page import write_page
from gtr.study.transitions.reading import ordered, read_study
from tests.study.known_study import HIGHEST, NARROW, NUMBERS, OWN, SETTINGS, grids, scores, sentence
from tests.study.studies import FLOOR, SIZE, TOP, write_grid, write_scores, write_study


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
