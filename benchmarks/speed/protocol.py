"""What a worker of the speed benchmark says to its coordinator.

A worker is a script with a uniform command line, run in its trainer's own virtual environment. It
builds its trainer, calls it twice to warm up (the second call can compile again), and then either

- makes `--repeats` timed repeats, or,
- with `--lines`, prints `{"ready": true}` and makes one timed repeat for each line `repeat` on its
  standard input, printing `{"steps_per_s": ...}` after each, until a line `stop` or the end.

Its last line is the result: trainer, versions, compile_s, steps_per_s (one number a repeat) and
peak_mb. Standard output carries nothing else: what libraries print goes to standard error.
"""

import argparse
import importlib.metadata
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO

WARM_UPS = 2

Repeat = Callable[[], object]


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """The command line that all workers share; a worker may add to it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--environment", required=True, choices=["cartpole", "breakout"])
    parser.add_argument("--seeds", type=int, default=1, help="runs trained side by side")
    parser.add_argument(
        "--steps", type=int, required=True, help="environment steps a seed, a repeat"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--lines", action="store_true", help="a timed repeat for each input line")
    return parser


def serve(
    arguments: argparse.Namespace, trainer: str, packages: Sequence[str], repeat: Repeat
) -> None:
    """Warm up, make the timed repeats that are asked for, print the result.

    Args:
        arguments: the parsed command line of `argument_parser`.
        trainer: the worker's name in the result.
        packages: distributions whose versions the result records.
        repeat: trains for `arguments.steps` steps of `arguments.seeds` seeds and returns when the
            last number is there (JAX returns earlier unless it is told to wait).
    """
    channel, sys.stdout = sys.stdout, sys.stderr
    warm_up = sum(_seconds(repeat) for _ in range(WARM_UPS))
    durations = []
    if arguments.lines:
        _say(channel, {"ready": True})
    for _ in _requests(arguments):
        durations.append(_seconds(repeat))
        if arguments.lines:
            _say(channel, {"steps_per_s": arguments.steps * arguments.seeds / durations[-1]})
    steady = statistics.median(durations) if durations else float("nan")
    result = {
        "trainer": trainer,
        "versions": {name: importlib.metadata.version(name) for name in packages},
        # What the warm-up took longer than as many steady calls: tracing, compiling, allocating.
        "compile_s": max(0.0, warm_up - WARM_UPS * steady),
        "steps_per_s": [arguments.steps * arguments.seeds / duration for duration in durations],
        # Linux counts ru_maxrss in KiB.
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    _say(channel, result)


def _requests(arguments: argparse.Namespace) -> Iterator[None]:
    if not arguments.lines:
        yield from (None for _ in range(arguments.repeats))
        return
    for line in sys.stdin:
        if line.strip() != "repeat":
            return
        yield None


def _seconds(repeat: Repeat) -> float:
    start = time.perf_counter()
    repeat()
    return time.perf_counter() - start


def _say(channel: IO[str], message: dict[str, object]) -> None:
    print(json.dumps(message), file=channel, flush=True)
