"""verl excludes versions that this project is pinned to, so its tests have their own process.

Where verl cannot be imported, it and what it imports are installed into a directory, without their
dependencies; the rest is this environment's.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gtr.errors import GTRError

ROOT = Path(__file__).parents[2]
PINNED = (
    "verl==0.9.1",
    "antlr4-python3-runtime==4.9.3",
    "codetiming==1.4.0",
    "hydra-core==1.3.8",
    "omegaconf==2.3.0",
)


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with verl in it, or none where it can be imported already."""
    if importlib.util.find_spec("verl") is not None:
        return ""
    folder = str(tmp_path_factory.mktemp("verl"))
    install = ["pip", "install", "--quiet", "--no-deps", "--target", folder, *PINNED]
    subprocess.run([sys.executable, "-m", *install], check=True)
    return folder


@pytest.mark.slow
def test_the_loss_in_verl(beside: str) -> None:
    paths = [str(ROOT / "src"), str(ROOT), beside, os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "VERL_USE_EXTERNAL_MODULES": "gtr.integrations.verl",
    }
    # verl's own imports warn; what counts here are numbers
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-W", "default"]
    done = subprocess.run(
        [*command, "tests/integrations/verl_loss.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_without_verl_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # as where it is not installed
    monkeypatch.setitem(sys.modules, "verl", None)
    monkeypatch.delitem(sys.modules, "gtr.integrations.verl", raising=False)
    with pytest.raises(GTRError, match=r"pip install verl==0\.9\.1"):
        importlib.import_module("gtr.integrations.verl")
