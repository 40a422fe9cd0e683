"""The numbers of a training run: how much data, how it is used, how large the steps are.

Numbers marked *leaf* are arrays to JAX, so they can differ between the runs of one jitted call;
the others fix shapes or branches, and a change of them compiles anew.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from gtr.networks.architectures import MLP, Architecture


@dataclass(frozen=True)
class LearnerConfig:
    """Configuration of the trainer; the suite brings defaults that suit its environment.

    Attributes:
        environments: copies of the environment stepped side by side, per run.
        rollout_length: steps of each copy between two updates.
        epochs: passes over a batch of `environments * rollout_length` samples.
        minibatches: gradient steps a pass.
        learning_rate: Adam's step size (leaf).
        anneal: whether the learning rate falls linearly to 0 over the whole run.
        adam_b1: Adam's decay of the first moment (leaf).
        adam_b2: Adam's decay of the second moment (leaf).
        discount: gamma (leaf).
        gae_lambda: lambda of generalised advantage estimation (leaf).
        entropy: coefficient of the entropy bonus (leaf).
        max_grad_norm: limit on the gradient's norm, for actor and critic each (leaf).
        advantage_scale: divide advantages by their standard deviation in the minibatch, by a
            running estimate of it, or not at all.
        normalise_observations: keep a running mean and standard deviation of each component.
        normalise_rewards: divide rewards by the running standard deviation of the return.
        squash_actions: bound continuous actions by tanh instead of clipping them.
        network: the architecture of actor and critic (two separate networks).
    """

    environments: int = 16
    rollout_length: int = 128
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 3e-4
    anneal: bool = False
    adam_b1: float = 0.9
    adam_b2: float = 0.999
    discount: float = 0.99
    gae_lambda: float = 0.95
    entropy: float = 0.01
    max_grad_norm: float = 0.5
    advantage_scale: Literal["batch", "running", "none"] = "batch"
    normalise_observations: bool = False
    normalise_rewards: bool = False
    squash_actions: bool = False
    network: Architecture = field(default_factory=MLP)


class Rates(NamedTuple):
    """The leaves of a configuration: numbers that may differ between the runs of one call."""

    learning_rate: Any
    adam_b1: Any
    adam_b2: Any
    discount: Any
    gae_lambda: Any
    entropy: Any
    max_grad_norm: Any


def rates(config: LearnerConfig) -> Rates:
    """The leaves of `config`, as Python numbers."""
    return Rates(*(getattr(config, name) for name in Rates._fields))
