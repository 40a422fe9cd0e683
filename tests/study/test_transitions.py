from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from gtr.errors import GTRError
from gtr.learner.config import check
from gtr.learner.run import Setting
from gtr.methods import method, numbers
from gtr.objective import validate
from gtr.study.transitions import extent, extents, steps, study
from gtr.study.transitions.plan import (
    MAIN,
    QUESTIONS,
    defaults,
    factors_of,
    label,
)

PLAIN = Setting(method("ppo"), extent("cpu").suite("corner-switch").config)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.name)
@pytest.mark.parametrize("count", [3, 6])
def test_a_question_asks_of_settings_that_can_be_and_each_once(question, count):
    settings = list(question.settings(PLAIN, replace(PLAIN, method=method("gtr")), count))
    for one in settings:
        validate(one.method)
        check(one.config)
        assert tuple(factors_of(one.label)) == question.factors
    labels = [one.label for one in settings]
    assert len(set(labels)) == len(labels) > 2
    assert len({(one.method, one.config) for one in settings}) == len(labels)


def test_labels_are_read_as_they_were_written():
    assert factors_of(label(a=1e-05, b="x y".replace(" ", "-"), c=3)) == {
        "a": "1e-05",
        "b": "x-y",
        "c": "3",
    }


@pytest.mark.parametrize("name", extents())
def test_every_size_names_suites_and_arms_that_there_are(name):
    size = extent(name)
    for suite in size.main:
        arms = [one.name for one in size.arms(suite)]
        assert tuple(arms[: len(MAIN)]) == MAIN
        assert len(set(arms)) == len(arms)
        assert (len(arms) > len(MAIN)) == (suite in size.wide)
        found = size.suite(suite)
        assert found.changing
        assert found.phases >= 3
    assert set(size.wide) <= set(size.main)
    assert steps(size) > 0


def test_gtr_is_tuned_in_nothing_of_its_own():
    assert not defaults("gtr").tuned
    assert not defaults("gtr+layer-norm").tuned
    assert defaults("ppo").tuned
    assert not defaults("ppo@defaults").tuned
    assert defaults("gtr-monotone").tuned


def test_the_grids_begin_with_the_defaults_of_the_study():
    """A grid that has no anchors of the default kind would compare with nothing."""
    anchors = next(one for one in QUESTIONS if one.name == "anchor")
    settings = anchors.settings(PLAIN, PLAIN, 6)
    assert method("gtr-behaviour") in {one.method for one in settings}
    assert set(numbers(method("gtr"))) == {
        "clip",
        "stiffness",
        "radius",
        "anchors",
        "every",
        "decay",
    }


def test_a_size_or_study_that_is_not_there_is_named():
    with pytest.raises(GTRError, match="no size 'smok' of the study; did you mean 'smoke'"):
        extent("smok")


@pytest.mark.slow
def test_the_smoke_study_is_made_in_one_go_and_goes_on_where_it_was_cut(tmp_path: Path):
    size = replace(extent("smoke"), share=0.05, phases=2)
    seen = 0

    def stop(arm: str, status) -> None:
        nonlocal seen
        seen += 1
        if seen == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(size, directory=tmp_path / "cut", progress=stop)
    page = study(size, directory=tmp_path / "cut")
    whole = study(size, directory=tmp_path / "whole")
    tables = sorted(path.name for path in (whole.parent / "tables").glob("*.csv"))
    assert tables
    for name in tables:
        ours = (page.parent / "tables" / name).read_bytes()
        assert ours == (whole.parent / "tables" / name).read_bytes()
    for question in QUESTIONS:
        for suite in size.wide:
            rows = pd.read_csv(tmp_path / "whole" / suite / f"{question.name}.csv")
            assert set(question.factors) < set(rows.columns)
    with pytest.raises(GTRError, match="another study"):
        study(extent("cpu"), directory=tmp_path / "whole")
