r"""Designs beside PPO at the same configurations of the learner, whole lifetimes, the same seeds.

    python benchmarks/designs/matched.py --suite corner-switch --configurations 4 6 7 8
    python benchmarks/designs/matched.py --suite cartpole-offset --configurations 4 8 9
    python benchmarks/designs/matched.py --suite minatar-permute --configurations 6 7 9 \
        --seeds 4 --designs "ppo, clip .2" gtr

Nothing is chosen, so no luck in choosing is in the difference: the sharpest look at what a design
itself does. Configurations are called by the numbers that tuning gives them. matched.csv gets a row
a configuration and seed, and what it holds already is left out, so a run that was cut goes on.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from run import CONFIGURATIONS, FRESH_SEED, RIVAL, SUITES

from designs import DESIGNS
from gtr import suite
from gtr.learner.run import Setting, sweep
from gtr.study.arms import arm
from gtr.study.scores import phase_returns
from gtr.study.tune import candidates

MATCHED = Path(__file__).parent / "matched.csv"


def lifetimes(suite_name: str, name: str, numbers: list[int], seeds: int) -> pd.DataFrame:
    """A row a configuration and seed: the mean return over the phases after the first."""
    problem, design = suite(suite_name), DESIGNS[name]
    drawn = candidates(arm("ppo@defaults"), problem.config, CONFIGURATIONS, 0)
    rows = []
    for number in numbers:
        with design.in_place():
            run = sweep(
                problem,
                [Setting(design.method, drawn[number].config)],
                seeds=range(FRESH_SEED, FRESH_SEED + seeds),
            )
        later = phase_returns(run.metrics).iloc[:, 1:].mean(axis=1)
        rows += [
            {
                "suite": suite_name,
                "design": name,
                "configuration": number,
                "seed": seed,
                "return": float(f"{value:.6g}"),
            }
            for seed, value in later.items()
        ]
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row a suite and design: mean return, and the difference to the rival's with its error."""
    rows = []
    for (name, design), own in table.groupby(["suite", "design"], sort=False):
        rival = table[(table["suite"] == name) & (table["design"] == RIVAL)]
        keys = ["configuration", "seed"]
        gap = own.set_index(keys)["return"] - rival.set_index(keys)["return"]
        error = gap.std() / np.sqrt(gap.notna().sum())
        row = {"suite": name, "design": design, "return": own["return"].mean()}
        rows.append(row | {"difference": gap.mean(), "standard error": error})
    return pd.DataFrame(rows)


def main() -> None:
    """Trains what is asked for, and prints all that is known."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", required=True, choices=SUITES)
    parser.add_argument("--configurations", nargs="+", type=int, required=True)
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=list(DESIGNS))
    parser.add_argument("--seeds", type=int, default=10)
    asked = parser.parse_args()
    table = pd.read_csv(MATCHED) if MATCHED.exists() else pd.DataFrame()
    for name in asked.designs:
        if len(table) and ((table["suite"] == asked.suite) & (table["design"] == name)).any():
            continue
        found = lifetimes(asked.suite, name, asked.configurations, asked.seeds)
        table = pd.concat([table, found], ignore_index=True)
        table.to_csv(MATCHED, index=False)
    print(summary(table).to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
