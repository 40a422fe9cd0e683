"""Measure the trainers side by side: speed, compile time and memory, ours and peers'.

For each environment and number of seeds, a worker of each kind is started and warmed up alone.
Then the workers make one timed repeat each, in turns and for several rounds, with the others
idle, so a disturbance of the machine meets all alike and the speeds of one round can be divided by
each other. All of it is done several times with new processes: where a process has its memory
makes it a hundredth or two faster or slower for as long as it lives. Peers' virtual environments
are made under `.envs/` on the first run.
"""

import argparse
import datetime
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import peers
import report
from workers import KINDS, Worker, WorkerError

HERE = Path(__file__).parent


def measure(
    names: list[str], environment: str, seeds: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """One cell of the results: all workers that can do it, on one environment."""
    steps = {name: KINDS[name].steps[seeds > 1] // arguments.shorten for name in names}
    results: dict[str, dict[str, Any]] = {}
    for number in range(arguments.starts):
        working = [name for name in names if "failure" not in results.get(name, {})]
        say(f"{environment}, {seeds} seeds: start {number + 1} of {arguments.starts}")
        started = start(working, environment, seeds, steps, arguments)
        for name, result in started.items():
            earlier = results.get(name)
            results[name] = result if earlier is None else together(earlier, result)
    ordered = {name: results[name] for name in names}
    return {"environment": environment, "seeds": seeds, "workers": ordered}


def start(
    names: list[str],
    environment: str,
    seeds: int,
    steps: dict[str, int],
    arguments: argparse.Namespace,
) -> dict[str, dict[str, Any]]:
    """What new processes of all workers say, after some rounds."""
    workers: dict[str, Worker] = {}
    results: dict[str, dict[str, Any]] = {}

    def fail(name: str, error: WorkerError) -> None:
        say(f"{environment}, {seeds} seeds: {name} {error}")
        results[name] = {"failure": error.reason}
        workers.pop(name).end()

    try:
        for name in names:
            say(f"{environment}, {seeds} seeds: {name} warms up")
            workers[name] = Worker(name, environment, seeds, steps[name])
            try:
                workers[name].wait_until_ready(arguments.warm_up_timeout)
            except WorkerError as error:
                fail(name, error)
        for number in range(arguments.rounds):
            # Each round begins with another worker: a place in the row is no privilege.
            row = list(workers)
            shift = number % max(len(row), 1)
            for name in row[shift:] + row[:shift]:
                try:
                    workers[name].repeat(arguments.repeat_timeout)
                except WorkerError as error:
                    fail(name, error)
            say(f"{environment}, {seeds} seeds: round {number + 1} of {arguments.rounds}")
        for name in list(workers):
            try:
                result = workers[name].finish(arguments.repeat_timeout)
                compile_s = [result.pop("compile_s")]
                results[name] = {
                    "steps_a_repeat": steps[name] * seeds,
                    **result,
                    "compile_s": compile_s,
                }
                workers.pop(name)
            except WorkerError as error:
                fail(name, error)
    finally:
        for worker in workers.values():
            worker.end()
    return results


def together(earlier: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """One worker's results of another start after those of earlier ones; a failure stays one."""
    if "failure" in result:
        return result
    return earlier | {
        "steps_per_s": earlier["steps_per_s"] + result["steps_per_s"],
        "compile_s": earlier["compile_s"] + result["compile_s"],
        "peak_mb": max(earlier["peak_mb"], result["peak_mb"]),
    }


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    processor = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        models = [line for line in information.read_text().splitlines() if "model name" in line]
        processor = models[0].split(":")[1].strip() if models else processor
    return {
        "cores": os.cpu_count(),
        "processor": processor,
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    environments = ["cartpole", "breakout"]
    parser.add_argument("--trainers", nargs="+", choices=sorted(KINDS), default=list(KINDS))
    parser.add_argument("--environments", nargs="+", choices=environments, default=environments)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--rounds", type=int, default=4, help="of each start")
    parser.add_argument("--starts", type=int, default=3, help="of new processes")
    parser.add_argument("--reference", choices=sorted(KINDS), default="ours-ppo")
    parser.add_argument(
        "--shorten", type=int, default=1, help="divide each repeat's length by this"
    )
    parser.add_argument("--warm-up-timeout", type=float, default=300, help="seconds")
    parser.add_argument("--repeat-timeout", type=float, default=120, help="seconds")
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    parser.add_argument("--table", type=Path, default=HERE / "README.md")
    arguments = parser.parse_args()

    measured_on = machine()
    for peer in {KINDS[name].peer for name in arguments.trainers} - {None}:
        peers.interpreter(peer)
    cells = [
        measure(
            [name for name in arguments.trainers if seeds == 1 or KINDS[name].many_seeds],
            environment,
            seeds,
            arguments,
        )
        for environment in arguments.environments
        for seeds in arguments.seeds
    ]
    results = {
        "command": shlex.join(["python", "benchmarks/speed/run.py", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "machine": measured_on,
        "reference": arguments.reference,
        "cells": cells,
    }
    report.write(results, arguments.output, arguments.table)


if __name__ == "__main__":
    main()
