"""How far a policy of PyTorch moves, and how directly: `gtr.objective.movement` on distributions.

Of no framework: it takes what `torch.distributions` has.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    Normal,
    TransformedDistribution,
)

from gtr.errors import GTRError
from gtr.objective import (
    directional_efficiency,
    gaussian_hellinger,
    gaussian_step_cosine,
    multi_categorical_hellinger,
    multi_categorical_step_cosine,
)


@dataclass(frozen=True)
class Categoricals:
    """What a policy does in n states, each action having independent categorical components.

    Attributes:
        logits: (n, components, actions) float64; -inf pads components with fewer actions.
    """

    logits: np.ndarray


@dataclass(frozen=True)
class Gaussians:
    """What a policy does in n states, each action having independent Gaussian components.

    Attributes:
        mean: (n, components) float64.
        std: (n, components) float64, greater than 0.
    """

    mean: np.ndarray
    std: np.ndarray


Answers = Categoricals | Gaussians


def answers(distribution: Distribution | Sequence[Categorical]) -> Answers:
    """The numbers of a distribution over the actions in n states, without gradient, in NumPy.

    Args:
        distribution: `Categorical` (n,), `Bernoulli` or `Normal` (n, components), one of these
            within `Independent` or squashed by a bijection (which changes no distance), or a
            sequence of `Categorical` (n,), a component each.

    Raises:
        GTRError: it is another distribution.
    """
    if isinstance(distribution, Independent | TransformedDistribution):
        return answers(distribution.base_dist)
    if isinstance(distribution, Normal):
        return Gaussians(_rows(distribution.loc), _rows(distribution.scale))
    if isinstance(distribution, Bernoulli):
        logits = _rows(distribution.logits)
        return Categoricals(np.stack([np.zeros_like(logits), logits], -1))
    components = [distribution] if isinstance(distribution, Distribution) else list(distribution)
    logits = [_rows(x.logits) for x in components if isinstance(x, Categorical)]
    if len(logits) < len(components):
        names = ", ".join(sorted({type(component).__name__ for component in components}))
        raise GTRError(
            f"movement of {names} cannot be measured: "
            "give a Categorical, several of them, a Bernoulli or a Normal"
        )
    most = max(x.shape[-1] for x in logits)
    padded = [np.pad(x, ((0, 0), (0, most - x.shape[-1])), constant_values=-np.inf) for x in logits]
    return Categoricals(np.stack(padded, 1))


def distance(p: Answers, q: Answers) -> float:
    """Hellinger distance in [0, 1], mean over the states."""
    if isinstance(p, Categoricals) and isinstance(q, Categoricals):
        return float(multi_categorical_hellinger(p.logits, q.logits))
    assert isinstance(p, Gaussians)
    assert isinstance(q, Gaussians)
    return float(gaussian_hellinger(p.mean, p.std, q.mean, q.std))


def step_cosine(before: Answers, now: Answers, after: Answers) -> float:
    """Cosine between the step to `now` and the step from it, in [-1, 1]; NaN without a step."""
    if isinstance(now, Categoricals):
        assert isinstance(before, Categoricals)
        assert isinstance(after, Categoricals)
        return float(multi_categorical_step_cosine(before.logits, now.logits, after.logits))
    assert isinstance(before, Gaussians)
    assert isinstance(after, Gaussians)
    return float(gaussian_step_cosine(before.mean, now.mean, after.mean, now.std))


def entropy_share(policy: Answers) -> float | None:
    """Mean entropy over the largest possible, in [0, 1]; None for Gaussians, which have none."""
    if isinstance(policy, Gaussians):
        return None
    possible = np.isfinite(policy.logits) & (policy.logits > _MASKED)
    log_p = torch.log_softmax(torch.as_tensor(policy.logits), -1).numpy()
    entropy = -np.where(possible, np.exp(log_p) * np.where(possible, log_p, 0.0), 0.0).sum((1, 2))
    largest = np.log(possible.sum(-1)).sum(-1)
    free = largest > 0
    return float(np.mean(entropy[free] / largest[free])) if free.any() else None


class Path:
    """The way of a policy in some states.

    Attributes:
        now: where it was last.
        steps: their lengths.
        cosines: between each step and the one before it.
    """

    def __init__(self, start: Answers) -> None:
        """Begins at `start`."""
        self._start = self.now = start
        self._before: Answers | None = None
        self.steps: list[float] = []
        self.cosines: list[float] = []

    def add(self, now: Answers) -> None:
        """The policy after another update, in the same states."""
        self.steps.append(distance(self.now, now))
        if self._before is not None:
            self.cosines.append(step_cosine(self._before, self.now, now))
        self._before, self.now = self.now, now

    def measures(self) -> dict[str, float]:
        """By the names of `metrics.csv`, without those that are not known yet.

        - step_distance: of the last step.
        - step_cosine: between the last step and the one before.
        - path_length: sum of the steps' lengths.
        - net_displacement: distance between the path's ends.
        - directional_efficiency: their quotient, in [0, 1].
        """
        if not self.steps:
            return {}
        net, length = distance(self._start, self.now), sum(self.steps)
        found = {
            "step_distance": self.steps[-1],
            "step_cosine": self.cosines[-1] if self.cosines else math.nan,
            "path_length": length,
            "net_displacement": net,
            "directional_efficiency": float(directional_efficiency(net, length)),
        }
        return {name: number for name, number in found.items() if not math.isnan(number)}


# Frameworks mask an action by a logit far below any that a network gives.
_MASKED = -1e7


def _rows(x: Tensor) -> np.ndarray:
    return x.detach().to("cpu", torch.float64).numpy()
