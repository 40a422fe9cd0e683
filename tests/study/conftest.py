from pathlib import Path

import pytest

from tests.study.synthetic import known_arms, write_comparison


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """A finished comparison with known answers, three seeds."""
    return write_comparison(tmp_path / "known", known_arms(), (0, 1, 2))
