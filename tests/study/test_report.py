import json
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread
from rich.console import Console

from gtr.errors import GTRError
from gtr.study import figures
from gtr.study.records import read_directory
from gtr.study.report import write_report
from gtr.study.results import evaluate, headline
from gtr.study.table import score_table
from tests.study.pages import Page, is_drawn, screenshot
from tests.study.synthetic import (
    known_arms,
    step_curve,
    training,
    write_comparison,
    write_training,
)

FIGURES = {
    "learning_curves",
    "scores",
    "probability_of_improvement",
    "performance_profile",
    "adaptation_time",
    "movement",
    "health",
}


def arms_of(seeds: range, gain: float, shift: int = 0) -> dict[str, pd.DataFrame]:
    """PPO and GTR share the luck of the seed; GTR gets `gain` more of the return."""
    luck = np.random.default_rng(shift).normal(0, 0.1, len(seeds))
    noise = np.random.default_rng(1 + shift).normal(0, 0.01, len(seeds))
    every = tuple(seeds)
    return {
        "ppo": training(lambda s, p, w: 0.5 + luck[s], every),
        "gtr": training(lambda s, p, w: 0.5 + luck[s] + noise[s] + gain, every),
        "oracle": training(lambda *_: 1.0, every),
        "random": training(lambda *_: 0.0, every),
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The known comparison with its report; tests only read it."""
    directory = tmp_path_factory.mktemp("written") / "known"
    write_comparison(directory, known_arms(), (0, 1, 2))
    write_report(directory)
    return directory


def test_a_report_has_the_known_answers(written):
    document = json.loads((written / "results.json").read_text())
    gtr = document["methods"]["gtr"]
    # GTR is at 0 for a quarter of each later phase, PPO for half; seeds are 1, 1.01, 1.02 above.
    assert gtr["scores"]["normalised"]["iqm"] == pytest.approx(0.7575)
    assert gtr["scores"]["adaptation_time"]["iqm"] == 600
    assert gtr["probability_of_improvement"]["iqm"] == 1
    assert gtr["difference"]["iqm"] == pytest.approx(0.2525)
    assert gtr["verdict"] == "better"
    assert document["methods"]["ppo-kl"]["verdict"] == "worse"
    assert document["methods"]["ppo-kl"]["scores"]["adaptation_censored"]["iqm"] == 1
    assert gtr["configuration"]["numbers"]["stiffness"] == 0.4
    assert document["reference"] == "ppo"
    assert document["seeds"] == [0, 1, 2]
    assert document["versions"]["jax"] == "0.10.2"
    assert document["command"].startswith("gtr compare")
    assert document["finished"]
    assert document["verdict"] == (
        "Smoke check with 3 seeds: better than ppo: gtr; worse than ppo: ppo-kl."
    )


def test_scores_are_one_line_for_pandas(written):
    scores = pd.read_csv(written / "scores.csv")
    assert list(scores.columns) == ["method", "seed", "metric", "value"]
    wide = scores.pivot(index=["method", "seed"], columns="metric", values="value")
    assert wide.loc[("ppo", 2), "later_return"] == pytest.approx(0.51)
    assert wide.loc[("ppo", 0), "return_phase_1"] == pytest.approx(0.5)


def test_a_report_is_one_file_that_loads_nothing(written):
    page = Page(written / "report.html")
    assert all(load.startswith("#") for load in page.loads)
    assert not {"script", "link", "iframe", "img", "object"} & set(page.tags)
    text = (written / "report.html").read_text()
    assert "http" not in text
    assert "@import" not in text
    assert {load[1:] for load in page.loads} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") == len(FIGURES)
    assert "gtr compare corner-switch --methods gtr ppo --seeds 3" in page.text


def test_every_figure_is_drawn(written):
    found = {path.stem: path for path in (written / "figures").glob("*.png")}
    assert set(found) == FIGURES
    assert [name for name, path in found.items() if not is_drawn(path)] == []


def test_reports_are_reproducible_and_leave_no_litter(written, known):
    names = ("report.html", "results.json", "scores.csv")
    write_report(known)
    for name in names:
        assert (known / name).read_bytes() == (written / name).read_bytes()
    assert {path.name for path in known.iterdir()} == {
        *names, "comparison.json", "runs", "figures",
    }  # fmt: skip


def test_permuting_seeds_changes_no_estimate(tmp_path):
    arms = arms_of(range(6), 0.02)
    plain = evaluate(read_directory(write_comparison(tmp_path / "a", arms, tuple(range(6)))))
    renamed = {}
    for name, metrics in arms.items():
        renamed[name] = metrics.assign(seed=metrics["seed"].map(lambda s: (s * 5 + 1) % 6))
    other = evaluate(read_directory(write_comparison(tmp_path / "b", renamed, tuple(range(6)))))
    assert plain.improvement == other.improvement
    assert plain.differences == other.differences
    assert plain.estimates["gtr"]["normalised"] == other.estimates["gtr"]["normalised"]


@pytest.mark.parametrize(
    ("gain", "word"), [(0.05, "better"), (-0.05, "worse"), (0.0, "no difference shown")]
)
def test_wins_losses_and_draws_are_said_alike(tmp_path, gain, word):
    directory = write_comparison(tmp_path / "c", arms_of(range(12), gain), tuple(range(12)))
    results = evaluate(read_directory(directory))
    assert results.verdicts == {"gtr": word}
    assert headline(results).lower().startswith(word)
    assert "smoke check" not in " ".join(results.notes)


def test_one_seed_makes_a_report_without_intervals(tmp_path):
    directory = write_comparison(tmp_path / "one", known_arms((0,)), (0,))
    page = Page(write_report(directory))
    assert "one seed, so nothing is shown" in page.text
    document = json.loads((directory / "results.json").read_text())
    assert document["methods"]["gtr"]["difference"]["low"] is None


def test_an_unfinished_comparison_says_what_is_missing(tmp_path):
    arms = known_arms()
    gtr = arms["gtr"]
    arms["gtr"] = gtr[(gtr["seed"] == 0) | (gtr["iteration"] < 30)]
    arms["ppo-kl"] = arms["ppo-kl"].iloc[:0]
    del arms["oracle"]
    directory = write_comparison(tmp_path / "part", arms, (0, 1, 2))
    (directory / "figures").mkdir()
    (directory / "figures" / "adaptation_time.png").write_text("of a comparison with an oracle")
    page = Page(write_report(directory))
    assert "unfinished: gtr has finished 1 of 3 seeds; ppo-kl has not begun" in page.text
    assert "oracle has not begun" in page.text
    assert "Random is the policy before any training" in page.text
    assert "The oracle is an agent" not in page.text
    assert "Normalised: 0" not in page.text
    document = json.loads((directory / "results.json").read_text())
    assert not document["finished"]
    assert document["metric"] == "later_return"
    assert document["methods"]["gtr"]["finished_seeds"] == [0]
    assert not (directory / "figures" / "adaptation_time.png").exists()


def test_a_comparison_in_its_first_phase_has_curves_but_no_scores(tmp_path):
    arms = {"gtr": training(step_curve(0), (0, 1)).query("iteration < 15")}
    directory = write_comparison(tmp_path / "young", arms, (0, 1))
    page = Page(write_report(directory))
    assert "Nothing can be compared yet" in page.text
    assert is_drawn(directory / "figures" / "learning_curves.png")
    assert len(pd.read_csv(directory / "scores.csv")) == 0


def test_a_comparison_without_an_iteration_is_refused(tmp_path):
    directory = write_comparison(tmp_path / "none", {}, (0,))
    document = directory / "comparison.json"
    document.write_text(json.dumps(json.loads(document.read_text()) | {"methods": ["gtr"]}))
    with pytest.raises(GTRError, match="no iteration of any method yet"):
        write_report(directory)


def test_a_single_training_has_curves_and_health_only(tmp_path):
    write_training(tmp_path / "run", training(step_curve(5), (0, 1)), "gtr")
    page = Page(write_report(tmp_path / "run"))
    found = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
    assert found == {"learning_curves", "movement", "health"}
    assert "table" not in page.tags
    assert "It takes a comparison" in page.text


def test_many_methods_keep_apart(tmp_path):
    names = ["ppo", "gtr", *(f"rival-{number}" for number in range(12))]
    base = training(step_curve(5, spread=0.1), (0, 1), phases=2, iterations=6)
    arms = {name: base.assign(**{"return": base["return"] + n}) for n, name in enumerate(names)}
    directory = write_comparison(tmp_path / "many", arms, (0, 1), phases=2)
    write_report(directory)
    assert is_drawn(directory / "figures" / "learning_curves.png")


def test_time_is_counted_in_what_the_comparison_says_a_step_is(known):
    def labels() -> list[str]:
        results = evaluate(read_directory(known))
        drawn = [figures.learning_curves(results), figures.movement(results)]
        return [axes.get_xlabel() for figure in drawn if figure for axes in figure.axes[-1:]]

    assert labels() == ["environment steps", "environment steps since the change"]
    document = known / "comparison.json"
    document.write_text(json.dumps(json.loads(document.read_text()) | {"step": "answers <b>"}))
    assert labels() == ["answers <b>", "answers <b> since the change"]
    page = Page(write_report(known))
    assert "Adaptation time is in answers <b> since the change." in page.text
    assert "3 phases of 2,000 answers <b>" in page.text


def test_what_is_written_by_others_is_escaped(tmp_path):
    arms = {"ppo": training(step_curve(5), (0,)), "<b>x": training(step_curve(5), (0,))}
    directory = write_comparison(tmp_path / "odd", arms, (0,))
    document = directory / "comparison.json"
    changed = json.loads(document.read_text()) | {"command": "<script>alert(1)</script>"}
    document.write_text(json.dumps(changed))
    page = Page(write_report(directory))
    assert not {"script", "b"} & set(page.tags)
    assert "<script>alert(1)</script>" in page.text


def test_a_directory_that_cannot_be_written_to_is_named(known):
    (known / "figures").write_text("in the way")
    with pytest.raises(GTRError, match=r"cannot write .*learning_curves\.png"):
        write_report(known)


def test_the_terminal_shows_the_numbers_of_the_page(known):
    screen = StringIO()
    Console(file=screen, width=100).print(score_table(evaluate(read_directory(known))))
    text = screen.getvalue()
    for piece in ("0.76", "[0.75, 0.77]", "+0.25", "better", "worse", "Smoke check"):
        assert piece in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_browser_shows_the_report(written, tmp_path):
    image = screenshot(written / "report.html", tmp_path)
    assert imread(image).shape[:2] == (1600, 1200)
    assert is_drawn(image)
