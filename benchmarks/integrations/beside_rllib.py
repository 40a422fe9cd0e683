"""Time of an update: RLlib's PPO learner and GTR's on the same episodes, in turns.

    python benchmarks/integrations/beside_rllib.py --rounds 7

Prints a line a network: GTR's time over PPO's, median and extremes over the rounds. Both without
the KL term. Sampling, which is RLlib's own in either, is left out: with it the ratio would be
nearer to 1.
"""

import argparse
import copy
import statistics
import time
from typing import Any

import gymnasium
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME

from gtr.integrations.rllib import GTRConfig

BATCH, MINIBATCH, EPOCHS = 4000, 128, 10
NETWORKS: dict[str, dict[str, Any]] = {
    "two layers of 256, RLlib's default": {},
    "LSTM of 64": {"use_lstm": True, "lstm_cell_size": 64, "max_seq_len": 20},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name, network in NETWORKS.items():
        configs = [configured(config, network) for config in (PPOConfig(), GTRConfig())]
        episodes = SingleAgentEnvRunner(config=configs[0]).sample(num_timesteps=BATCH)
        learners = [config.build_learner(env=gymnasium.make("CartPole-v1")) for config in configs]
        times: list[list[float]] = [[], []]
        for turn in range(arguments.rounds + 1):
            for i in (0, 1) if turn % 2 else (1, 0):
                times[i].append(update(learners[i], copy.deepcopy(episodes)))
        ratios = [ours / own for own, ours in zip(*(t[1:] for t in times), strict=True)]
        print(
            f"{name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"PPO {BATCH / statistics.median(times[0][1:]):,.0f} samples/s",
            flush=True,
        )


def configured(config: PPOConfig, network: dict[str, Any]) -> PPOConfig:
    return (
        config.environment("CartPole-v1")
        .env_runners(num_env_runners=0)
        .training(train_batch_size_per_learner=BATCH, use_kl_loss=False)
        .rl_module(model_config=network)
    )


def update(learner: Any, episodes: list[Any]) -> float:
    begun = time.perf_counter()
    learner.update(
        episodes=episodes,
        timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: 0},
        num_epochs=EPOCHS,
        minibatch_size=MINIBATCH,
        shuffle_batch_per_epoch=True,
    )
    return time.perf_counter() - begun


if __name__ == "__main__":
    print(f"ray {ray.__version__}, torch {torch.__version__}, gymnasium {gymnasium.__version__}")
    main()
