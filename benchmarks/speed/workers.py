"""Which workers there are, and talking to one of them."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

import peers


class WorkerError(Exception):
    """A worker died or did not answer in time.

    The message is one line. `reason` says the same without the worker's last words, which can name
    paths of the machine and do not belong into the results.
    """

    def __init__(self, reason: str, last_words: str = "") -> None:
        super().__init__(f"{reason}: {last_words}" if last_words else reason)
        self.reason = reason


@dataclass(frozen=True)
class Kind:
    """A worker script with its options.

    Attributes:
        script: file name beside this one.
        peer: whose virtual environment runs it; None: the one that runs the coordinator.
        options: more of its command line.
        many_seeds: whether it can train several seeds side by side.
        steps: environment steps a seed in one repeat, for (one seed, several seeds): enough for
            seconds on two cores, since trainers differ a hundredfold.
    """

    script: str
    peer: str | None
    options: tuple[str, ...] = ()
    many_seeds: bool = True
    steps: tuple[int, int] = (2**17, 2**14)


KINDS = {
    "ours-ppo": Kind("ours.py", None, ("--method", "ppo")),
    "ours-gtr-4": Kind("ours.py", None, ("--method", "gtr", "--anchors", "4")),
    "ours-gtr-8": Kind("ours.py", None, ("--method", "gtr", "--anchors", "8")),
    "purejaxrl-style": Kind("purejaxrl_style.py", "purejaxrl"),
    "rejax": Kind("rejax_worker.py", "rejax"),
    "sbx": Kind("stable_baselines.py", "sbx", ("--trainer", "sbx"), False, (2**14, 0)),
    "sb3": Kind("stable_baselines.py", "sb3", ("--trainer", "sb3"), False, (2**14, 0)),
    "environment-gymnax-1": Kind("ceiling.py", "purejaxrl", (), True, (2**20, 2**17)),
    "environment-gymnax-0": Kind("ceiling.py", "rejax", (), True, (2**20, 2**17)),
}


class Worker:
    """A running worker; see `protocol.py` for what is said."""

    def __init__(self, name: str, environment: str, seeds: int, steps: int) -> None:
        kind = KINDS[name]
        script = Path(__file__).parent / kind.script
        python = peers.interpreter(kind.peer) if kind.peer else Path(sys.executable)
        size = ["--environment", environment, "--seeds", str(seeds), "--steps", str(steps)]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [str(python), str(script), "--lines", *kind.options, *size],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # Ours settles JAX's backend itself, as it does for its users.
            env=peers.variables() if kind.peer else dict(os.environ),
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def wait_until_ready(self, timeout: float) -> None:
        """Return once it has warmed up."""
        self._answer(timeout)

    def repeat(self, timeout: float) -> float:
        """Ask for one timed repeat; environment steps per second."""
        self._say("repeat")
        return float(self._answer(timeout)["steps_per_s"])

    def finish(self, timeout: float) -> dict[str, object]:
        """Its result; the process ends."""
        self._say("stop")
        result = self._answer(timeout)
        self.end()
        return result

    def end(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            print(line, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise WorkerError("died", self._last_error()) from None

    def _answer(self, timeout: float) -> dict[str, object]:
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise WorkerError(f"no answer within {timeout:.0f} s") from None
        if not line:
            raise WorkerError("died", self._last_error())
        return json.loads(line)

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return lines[-1] if lines else "said nothing"
