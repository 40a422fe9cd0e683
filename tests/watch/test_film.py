"""A film of a comparison, from training to the report; and ways to ask for what is not there."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gtr
from gtr import cli
from gtr.errors import GTRError
from gtr.watch.episodes import Moment
from gtr.watch.film import film
from gtr.watch.policies import Change
from gtr.watch.screens.canvas import GREEN
from gtr.watch.sheet import Column, Panel, Sheet
from tests.learner.problems import small_suite
from tests.study.pages import Page
from tests.watch.test_screens import where

SUITE = small_suite(phases=3, phase_iterations=3)


@pytest.fixture(scope="module")
def duel(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("duel")
    # As `gtr compare` leaves it, without the two arms that no film shows.
    for name in ("ppo", "gtr"):
        arm = directory / "runs" / name
        gtr.train(SUITE, gtr.method(name), seeds=[4, 2, 9, 7], directory=arm)
        plan = json.loads((arm / "config.json").read_text())
    plan |= {"methods": ["ppo", "gtr"], "command": ""}
    (directory / "comparison.json").write_text(json.dumps(plan))
    return directory


@pytest.fixture
def command(monkeypatch, capsys):
    monkeypatch.setattr("gtr.suites.suite", lambda name, size: SUITE)

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gtr", *map(str, args)])
        status = 0
        try:
            cli.main()
        except SystemExit as exit:
            status = exit.code if isinstance(exit.code, int) else 1
        return status, *capsys.readouterr()

    return run


def test_a_comparison_becomes_a_clip_and_the_report_shows_it(command, duel):
    status, output, error = command("watch", duel, "--seconds", 2)
    assert (status, error) == (0, "")
    assert f"clip    {duel / 'watch.gif'} (change into phase 2, seed 4)" in output
    assert f"report  {duel / 'report.html'}" in output
    with Image.open(duel / "watch.gif") as clip:
        # 8 steps a second, each a frame
        assert clip.n_frames == 16
        assert clip.info["duration"] == 120
        assert clip.info["loop"] == 0
        width, height = clip.size
    assert (width % 2, height % 2) == (0, 0)
    assert (duel / "watch.gif").stat().st_size < 2e6
    assert (duel / "watch.mp4").read_bytes()[4:8] == b"ftyp"
    page = Page(duel / "report.html")
    assert page.tags.count("img") == 1
    assert "watch" in page.ids


def test_a_film_repeats_to_the_byte_and_leaves_the_report_alone(duel, tmp_path):
    made = [
        film(duel, suite=SUITE, phase=1, seed=9, seconds=1, out=tmp_path / f"{i}.gif")
        for i in range(2)
    ]
    assert made[0].gif.read_bytes() == made[1].gif.read_bytes()
    assert made[0].change == Change(1, 9)
    other = film(duel, suite=SUITE, phase=1, seed=2, seconds=1, out=tmp_path / "other.gif")
    assert other.gif.read_bytes() != made[0].gif.read_bytes()


def test_one_arm_is_a_training_and_a_film_needs_no_encoder(duel, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    (tmp_path / "arm.mp4").write_text("of an earlier film")
    made = film(duel / "runs/gtr", suite=SUITE, seconds=1, out=tmp_path / "arm.gif")
    assert made.mp4 is None
    assert not (tmp_path / "arm.mp4").exists()
    with Image.open(made.gif) as clip:
        assert clip.n_frames == made.frames == 8


def test_the_paying_corner_moves_with_the_world(duel, tmp_path):
    """3 x 3 cells of 80 pixels; in a column's first picture, where is green?"""
    made = film(duel, suite=SUITE, phase=1, seconds=1, out=tmp_path / "a.gif")
    with Image.open(made.gif) as clip:
        frame = np.asarray(clip.convert("RGB")).astype(int)
    green = (abs(frame - Image.new("RGB", (1, 1), GREEN).getpixel((0, 0))) < 12).all(-1)
    panels = [green[:, 16 + 254 * i : 16 + 254 * i + 240] for i in range(3)]
    at = [np.argwhere(panel).mean(0).round(-1) for panel in panels]
    assert not np.array_equal(at[0], at[1])
    np.testing.assert_array_equal(at[1], at[2])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"phase": 3}, "no change into phase 3: give --phase 1 to 2"),
        ({"phase": 0}, "no change into phase 0"),
        ({"seed": 7}, "seed 7 has no policies kept; give --seed 4 or 2 or 9"),
        ({"seed": 5}, "seed 5 was not trained"),
        ({"seconds": 0}, "--seconds is 0"),
        ({"out": "clip.mp4"}, "give a name that ends in .gif"),
    ],
)
def test_what_is_not_there_is_one_line(duel, options, says):
    with pytest.raises(GTRError, match=says):
        film(duel, suite=SUITE, **options)


def test_missing_policies_say_how_to_get_them(duel, tmp_path):
    copy = tmp_path / "duel"
    shutil.copytree(duel, copy)
    (copy / "runs/gtr/policies/phase-2.safetensors").unlink()
    with pytest.raises(GTRError, match=r"phase 2 is not over for every method.* give --phase 1"):
        film(copy, suite=SUITE, phase=2)
    assert film(copy, suite=SUITE, seconds=1).change.phase == 1
    (copy / "runs/gtr/policies/phase-1.safetensors").unlink()
    with pytest.raises(GTRError, match=r"not through a change .*trains on"):
        film(copy, suite=SUITE)
    shutil.rmtree(copy / "runs/gtr/policies")
    with pytest.raises(GTRError, match=r"keeps no policies of gtr: .*train again"):
        film(copy, suite=SUITE)
    config = json.loads((copy / "runs/ppo/config.json").read_text())
    config["learner"]["network"] = {"Oracle": {}}
    (copy / "runs/ppo/config.json").write_text(json.dumps(config))
    with pytest.raises(GTRError, match="tells no learner that this version"):
        film(copy, suite=SUITE)


def test_the_help_teaches(command):
    status, output, _ = command("watch", "--help")
    assert status == 0
    assert "gtr watch runs/duel" in output
    assert "gtr-rl[video]" in output


def test_a_directory_of_nothing_is_one_line(command, tmp_path):
    status, output, error = command("watch", tmp_path)
    assert (status, output) == (2, "")
    assert error.startswith("gtr: ")
    assert "holds neither comparison.json nor metrics.csv" in error
    assert error.count("\n") == 1


def test_a_frame_has_pictures_and_captions_in_their_places():
    sheet = Sheet("title", ["ppo", "gtr"], [Column("a", "b", ""), Column("c", "d", "")], (20, 30))
    picture = np.full((20, 30, 3), (255, 0, 0), np.uint8)
    blue = np.full((20, 30, 3), (0, 0, 255), np.uint8)
    moment = Moment(None, 1, 2, 0.5, False)
    rows = [[Panel(picture, moment), Panel(blue, moment)]] * 2
    frame = np.asarray(sheet.frame(rows, 1.0))
    assert frame.shape[:2] == sheet.size[::-1]
    red = where(frame, "#ff0000")
    assert len(red) == 2 * 20 * 30
    assert set(red[:, 1]) == set(range(16, 46))
    assert set(where(frame, "#0000ff")[:, 1]) == set(range(60, 90))
