import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    Normal,
    Poisson,
    TransformedDistribution,
)
from torch.distributions.transforms import TanhTransform

from gtr.errors import GTRError
from gtr.integrations.movement import Path, answers, distance, entropy_share, step_cosine

STATES = 5


def logits(*shape: int) -> torch.Tensor:
    return torch.randn(STATES, *shape, generator=torch.Generator().manual_seed(sum(shape)))


def probability_of_each_action(distribution) -> np.ndarray:
    """(STATES, actions): of every combination, one after another."""
    if isinstance(distribution, Bernoulli):
        yes = distribution.probs.double().numpy()
        marginals = [np.stack([1 - yes[:, i], yes[:, i]], -1) for i in range(yes.shape[1])]
    else:
        several = [distribution] if isinstance(distribution, Categorical) else distribution
        marginals = [one.probs.double().numpy() for one in several]
    choices = itertools.product(*(range(m.shape[1]) for m in marginals))
    return np.stack(
        [
            np.prod([m[:, a] for m, a in zip(marginals, action, strict=True)], 0)
            for action in choices
        ],
        -1,
    )


def discrete(scale: float):
    """The same kinds of distribution each time, farther apart with another scale."""
    return [
        Categorical(logits=scale * logits(4)),
        Bernoulli(logits=scale * logits(3)),
        [Categorical(logits=scale * logits(2)), Categorical(logits=scale * logits(4))],
    ]


@pytest.mark.parametrize("kind", range(3), ids=["categorical", "bernoulli", "several"])
def test_discrete_policies_are_compared_over_all_their_actions(kind: int):
    here, there, beyond = (discrete(scale)[kind] for scale in (1.0, 1.3, 1.5))
    p, q, r = (np.sqrt(probability_of_each_action(x)) for x in (here, there, beyond))
    expected = np.mean(np.sqrt(0.5 * np.sum((p - q) ** 2, -1)))
    assert distance(answers(here), answers(there)) == pytest.approx(expected, rel=1e-5)
    cosine = np.sum((q - p) * (r - q)) / np.linalg.norm(q - p) / np.linalg.norm(r - q)
    found = step_cosine(answers(here), answers(there), answers(beyond))
    assert found == pytest.approx(cosine, rel=1e-4)
    probabilities = probability_of_each_action(here)
    entropy = -np.sum(probabilities * np.log(probabilities), -1) / math.log(p.shape[1])
    assert entropy_share(answers(here)) == pytest.approx(entropy.mean(), rel=1e-5)


@pytest.mark.parametrize("mask", [-math.inf, -1e8])
def test_masked_actions_count_neither_for_distance_nor_for_entropy(mask: float):
    free = [Categorical(logits=scale * logits(3)) for scale in (1.0, 2.0)]
    wall = torch.full((STATES, 1), mask)
    masked = [Categorical(logits=torch.cat([one.logits, wall], -1)) for one in free]
    apart = distance(answers(free[0]), answers(free[1]))
    assert distance(answers(masked[0]), answers(masked[1])) == pytest.approx(apart)
    share = entropy_share(answers(free[0]))
    assert entropy_share(answers(masked[0])) == pytest.approx(share)


def test_a_gaussian_is_the_same_within_independent_and_behind_a_bijection():
    plain = [Normal(scale * logits(2), scale * torch.ones(STATES, 2)) for scale in (1.0, 1.5)]
    shift, total = (plain[0].loc - plain[1].loc).numpy(), 1 + 1.5**2
    affinity = np.prod(np.sqrt(2 * 1.5 / total) * np.exp(-(shift**2) / (4 * total)), -1)
    expected = np.mean(np.sqrt(1 - affinity))
    for wrapped in (
        plain,
        [Independent(one, 1) for one in plain],
        [TransformedDistribution(Independent(one, 1), [TanhTransform()]) for one in plain],
    ):
        assert distance(answers(wrapped[0]), answers(wrapped[1])) == pytest.approx(expected)
    assert entropy_share(answers(plain[0])) is None


def test_a_distribution_without_a_known_distance_is_refused():
    with pytest.raises(GTRError, match="movement of Poisson cannot be measured"):
        answers(Poisson(torch.ones(3)))
    with pytest.raises(GTRError, match="Poisson"):
        answers([Categorical(logits=logits(2)), Poisson(torch.ones(3))])


def test_a_path_there_and_back_and_one_straight_on():
    at = [answers(Normal(torch.full((3, 1), x), torch.ones(3, 1))) for x in (0.0, 0.1, 0.2)]
    step = distance(at[0], at[1])

    path = Path(at[0])
    assert path.measures() == {}
    path.add(at[1])
    assert "step_cosine" not in path.measures()
    path.add(at[0])
    assert path.measures() == {
        "step_distance": pytest.approx(step),
        "step_cosine": pytest.approx(-1),
        "path_length": pytest.approx(2 * step),
        "net_displacement": 0,
        "directional_efficiency": 0,
    }

    path = Path(at[0])
    path.add(at[1])
    path.add(at[2])
    found = path.measures()
    assert found["step_cosine"] == pytest.approx(1)
    assert found["directional_efficiency"] == pytest.approx(1, abs=1e-3)
