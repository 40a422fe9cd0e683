"""CPU time of training: Stable-Baselines3's PPO and GTR on the same work, in turns.

    python benchmarks/integrations/beside_stable_baselines3.py --rounds 7

Prints a line a workload: GTR's time over PPO's, median and extremes over the rounds. All is done in
one thread, so that CPU time is the time of a machine that does nothing else.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from gtr.integrations.stable_baselines3 import GTR

WORKLOADS: dict[str, tuple[str, Callable[[], VecEnv], dict[str, Any]]] = {
    "CartPole, PPO's defaults": ("MlpPolicy", lambda: make_vec_env("CartPole-v1"), {}),
    "CartPole, 8 copies": (
        "MlpPolicy",
        lambda: make_vec_env("CartPole-v1", n_envs=8),
        {"n_steps": 256, "batch_size": 256, "n_epochs": 4},
    ),
    "Pendulum, 8 copies": (
        "MlpPolicy",
        lambda: make_vec_env("Pendulum-v1", n_envs=8),
        {"n_steps": 256, "batch_size": 256, "n_epochs": 4},
    ),
    "images of 84 x 84": (
        "CnnPolicy",
        lambda: DummyVecEnv([lambda: FakeImageEnv(channel_first=False)] * 4),
        {"n_steps": 64, "batch_size": 64, "n_epochs": 4},
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rollouts", type=int, default=2, help="in a round")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, (policy, world, settings) in WORKLOADS.items():
        models = [cls(policy, world(), seed=0, device="cpu", **settings) for cls in (PPO, GTR)]
        steps = arguments.rollouts * models[0].n_steps * models[0].n_envs
        times: list[list[float]] = [[], []]
        for turn in range(arguments.rounds + 1):
            for i in (0, 1) if turn % 2 else (1, 0):
                begun = time.process_time()
                models[i].learn(steps, reset_num_timesteps=False)
                times[i].append(time.process_time() - begun)
        ratios = [ours / own for own, ours in zip(*(t[1:] for t in times), strict=True)]
        print(
            f"{name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"PPO {steps / statistics.median(times[0][1:]):,.0f} steps per second",
            flush=True,
        )


if __name__ == "__main__":
    print(f"torch {torch.__version__}, gymnasium {gymnasium.__version__}")
    main()
