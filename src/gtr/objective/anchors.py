"""Which earlier policies hold the present one. Descriptions only: the learner keeps the weights.

`count` is the number of anchors K: the last axis of the anchors' log-probabilities. `weights()`
is their mixture, (K,), which sums to 1.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from array_api_compat import array_namespace

from gtr.objective import defaults
from gtr.objective.numerics import Array, Number


class _One:
    count: ClassVar[int] = 1

    def weights(self) -> Array:
        """The mixture: (1,), float64 of NumPy."""
        return np.ones(1)


@dataclass(frozen=True)
class Behaviour(_One):
    """The policy that collected the batch, as in PPO-KL (arXiv:1707.06347)."""


@dataclass(frozen=True)
class Average(_One):
    """The bias-corrected exponential average of the policy's weights, as in PPO-EWMA.

    arXiv:2110.00641 and openai/ppo-ewma. Initially average = weights and total = 1; after every
    gradient step

        total'  = decay total + 1
        average' = average (decay total / total') + weights / total'

    Attributes:
        decay: of the average, per gradient step; the mean age is 1 / (1 - decay) steps.
    """

    decay: Number = 0.889


@dataclass(frozen=True)
class Initial(_One):
    """The policy before training: L2-Init (arXiv:2308.11958), but in the space of policies."""


@dataclass(frozen=True)
class Stale(_One):
    """One snapshot of the policy, retaken every few iterations: a stale reference, for comparison.

    Attributes:
        every: iterations between two snapshots (static).
    """

    every: int = 4


@dataclass(frozen=True)
class Recent:
    """The mixture anchor: the behaviour policy and snapshots before it; our reading.

    Anchor 0 is always the policy that collected the batch; anchor k is the k-th newest of the
    `count - 1` snapshots, which are taken every `every` iterations.

    Attributes:
        count: number of anchors, the behaviour policy among them (static).
        every: iterations between two snapshots (static).
        decay: ratio of an anchor's weight to that of the next newer one.
    """

    count: int = defaults.COUNT
    every: int = defaults.EVERY
    decay: Number = defaults.DECAY

    def weights(self) -> Array:
        """The mixture, newest first: (count,), proportional to decay^age and summing to 1.

        Returns:
            float64 of NumPy where `decay` is a Python number, else an array like `decay`.
        """
        if isinstance(self.decay, int | float):
            powers = np.power(float(self.decay), np.arange(self.count))
            return powers / powers.sum()
        xp = array_namespace(self.decay)
        powers = xp.stack([self.decay**age for age in range(self.count)])
        return powers / xp.sum(powers)


Anchor = Behaviour | Average | Initial | Stale | Recent
