"""GTR's returns at its defaults, to compare one way of asking the anchors with another.

    python benchmarks/anchors/returns.py cartpole-offset --seeds 56 --out after.csv
    git stash; git checkout <another version>; (the same into before.csv); then
    python benchmarks/anchors/returns.py --compare before.csv after.csv

A return is the mean over iterations after the first phase. The two are paired on seeds, whose
changes are the same in every version; seeds begin at 7,000,000, where nothing was chosen.
"""

import argparse
from pathlib import Path

import pandas as pd

import gtr

FIRST_SEED = 7_000_000


def measure(name: str, seeds: int, out: Path) -> None:
    run = gtr.train(gtr.suite(name), gtr.method("gtr"), seeds=range(FIRST_SEED, FIRST_SEED + seeds))
    later = run.metrics[run.metrics["phase"] > 0]
    later.groupby("seed")["return"].mean().to_csv(out)


def compare(before: Path, after: Path) -> None:
    earlier, later = (pd.read_csv(path, index_col="seed")["return"] for path in (before, after))
    difference = (later - earlier).dropna()
    print(
        f"{earlier.mean():.3f} before, {later.mean():.3f} after: "
        f"{difference.mean():+.3f} +- {difference.sem():.3f} (standard error), "
        f"{len(difference)} seeds"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", default="cartpole-offset")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("returns.csv"))
    parser.add_argument("--compare", nargs=2, type=Path, metavar=("BEFORE", "AFTER"))
    arguments = parser.parse_args()
    if arguments.compare:
        compare(*arguments.compare)
    else:
        measure(arguments.suite, arguments.seeds, arguments.out)


if __name__ == "__main__":
    main()
