"""How designs of the trust region do on the suites: a first look on tuning's seeds, not a claim.

    python benchmarks/designs/run.py --suites cartpole-offset --designs "wide clip" "ppo, clip .2"

Every design meets the same seeds, learning rates and entropy coefficients. What outcomes.csv holds
already is left out, so a run that was cut goes on. With --epochs or --scale, which change what all
designs share, the outcome is printed alone:

    python benchmarks/designs/run.py --suites minatar-permute --designs "ppo, clip .2" --scale batch
"""

import argparse
import csv
import itertools
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

import gtr.learner.update
from designs import DESIGNS, Design
from gtr import suite
from gtr.learner.config import configure
from gtr.learner.run import Setting, sweep
from gtr.objective import evaluate
from gtr.study.tune import FIRST_SEED

OUTCOMES = Path(__file__).parent / "outcomes.csv"
COLUMNS = ["suite", "design", "learning_rate", "entropy", "seeds", "phases", "return", "error"]

# learning rates and entropy coefficients, the phases trained (the first does not count), the scale
GIVEN = {
    "cartpole-offset": ((2e-3, 5e-3), (0.01, 0.04), 3, "running"),
    "acrobot-offset": ((1e-3, 3e-3), (0.01, 0.04), 3, "running"),
    "corner-switch": ((1e-3, 3e-3), (0.03, 0.08), 4, "running"),
    "mountaincar-offset": ((1e-3, 3e-3), (0.0, 0.01), 3, "batch"),
    "minatar-permute": ((2e-3, 3e-3), (0.03, 0.06), 2, "running"),
}


def look(suite_name: str, design: Design, seeds: int, **shared: Any) -> list[dict[str, Any]]:
    """A row a learning rate and entropy: mean return over later phases and its standard error.

    The return is the mean over iterations, each counting alike, so that it says how good the policy
    was over time; scores of the study weigh by episodes, of which a failing policy has more.
    """
    rates, entropies, phases, scale = GIVEN[suite_name]
    problem = suite(suite_name)
    pairs = list(itertools.product(rates, entropies))
    settings = [
        Setting(
            design.method,
            configure(
                problem.config,
                **{"learning_rate": rate, "entropy": entropy, "advantage_scale": scale, **shared},
            ),
            str(number),
        )
        for number, (rate, entropy) in enumerate(pairs)
    ]
    change = design.change

    def changed(one: Any, **given: Any) -> Any:
        found = evaluate(one, **given)
        if change is None:
            return found
        return change(one, found, given["advantage"], given["anchor_weights"])

    gtr.learner.update.evaluate = changed
    jax.clear_caches()
    metrics = sweep(
        problem,
        settings,
        seeds=range(FIRST_SEED, FIRST_SEED + seeds),
        iterations=phases * problem.phase_iterations,
    ).metrics
    rows = []
    for number, (rate, entropy) in enumerate(pairs):
        own = metrics[metrics["setting"].astype(str) == str(number)]
        later = own[own["phase"] > 0].groupby("seed")["return"].mean()
        rows.append(
            {
                "learning_rate": rate,
                "entropy": entropy,
                "seeds": seeds,
                "phases": phases,
                "return": float(f"{later.mean():.6g}"),
                "error": float(f"{later.std() / np.sqrt(len(later)):.4g}"),
            }
        )
    return rows


def main() -> None:
    """Looks at the designs asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", nargs="+", default=list(GIVEN), choices=list(GIVEN))
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=list(DESIGNS))
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--scale", choices=("batch", "running"))
    asked = parser.parse_args()
    given = {"epochs": asked.epochs, "advantage_scale": asked.scale}
    shared = {key: value for key, value in given.items() if value is not None}
    known = []
    if OUTCOMES.exists() and not shared:
        with OUTCOMES.open() as file:
            known = [(row["suite"], row["design"]) for row in csv.DictReader(file)]
    for design, name in itertools.product(asked.designs, asked.suites):
        if (name, design) in known:
            continue
        began = time.monotonic()
        rows = look(name, DESIGNS[design], asked.seeds, **shared)
        if not shared:
            first = not OUTCOMES.exists()
            with OUTCOMES.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if first:
                    writer.writeheader()
                writer.writerows({"suite": name, "design": design, **row} for row in rows)
        returns = [row["return"] for row in rows]
        print(
            f"{name:18} {design:36} best {max(returns):8.3f}  mean {np.mean(returns):8.3f}  "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
