"""The files that the study leaves: its page, figures and tables."""

import pandas as pd
from matplotlib.image import imread

from gtr.study.statistics import Estimate
from gtr.study.transitions.page import write_page
from gtr.study.transitions.tables import tidy
from tests.study.known_study import COMMAND, FIGURES
from tests.study.pages import Page, is_drawn, screenshot
from tests.study.studies import SIZE, write_grid, write_scores


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
