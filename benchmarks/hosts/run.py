"""Train on environments outside JAX, ours and Stable-Baselines3's PPO in turn, one seed at a time.

    python benchmarks/hosts/run.py                          # trains what is not stored yet
    python benchmarks/parity/compare.py --curves benchmarks/hosts/curves

Each run adds to `curves/<environment>/<trainer>.csv` (step, seed, episodes, return), and its time
to `times.csv`; the table of speeds goes to the end of README.md. A ratio is taken between two
runs that followed each other, so that a shared machine's noise meets both alike. Begin again to go
on after an interruption.
"""

import argparse
import csv
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SPEED = HERE.parent / "speed"
sys.path.append(str(SPEED))

import peers  # noqa: E402
from settings import SETTINGS  # noqa: E402

TRAINERS = ("ours", "sb3")
COLUMNS = ["environment", "seed", "trainer", "steps", "seconds", "threads", "versions"]
MARKERS = "<!-- measured -->", "<!-- /measured -->"


def train(trainer: str, environment: str, seed: int, steps: int, threads: int) -> dict[str, str]:
    """One run in a process of its own; a row of times.csv."""
    curve = HERE / "curves" / environment / f"{trainer}.csv"
    curve.parent.mkdir(parents=True, exist_ok=True)
    output = curve.with_suffix(".part")
    python = sys.executable if trainer == "ours" else str(peers.interpreter(trainer))
    command = [python, str(HERE / f"{trainer}.py"), "--environment", environment]
    command += ["--seed", str(seed), "--steps", str(steps), "--output", str(output)]
    variables = dict(os.environ)
    if trainer == "sb3":
        variables |= {"OMP_NUM_THREADS": str(threads)}
    print(f"{environment}, seed {seed}: {trainer}", file=sys.stderr, flush=True)
    answer = subprocess.run(command, check=True, env=variables, stdout=subprocess.PIPE, text=True)
    lines = output.read_text().splitlines(keepends=True)
    with curve.open("a") as file:
        file.writelines(lines[1 if curve.stat().st_size else 0 :])
    output.unlink()
    said = json.loads(answer.stdout.splitlines()[-1])
    versions = ", ".join(f"{name} {number}" for name, number in said["versions"].items())
    values = [environment, seed, trainer, said["steps"], f"{said['seconds']:.1f}", threads]
    return dict(zip(COLUMNS, [str(value) for value in [*values, versions]], strict=True))


def stored() -> list[dict[str, str]]:
    path = HERE / "times.csv"
    return list(csv.DictReader(path.open())) if path.exists() else []


def store(rows: list[dict[str, str]]) -> None:
    with (HERE / "times.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def table(rows: list[dict[str, str]]) -> str:
    """Medians over seeds, and the extremes of the ratio."""
    lines = [
        "| environment | steps, seeds | ours, steps/s | SB3, steps/s | ours / SB3 |",
        "|---|---|---|---|---|",
    ]
    for environment in SETTINGS:
        speeds: dict[str, dict[str, float]] = {}
        for row in rows:
            if row["environment"] == environment:
                speed = float(row["steps"]) / float(row["seconds"])
                speeds.setdefault(row["seed"], {})[row["trainer"]] = speed
        pairs = [(pair["ours"], pair["sb3"]) for pair in speeds.values() if len(pair) == 2]
        if not pairs:
            continue
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratios = [a / b for a, b in pairs]
        steps = next(int(row["steps"]) for row in rows if row["environment"] == environment)
        lines.append(
            f"| {environment} | {steps:,}, {len(pairs)} | {ours:,.0f} | {theirs:,.0f} | "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
        )
    return "\n".join(lines)


def publish(rows: list[dict[str, str]]) -> None:
    """Write the table between README.md's markers."""
    readme = HERE / "README.md"
    before, rest = readme.read_text().split(MARKERS[0])
    _, after = rest.split(MARKERS[1])
    command = shlex.join(["python", "benchmarks/hosts/run.py", *sys.argv[1:]])
    versions = "; ".join(sorted({f"{row['trainer']}: {row['versions']}" for row in rows}))
    words = (
        f"`{command}`: {platform.system()} {platform.machine()}, {os.cpu_count()} cores; Python "
        f"{platform.python_version()}; {versions}.\n\n{table(rows)}"
    )
    readme.write_text(f"{before}{MARKERS[0]}\n{words}\n{MARKERS[1]}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--environments", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--shorten", type=int, default=1, help="divide each run's length by this")
    arguments = parser.parse_args()
    rows = stored()
    for environment in arguments.environments:
        steps = SETTINGS[environment].steps // arguments.shorten
        # A small network is faster on one thread, the Nature CNN on all.
        threads = 1 if environment == "halfcheetah" else os.cpu_count() or 1
        for seed in range(arguments.seeds):
            for trainer in TRAINERS[:: 1 if seed % 2 else -1]:
                done = {(row["environment"], row["seed"], row["trainer"]) for row in rows}
                if (environment, str(seed), trainer) not in done:
                    rows.append(train(trainer, environment, seed, steps, threads))
                    store(rows)
    publish(rows)


if __name__ == "__main__":
    main()
