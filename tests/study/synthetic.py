import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ITERATION_STEPS = 100
ITERATIONS = 20
PHASE_STEPS = ITERATION_STEPS * ITERATIONS

COLUMNS = [
    *("iteration", "seed", "step", "phase", "episodes", "return", "length"),
    *("policy_loss", "value_loss", "entropy", "kl", "ratio_max", "clip_fraction", "kernel_mean"),
    *(
        "redescended_fraction",
        "redescended_advantage",
        "escape_advantage",
        "anchor_spread",
        "stiffness",
    ),
    *("explained_variance", "policy_grad_norm", "value_grad_norm", "weight_norm"),
    *("learning_rate", "step_distance", "path_length", "net_displacement"),
    *("directional_efficiency", "step_cosine", "effective_rank", "dormant_fraction"),
]

Curve = Callable[[int, int, int], float]
"""Return of (seed, phase, iteration within the phase)."""


def training(
    curve: Curve,
    seeds: tuple[int, ...] = (0, 1, 2),
    phases: int = 3,
    episodes: int = 4,
    iterations: int = ITERATIONS,
) -> pd.DataFrame:
    rows = []
    for phase in range(phases):
        for within in range(iterations):
            for seed in seeds:
                iteration = phase * iterations + within
                row = dict.fromkeys(COLUMNS, np.nan)
                row |= {
                    "iteration": iteration,
                    "seed": seed,
                    "step": (iteration + 1) * ITERATION_STEPS,
                    "phase": phase,
                    "episodes": episodes,
                    "return": curve(seed, phase, within),
                    "entropy": 1.0 - within / iterations,
                    "kl": 0.01,
                    "clip_fraction": 0.1,
                    "path_length": 0.1 * (within + 1),
                    "net_displacement": 0.05 * (within + 1),
                    "directional_efficiency": 0.5,
                    "step_cosine": 0.25,
                    "effective_rank": 30.0 - phase,
                    "dormant_fraction": 0.02 * phase,
                }
                rows.append(row)
    frame = pd.DataFrame(rows)
    whole = ["iteration", "seed", "step", "phase", "episodes"]
    return frame.astype(dict.fromkeys(whole, int))


def write_training(directory: Path, metrics: pd.DataFrame, method: str) -> None:
    directory.mkdir(parents=True)
    metrics.to_csv(directory / "metrics.csv", index=False)
    config = {
        "suite": "corner-switch",
        "size": "cpu",
        "phases": int(metrics["phase"].max()) + 1 if len(metrics) else 1,
        "phase_steps": PHASE_STEPS,
        "method": method,
        "numbers": {"stiffness": 0.4},
        "learner": {"environments": 16},
        "seeds": sorted({int(s) for s in metrics["seed"]}),
        "versions": {"jax": "0.10.2"},
    }
    (directory / "config.json").write_text(json.dumps(config))


def write_comparison(
    directory: Path, arms: dict[str, pd.DataFrame], seeds: tuple[int, ...], phases: int = 3
) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    document = {
        "suite": "corner-switch",
        "size": "cpu",
        "phases": phases,
        "phase_steps": PHASE_STEPS,
        "methods": [name for name in arms if name not in ("oracle", "random")],
        "seeds": list(seeds),
        "versions": {"gtr": "0.1.0", "jax": "0.10.2"},
        "command": "gtr compare corner-switch --methods gtr ppo --seeds 3",
    }
    (directory / "comparison.json").write_text(json.dumps(document))
    for name, metrics in arms.items():
        write_training(directory / "runs" / name, metrics, name)
    return directory


def step_curve(delay: int, low: float = 0.0, high: float = 1.0, spread: float = 0.0) -> Curve:
    """`low` until `delay` iterations after a change, then `high + spread * seed`."""

    def curve(seed: int, phase: int, within: int) -> float:
        return high + spread * seed if phase == 0 or within >= delay else low

    return curve


def known_arms(seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, pd.DataFrame]:
    """GTR adapts after 5 of 20 iterations, PPO after 10, SPO as GTR, PPO-KL never."""
    return {
        "ppo": training(step_curve(10, spread=0.01), seeds),
        "gtr": training(step_curve(5, spread=0.01), seeds),
        "ppo-kl": training(step_curve(99, spread=0.01), seeds),
        "oracle": training(step_curve(0), seeds),
        "random": training(lambda *_: 0.0, seeds),
    }
