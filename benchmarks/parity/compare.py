"""Compare the learning curves under `curves/`, trainer by trainer, with intervals over seeds.

A seed has two scores: `last`, the mean return of the episodes that ended in the last `--share` of
the training, and `whole`, the mean of the curve over the training. Intervals are 95% percentile
bootstrap intervals over seeds, of the mean and of the difference to the reference.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
RESAMPLES = 10_000


def final_scores(curves: pd.DataFrame, share: float) -> np.ndarray:
    """Mean return of the episodes that ended late, for each seed."""
    late = curves[curves["step"] > (1 - share) * curves["step"].max()].dropna(subset=["return"])
    weighted = (late["return"] * late["episodes"]).groupby(late["seed"]).sum()
    return (weighted / late.groupby("seed")["episodes"].sum()).to_numpy()


def whole_scores(curves: pd.DataFrame) -> np.ndarray:
    """Mean over iterations of the mean return, for each seed."""
    return curves.groupby("seed")["return"].mean().to_numpy()


def resampled_means(scores: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Means of seeds drawn with replacement."""
    drawn = generator.integers(len(scores), size=(RESAMPLES, len(scores)))
    return scores[drawn].mean(axis=1)


def interval(means: np.ndarray) -> str:
    low, high = np.percentile(means, [2.5, 97.5])
    return f"[{low:.1f}, {high:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--reference", default="ours")
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--curves", type=Path, default=HERE / "curves")
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)

    print("| environment | score | trainer | mean | 95% | less the reference | 95% |")
    print("|---|---|---|---|---|---|---|")
    for directory in sorted(path for path in arguments.curves.iterdir() if path.is_dir()):
        curves = {path.stem: pd.read_csv(path) for path in sorted(directory.glob("*.csv"))}
        for score in ("last", "whole"):
            scores = {
                name: final_scores(table, arguments.share)
                if score == "last"
                else whole_scores(table)
                for name, table in curves.items()
            }
            means = {name: resampled_means(row, generator) for name, row in scores.items()}
            for name, row in scores.items():
                difference, between = "", ""
                if name != arguments.reference and arguments.reference in scores:
                    difference = f"{row.mean() - scores[arguments.reference].mean():+.1f}"
                    between = interval(means[name] - means[arguments.reference])
                print(
                    f"| {directory.name} | {score} | {name} | {row.mean():.1f}"
                    f" | {interval(means[name])} | {difference} | {between} |"
                )


if __name__ == "__main__":
    main()
