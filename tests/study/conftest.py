from pathlib import Path

import pytest

from gtr.study.transitions.page import write_page
from tests.study.known_study import COMMAND, grids, scores
from tests.study.studies import SIZE, write_study
from tests.study.synthetic import known_arms, write_comparison


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A finished comparison with known answers, three seeds."""
    return write_comparison(tmp_path / "known", known_arms(), (0, 1, 2))


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    """A finished study in which GTR is better by construction, with its page; only read."""
    directory = tmp_path_factory.mktemp("written") / "known"
    score = scores(0.2, {"layer-norm": 0.1, "adam": -0.1}.items())
    write_study(directory, score=score, twin=lambda *_: 1.1, grid=grids)
    write_page(SIZE, directory, COMMAND)
    return directory
