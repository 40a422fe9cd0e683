"""The peers' virtual environments, under `.envs/` at the repository's root."""

import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def interpreter(peer: str) -> Path:
    """Python of the peer's virtual environment, which is made or made anew where it must be.

    It is made anew when `constraints-<peer>.txt`, which names every package of it, has changed.
    """
    wanted = (HERE / f"constraints-{peer}.txt").read_text()
    directory = ROOT / ".envs" / peer
    python = directory / "bin" / "python"
    # Written last, so a half-made environment is not taken for a whole one.
    installed = directory / "installed.txt"
    if not installed.exists() or installed.read_text() != wanted:
        print(f"making the virtual environment .envs/{peer}", file=sys.stderr, flush=True)
        venv.create(directory, with_pip=True, clear=True)
        requirements = HERE / f"constraints-{peer}.txt"
        pip = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)]
        subprocess.run(pip, check=True)
        installed.write_text(wanted)
    return python


def variables() -> dict[str, str]:
    """Environment variables for a peer.

    One thread for PyTorch: its networks here are so small that a second one makes it slower.
    """
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
