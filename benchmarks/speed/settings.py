"""The settings of PPO that every peer is asked for; read by workers in all virtual environments.

Only the standard library is imported here, so that a worker can read the settings before anything
starts a thread pool.
"""

from dataclasses import dataclass
from typing import Literal

# The name on the command line and in gymnax.
GYMNAX_NAMES = {
    "cartpole": "CartPole-v1",
    "acrobot": "Acrobot-v1",
    "mountaincar": "MountainCar-v0",
    "breakout": "Breakout-MinAtar",
}


@dataclass(frozen=True)
class PPOSettings:
    """What a run of PPO is, apart from its environment and its length.

    The defaults are those of the speed benchmark: PureJaxRL's, with 16 environments and a constant
    learning rate. Not every peer can follow all of them; `benchmarks/parity/README.md` lists which.

    Attributes:
        environments: copies stepped side by side, per seed.
        rollout_length: steps of each copy between two updates.
        epochs: passes over a batch.
        minibatches: gradient steps a pass.
        learning_rate: Adam's step size, constant.
        adam_eps: Adam's epsilon.
        discount: gamma.
        gae_lambda: lambda of generalised advantage estimation.
        clip: the ratio's range is 1 - clip ... 1 + clip.
        value_clip: the critic's prediction may leave the old one by so much; None: by any amount.
        entropy: coefficient of the entropy bonus.
        value_coefficient: weight of the critic's loss (half the mean squared error).
        max_grad_norm: the gradient's limit, in the sense of `gradient_limit`.
        gradient_limit: the limit holds for the norm over actor and critic `joint`ly, for the norm
            of each (`separate`), or for each component (`elementwise`).
        hidden: widths of the hidden layers of actor and critic, two separate networks.
        activation: name of the activation function.
        orthogonal: orthogonal initialisation (gains sqrt 2; .01 for logits; 1 for values) with zero
            biases, or else Flax's default, LeCun normal.
        truncation: an episode that runs out of time is treated as one that ended (`terminate`), or
            the value of its last state is added to the return (`bootstrap`).
    """

    environments: int = 16
    rollout_length: int = 128
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 2.5e-4
    adam_eps: float = 1e-5
    discount: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_clip: float | None = 0.2
    entropy: float = 0.01
    value_coefficient: float = 0.5
    max_grad_norm: float = 0.5
    gradient_limit: Literal["joint", "separate", "elementwise"] = "joint"
    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu", "swish"] = "tanh"
    orthogonal: bool = True
    truncation: Literal["terminate", "bootstrap"] = "terminate"

    @property
    def batch(self) -> int:
        """Environment steps between two updates, per seed."""
        return self.environments * self.rollout_length
