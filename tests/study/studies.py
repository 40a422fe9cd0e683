"""Study directories with known answers, as `gtr study transitions` would leave them."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from gtr.learner.run import Setting
from gtr.methods import method
from gtr.study.scores import summaries
from gtr.study.transitions.plan import (
    GRID_SEED,
    MAIN,
    QUESTIONS,
    Extent,
    factors_of,
)
from gtr.study.tune import tuning_iterations
from tests.study.synthetic import PHASE_STEPS, training

SIZE = Extent(
    "tiny",
    main=("corner-switch", "cartpole-offset"),
    wide=("corner-switch",),
    phases=3,
    share=1.0,
    seeds=10,
    configurations=2,
    grid_seeds=3,
    steps=4,
)
"""Two suites, of which one has everything."""

TOP, FLOOR = 200.0, 20.0
"""Returns of the oracle and of the random policy; scores lie between."""

Score = Callable[[str, str, int], float]
"""Normalised score of (suite, arm, seed)."""

GridScore = Callable[[str, Mapping[str, str], int], float]
"""Normalised score of (question, factors, seed), NaN for a setting that diverged."""


def luck(*of: object) -> float:
    """Between -1 and 1, scattered, and always the same."""
    return math.sin(sum(ord(letter) * (place + 3) for place, letter in enumerate(repr(of))))


def write_scores(
    directory: Path,
    score: Callable[[str, int], float],
    arms: Sequence[str],
    seeds: Sequence[int],
    phases: int,
    metrics: Mapping[str, pd.DataFrame] | None = None,
) -> None:
    """The scores.csv of a comparison; health and movement are those of `metrics`, if given."""
    rows = []
    for arm in (*arms, "oracle", "random"):
        for seed in seeds:
            value = {"oracle": 1.0, "random": 0.0}.get(arm)
            value = score(arm, seed) if value is None else value
            earned = FLOOR + (TOP - FLOOR) * value
            of_run = {f"return_phase_{phase}": earned for phase in range(phases)}
            of_run |= {"first_return": earned, "later_return": earned, "last_fifth": earned}
            of_run |= {"normalised": value, "regret": phases * (TOP - earned)}
            rows += [
                {"method": arm, "seed": seed, "metric": key, "value": v}
                for key, v in of_run.items()
            ]
    table = pd.DataFrame(rows)
    for arm, own in (metrics or {}).items():
        found = summaries(own)
        found.insert(0, "method", arm)
        table = pd.concat([table, found])
    directory.mkdir(parents=True, exist_ok=True)
    table.to_csv(directory / "scores.csv", index=False)


def write_grid(
    extent: Extent, directory: Path, suite: str, question: str, score: GridScore
) -> None:
    """A question's table, with the settings that the plan asks for."""
    found = next(one for one in QUESTIONS if one.name == question)
    lifetime = extent.suite(suite)
    plain = Setting(method("ppo"), lifetime.config)
    part = tuning_iterations(lifetime) // lifetime.phase_iterations
    phases = lifetime.phases if found.whole else part
    rows = []
    for setting in found.settings(plain, plain, extent.steps):
        factors = factors_of(setting.label)
        for seed in range(GRID_SEED, GRID_SEED + extent.grid_seeds):
            value = score(question, factors, seed)
            lived = phases if math.isfinite(value) else phases - 1
            earned = FLOOR + (TOP - FLOOR) * value if math.isfinite(value) else FLOOR
            of_run = {f"return_phase_{phase}": earned for phase in range(lived)}
            of_run |= {"first_return": earned, "later_return": earned, "last_fifth": earned}
            rows += [
                factors | {"seed": seed, "metric": key, "value": v} for key, v in of_run.items()
            ]
    (directory / suite).mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(directory / suite / f"{question}.csv", index=False)


def write_choice(directory: Path, suite: str, arm: str) -> None:
    """The tuned.json of an arm."""
    numbers = {"clip": 0.2} | ({"stiffness": 0.4, "radius": 0.5} if "gtr" in arm else {})
    chosen = {"numbers": numbers, "learner": {"learning_rate": 0.003, "epochs": 4}}
    path = directory / suite / "tuning" / arm / "tuned.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"methods": {arm: chosen}}))


def moving(pace: float, seeds: Sequence[int], phases: int, held: bool = False) -> pd.DataFrame:
    """Raw rows of runs whose movement, entropy and hold relax within a phase at some pace."""
    table = training(lambda seed, *_: 1.0 + 0.01 * seed, tuple(seeds), phases=phases)
    within = (table["step"] - table["phase"] * PHASE_STEPS) / PHASE_STEPS
    places = zip(table["seed"], within, strict=True)
    noise = 1 + 0.05 * np.array([luck(seed, at) for seed, at in places])
    straight = (1 - 0.5 * within * pace) * noise
    table["path_length"] = 1.5 * within
    table["directional_efficiency"] = straight
    table["net_displacement"] = straight * table["path_length"]
    table["step_cosine"] = (0.6 - 0.5 * within) * noise
    table["entropy"] = (0.2 + 0.5 * np.exp(-4 * within * pace)) * noise
    table["kl"] = 0.01 * (1 + np.exp(-5 * within)) * noise
    if held:
        table["redescended_fraction"] = (0.02 + 0.2 * np.exp(-4 * within)) * noise
        table["redescended_advantage"] = 1.5 * table["redescended_fraction"]
    return table


def write_study(
    directory: Path,
    extent: Extent = SIZE,
    *,
    score: Score,
    twin: Score | None = None,
    grid: GridScore | None = None,
    rows: bool = True,
) -> Path:
    """A finished study.

    Args:
        directory: where to.
        extent: how much of everything.
        score: on the changing suites.
        twin: on the stationary twins; as `score` where None.
        grid: in the grids; 0.5 with a little luck where None.
        rows: whether the raw rows were kept.
    """
    seeds = range(extent.seeds)
    for suite in extent.main:
        phases = extent.suite(suite).phases
        paces = {"ppo": 1.2, "ppo@defaults": 1.0, "gtr": 0.8, "oracle": 0.5}
        metrics = {arm: moving(pace, seeds, phases, arm == "gtr") for arm, pace in paces.items()}
        arms = [arm.name for arm in extent.arms(suite)]
        home = directory / suite
        for place, named in (("main", MAIN), ("all", arms)):
            if place == "all" and suite not in extent.wide:
                continue
            write_scores(
                home / place,
                lambda arm, seed, suite=suite: score(suite, arm, seed),
                named,
                seeds,
                phases,
                metrics,
            )
        write_scores(
            home / "stationary",
            lambda arm, seed, suite=suite: (twin or score)(suite, arm, seed),
            MAIN,
            seeds,
            phases,
        )
        for arm in arms:
            write_choice(directory, suite, arm)
        for arm in ("ppo", "gtr") if rows else ():
            kept = home / "main" / "runs" / arm
            kept.mkdir(parents=True)
            metrics[arm].to_csv(kept / "metrics.csv", index=False)
        for question in QUESTIONS if suite in extent.wide else ():
            write_grid(extent, directory, suite, question.name, grid or _even)
    return directory


def _even(question: str, factors: Mapping[str, str], seed: int) -> float:
    return 0.5 + 0.05 * luck(question, tuple(factors.items()), seed)
