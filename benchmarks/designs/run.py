"""How designs of the trust region do, each tuned as hard as every other.

    python benchmarks/designs/run.py --suites cartpole-offset --designs "ppo, clip .2" "wide clip"

A design's own numbers are what `designs.py` says; its learner's are searched as `gtr tune` searches
them for `ppo@defaults`, by the same draws, rounds and seeds. What is found is then trained on seeds
that no tuning uses, on as much of the lifetime. outcomes.csv gets a row a seed, and what it holds
already is left out, so a run that was cut goes on.

With --epochs or --scale, which change what all designs share, nothing is searched and nothing
written: the mean and the best of a few learning rates and entropy coefficients are printed.
"""

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from designs import DESIGNS, Design
from gtr import suite
from gtr.learner.config import configure
from gtr.learner.run import Setting, sweep
from gtr.study.arms import arm
from gtr.study.scores import phase_returns
from gtr.study.tune import FIRST_SEED, Halving, candidates, rounds, train_round, tuning_iterations

OUTCOMES = Path(__file__).parent / "outcomes.csv"
RIVAL = "ppo, clip .2"
CONFIGURATIONS = 12
FRESH_SEED = 3_000_000
SUITES = ("cartpole-offset", "acrobot-offset", "corner-switch", "minatar-permute")

# learning rates and entropy coefficients of a look
LOOK = {
    "cartpole-offset": ((2e-3, 5e-3), (0.01, 0.04)),
    "acrobot-offset": ((1e-3, 3e-3), (0.01, 0.04)),
    "corner-switch": ((1e-3, 3e-3), (0.03, 0.08)),
    "minatar-permute": ((2e-3, 3e-3), (0.03, 0.06)),
}


def outcome(suite_name: str, name: str, design: Design, seeds: int) -> pd.DataFrame:
    """A row a fresh seed: what the tuned design returned after the first phase."""
    problem = suite(suite_name)
    settings = [
        Setting(design.method, one.config, one.label)
        for one in candidates(arm("ppo@defaults"), problem.config, CONFIGURATIONS, 0)
    ]
    with tempfile.TemporaryDirectory() as directory, design.in_place():
        halving = Halving(problem, name, settings, Path(directory))
        for one in rounds(CONFIGURATIONS, 1):
            train_round([halving], one)
        best = halving.best
        metrics = sweep(
            problem,
            [best],
            seeds=range(FRESH_SEED, FRESH_SEED + seeds),
            iterations=tuning_iterations(problem),
        ).metrics
    later = phase_returns(metrics).iloc[:, 1:].mean(axis=1)
    return pd.DataFrame(
        {
            "suite": suite_name,
            "design": name,
            "configuration": int(best.label),
            "score": float(f"{halving.table['score'][int(best.label)]:.6g}"),
            "seed": later.index,
            "return": [float(f"{value:.6g}") for value in later],
        }
    )


def look(suite_name: str, design: Design, seeds: int, **shared: Any) -> tuple[float, float]:
    """The best and the mean return after the first phase over `LOOK`, on tuning's seeds."""
    problem = suite(suite_name)
    settings = [
        Setting(
            design.method,
            configure(problem.config, **{"learning_rate": rate, "entropy": entropy, **shared}),
            str(number),
        )
        for number, (rate, entropy) in enumerate(itertools.product(*LOOK[suite_name]))
    ]
    with design.in_place():
        metrics = sweep(
            problem,
            settings,
            seeds=range(FIRST_SEED, FIRST_SEED + seeds),
            iterations=tuning_iterations(problem),
        ).metrics
    later = metrics[metrics["phase"] > 0].groupby("setting")["return"].mean()
    return float(later.max()), float(later.mean())


def summary(outcomes: pd.DataFrame) -> pd.DataFrame:
    """A row a suite and design: its mean, and how far it is from the rival's on the same seeds.

    Intervals are of the mean paired difference: 95%, bootstrapped over seeds.
    """
    rows = []
    for (name, design), own in outcomes.groupby(["suite", "design"], sort=False):
        rival = outcomes[(outcomes["suite"] == name) & (outcomes["design"] == RIVAL)]
        paired = own.set_index("seed")["return"] - rival.set_index("seed")["return"]
        row = {"suite": name, "design": design, "return": own["return"].mean()}
        if design != RIVAL and paired.notna().all() and len(paired):
            found = bootstrap((paired.to_numpy(),), np.mean, rng=0).confidence_interval
            row |= {"difference": paired.mean(), "low": found.low, "high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Tries the designs asked for, or looks at them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", nargs="+", default=list(SUITES[:3]), choices=SUITES)
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=list(DESIGNS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--scale", choices=("batch", "running"))
    asked = parser.parse_args()
    given = {"epochs": asked.epochs, "advantage_scale": asked.scale}
    shared = {key: value for key, value in given.items() if value is not None}
    outcomes = pd.read_csv(OUTCOMES) if OUTCOMES.exists() else pd.DataFrame()
    for name, label in itertools.product(asked.suites, asked.designs):
        began = time.monotonic()
        if shared:
            best, mean = look(name, DESIGNS[label], asked.seeds, **shared)
            print(f"{name:16} {label:34} best {best:8.3f}  mean {mean:8.3f}", flush=True)
            continue
        if len(outcomes) and ((outcomes["suite"] == name) & (outcomes["design"] == label)).any():
            continue
        found = outcome(name, label, DESIGNS[label], asked.seeds)
        outcomes = pd.concat([outcomes, found], ignore_index=True)
        outcomes.to_csv(OUTCOMES, index=False)
        print(f"{name:16} {label:34} {time.monotonic() - began:.0f} s", flush=True)
    if not shared:
        print(summary(outcomes).to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()
