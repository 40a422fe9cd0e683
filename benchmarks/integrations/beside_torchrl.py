"""CPU time of training: TorchRL's ClipPPOLoss and GTRLoss on the same work, in turns.

    python benchmarks/integrations/beside_torchrl.py --rounds 7

Prints a line a workload: GTR's time over PPO's, median and extremes over the rounds. It is CPU
time, with one thread: other work on the machine disturbs it less.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torchrl
from tensordict.nn import TensorDictModule
from torch import nn
from torch.distributions import Categorical
from torchrl.collectors import Collector
from torchrl.envs import GymEnv
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

from gtr.integrations.torchrl import GTRLoss

FRAMES = 512
# Width of the two hidden layers, samples of a minibatch.
WORKLOADS = {"64 wide, minibatches of 64": (64, 64), "256 wide, minibatches of 256": (256, 256)}


def training(loss_class: type[ClipPPOLoss], width: int, samples: int) -> Callable[[], None]:
    """What makes one iteration on CartPole, from collecting to the last gradient step."""
    torch.manual_seed(0)

    def network(outputs: int) -> nn.Module:
        hidden = nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()
        return nn.Sequential(*hidden, nn.Linear(width, outputs))

    actor = ProbabilisticActor(
        TensorDictModule(network(2), ["observation"], ["logits"]),
        in_keys=["logits"],
        distribution_class=Categorical,
        return_log_prob=True,
    )
    critic = ValueOperator(network(1), in_keys=["observation"])
    advantage = GAE(gamma=0.99, lmbda=0.95, value_network=critic, average_gae=True)
    loss = loss_class(actor, critic)
    optimiser = torch.optim.Adam(loss.parameters(), 3e-4)
    env = GymEnv("CartPole-v1", categorical_action_encoding=True)
    batches = iter(
        Collector(
            env,
            actor,
            frames_per_batch=FRAMES,
            total_frames=-1,
            auto_register_policy_transforms=False,
        )
    )

    def iterate() -> None:
        data = advantage(next(batches))
        if isinstance(loss, GTRLoss):
            loss.collected(data)
        for _ in range(4):
            for rows in torch.randperm(FRAMES).split(samples):
                losses = loss(data[rows])
                total = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
                total.backward()
                nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                optimiser.step()
                optimiser.zero_grad()

    return iterate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--iterations", type=int, default=4, help="in a round")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, torchrl {torchrl.__version__}")
    for name, settings in WORKLOADS.items():
        trainings = [training(loss_class, *settings) for loss_class in (ClipPPOLoss, GTRLoss)]
        times: list[list[float]] = [[], []]
        for turn in range(arguments.rounds + 1):
            for i in (0, 1) if turn % 2 else (1, 0):
                begun = time.process_time()
                for _ in range(arguments.iterations):
                    trainings[i]()
                times[i].append(time.process_time() - begun)
        ratios = [ours / own for own, ours in zip(*(one[1:] for one in times), strict=True)]
        frames = arguments.iterations * FRAMES / statistics.median(times[0][1:])
        print(
            f"{name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"ClipPPOLoss {frames:,.0f} frames/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
