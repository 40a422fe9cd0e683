"""Train on Craftax-Classic, ours and Craftax_Baselines' PPO in turn, a seed each.

    git clone https://github.com/MichaelTMatthews/Craftax_Baselines
    python benchmarks/craftax/run.py --baselines Craftax_Baselines

Each round adds a row a trainer to `times.csv`, and the table of README.md is made of all rows. A
ratio is taken within a round, so that a shared machine's noise meets both alike.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "speed"))

import peers  # noqa: E402

COLUMNS = ["environments", "width", "updates", "seed", "trainer"]
MEASURED = ["rate", "compiling", "return", "versions"]
TRAINERS = ("ours", "baselines")
MARKERS = "<!-- measured -->", "<!-- /measured -->"


def train(trainer: str, case: dict[str, str], baselines: Path) -> dict[str, str]:
    """One run in a process of its own; a row of times.csv."""
    python = sys.executable if trainer == "ours" else str(peers.interpreter("craftax-baselines"))
    command = [python, str(HERE / f"{trainer}.py"), "--baselines", str(baselines)]
    for name, value in case.items():
        command += [f"--{name}", value]
    print(f"{case}: {trainer}", file=sys.stderr, flush=True)
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    said = json.loads(answer.stdout.splitlines()[-1])
    numbers = {
        name: f"{said[name]:.4g}" if said[name] is not None else ""
        for name in ("rate", "compiling", "return")
    }
    return {**case, "trainer": trainer, **numbers, "versions": said["versions"]}


def table(rows: list[dict[str, str]]) -> str:
    """Medians over seeds, and the extremes of the ratio of a round."""
    lines = [
        "| copies, width | updates, rounds | ours, steps/s | Craftax_Baselines, steps/s | ratio "
        "| compiling, s (ours, its) | mean return (ours, its) |",
        "|---|---|---|---|---|---|---|",
    ]
    cases: dict[tuple[str, ...], dict[str, dict[str, dict[str, str]]]] = {}
    for row in rows:
        case = (row["environments"], row["width"], row["updates"])
        cases.setdefault(case, {}).setdefault(row["seed"], {})[row["trainer"]] = row
    for (environments, width, updates), seeds in cases.items():
        pairs = [pair for pair in seeds.values() if len(pair) == len(TRAINERS)]
        if not pairs:
            continue

        def median(trainer: str, name: str, pairs: list = pairs) -> float:
            found = [float(pair[trainer][name]) for pair in pairs if pair[trainer][name]]
            return statistics.median(found) if found else float("nan")

        ratios = [float(pair["ours"]["rate"]) / float(pair["baselines"]["rate"]) for pair in pairs]
        rate, compiling, earned = (
            [median(trainer, name) for trainer in TRAINERS]
            for name in ("rate", "compiling", "return")
        )
        lines.append(
            f"| {environments}, {width} | {updates}, {len(pairs)} | {rate[0]:,.0f} | {rate[1]:,.0f}"
            f" | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            f" | {compiling[0]:.0f}, {compiling[1]:.0f} | {earned[0]:.2f}, {earned[1]:.2f} |"
        )
    return "\n".join(lines)


def publish(rows: list[dict[str, str]]) -> None:
    """Write the table between README.md's markers."""
    readme = HERE / "README.md"
    before, rest = readme.read_text().split(MARKERS[0])
    _, after = rest.split(MARKERS[1])
    versions = "; ".join(sorted({f"{row['trainer']}: {row['versions']}" for row in rows}))
    words = (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores; Python "
        f"{platform.python_version()}; {versions}.\n\n{table(rows)}"
    )
    readme.write_text(f"{before}{MARKERS[0]}\n{words}\n{MARKERS[1]}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--baselines", type=Path, required=True, help="the checkout")
    parser.add_argument("--environments", type=int, default=64)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    path = HERE / "times.csv"
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    for seed in range(arguments.rounds):
        case = {
            "environments": str(arguments.environments),
            "width": str(arguments.width),
            "updates": str(arguments.updates),
            "seed": str(seed),
        }
        # Who begins changes, so that neither has always the other's heat.
        for trainer in TRAINERS[:: 1 if seed % 2 else -1]:
            wanted = {**case, "trainer": trainer}
            if any(wanted.items() <= row.items() for row in rows):
                continue
            rows.append(train(trainer, case, arguments.baselines.resolve()))
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, [*COLUMNS, *MEASURED], lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
    publish(rows)


if __name__ == "__main__":
    main()
