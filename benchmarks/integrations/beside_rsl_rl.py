"""CPU time of training: rsl_rl's PPO and GTR on the same work, in turns.

    python benchmarks/integrations/beside_rsl_rl.py --rounds 7

The environment costs nothing, so what is compared is acting and learning. Prints a line a
workload: GTR's time over PPO's, median and extremes over the rounds. It is CPU time, with one
thread: other work on the machine disturbs it less.
"""

import argparse
import contextlib
import io
import statistics
import time
from importlib.metadata import version
from typing import Any

import torch
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict
from torch import Tensor

# Copies of the environment, hidden layers.
WORKLOADS = {
    "64 copies, 64 x 64": (64, [64, 64], False),
    "1024 copies, 256 x 128 x 64": (1024, [256, 128, 64], False),
    "256 copies, a memory of 64": (256, [64], True),
}


class Noise(VecEnv):
    """A legged robot's sizes: 48 observations, 12 actions. Episodes of 100 steps."""

    def __init__(self, copies: int) -> None:
        self.num_envs, self.num_actions, self.max_episode_length = copies, 12, 100
        self.episode_length_buf = torch.zeros(copies, dtype=torch.long)
        self.device, self.cfg = "cpu", {}

    def get_observations(self) -> TensorDict:
        """Noise."""
        return TensorDict({"policy": torch.randn(self.num_envs, 48)}, [self.num_envs])

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict]:
        """Noise again; small actions pay."""
        self.episode_length_buf += 1
        dones = self.episode_length_buf >= self.max_episode_length
        self.episode_length_buf[dones] = 0
        rewards = -actions.square().mean(-1)
        return self.get_observations(), rewards, dones.long(), {"time_outs": dones}


def runner(class_name: str, copies: int, hidden: list[int], memory: bool) -> OnPolicyRunner:
    torch.manual_seed(0)
    network: dict[str, Any] = {"hidden_dims": hidden, "obs_normalization": True}
    network["class_name"] = "RNNModel" if memory else "MLPModel"
    if memory:
        network["rnn_hidden_dim"] = 64
    config = {
        "num_steps_per_env": 24,
        "save_interval": 1000,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "actor": network | {"distribution_cfg": {"class_name": "GaussianDistribution"}},
        "critic": network,
        "algorithm": {"class_name": class_name},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        return OnPolicyRunner(Noise(copies), config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=2, help="in a round")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, rsl-rl-lib {version('rsl-rl-lib')}")
    for name, settings in WORKLOADS.items():
        runners = [runner(one, *settings) for one in ("PPO", "gtr.integrations.rsl_rl:GTR")]
        times: list[list[float]] = [[], []]
        for turn in range(arguments.rounds + 1):
            for i in (0, 1) if turn % 2 else (1, 0):
                begun = time.process_time()
                runners[i].learn(arguments.iterations)
                times[i].append(time.process_time() - begun)
        ratios = [ours / own for own, ours in zip(*(one[1:] for one in times), strict=True)]
        steps = arguments.iterations * 24 * settings[0] / statistics.median(times[0][1:])
        print(
            f"{name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"PPO {steps:,.0f} steps/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
