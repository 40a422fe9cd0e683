"""Distances against their definitions, as metrics, and in single precision near zero."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gtr.objective import (
    categorical_hellinger,
    categorical_step_cosine,
    directional_efficiency,
    gaussian_hellinger,
    gaussian_step_cosine,
    multi_categorical_hellinger,
    multi_categorical_step_cosine,
)

STATES, ACTIONS = 5, 4
logits = hnp.arrays(np.float64, (STATES, ACTIONS), elements=st.floats(-30, 30))
means = hnp.arrays(np.float64, (STATES, 2), elements=st.floats(-20, 20))
components = hnp.arrays(np.float64, (STATES, 2, ACTIONS), elements=st.floats(-30, 30))
stds = hnp.arrays(np.float64, (STATES, 2), elements=st.floats(0.01, 10))


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@given(logits, logits)
def test_categorical_distance_is_its_definition(library, p, q):
    affinity = np.sum(np.sqrt(softmax(p) * softmax(q)), -1)
    expected = np.mean(np.sqrt(np.maximum(1 - affinity, 0)))
    assert library.value(categorical_hellinger, p, q) == pytest.approx(expected, abs=1e-7)


@given(logits, logits, logits)
def test_categorical_distance_is_a_metric_and_the_ratio_at_most_one(p, q, r):
    pq, qr, pr = (categorical_hellinger(*pair) for pair in ((p, q), (q, r), (p, r)))
    assert 0 <= pq <= 1 + 1e-12
    assert pq == categorical_hellinger(q, p)
    assert categorical_hellinger(p, p) == 0
    assert pr <= pq + qr + 1e-12
    path = pq + qr
    assert math.isnan(directional_efficiency(pr, path)) or directional_efficiency(pr, path) <= 1


def test_categorical_distance_takes_logits_masks_and_disjoint_policies(library):
    p, q = [[0.0, -math.inf, 5.0, -math.inf]], [[-math.inf, 1.0, -math.inf, 1.0]]
    assert library.value(categorical_hellinger, p, q) == pytest.approx(1)
    shifted = np.array(p) + 100.0
    assert library.value(categorical_hellinger, p, shifted) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_small_distances_keep_their_digits(library, dtype):
    """A step of size h has distance h sqrt(p (1 - p)) / 2 to first order: two actions, logit h."""
    h = 2.0**-7 if dtype == "bfloat16" else 1e-4
    zero, step = np.zeros((1, 2)), np.array([[h, 0.0]])
    distance = library.value(categorical_hellinger, zero, step, dtype=dtype)
    assert distance == pytest.approx(h * math.sqrt(0.125) / 2, rel=2e-3)
    one = np.ones((1, 1))
    distance = library.value(gaussian_hellinger, 0 * one, one, h * one, one, dtype=dtype)
    assert distance == pytest.approx(h / math.sqrt(8), rel=2e-3)


def jointly(logits):
    """Of all combinations of two components' actions: (states, actions^2) log-probabilities."""
    first, second = np.moveaxis(logits - np.logaddexp.reduce(logits, -1, keepdims=True), 1, 0)
    return (first[:, :, None] + second[:, None, :]).reshape(len(logits), -1)


@given(components, components)
def test_distance_of_components_is_that_of_their_combinations(library, p, q):
    expected = categorical_hellinger(jointly(p), jointly(q))
    found = library.value(multi_categorical_hellinger, p, q)
    assert found == pytest.approx(expected, abs=1e-7)
    alone = library.value(multi_categorical_hellinger, p[:, :1], q[:, :1])
    assert alone == pytest.approx(categorical_hellinger(p[:, 0], q[:, 0]), abs=1e-12)


def test_components_of_fewer_actions_are_padded_and_disjoint_ones_are_at_distance_one(library):
    p = np.array([[[0.0, 1.0, 2.0], [0.0, 3.0, -math.inf]]])
    q = np.array([[[0.0, 1.0, 2.0], [2.0, 1.0, -math.inf]]])
    expected = categorical_hellinger(p[:, 1, :2], q[:, 1, :2])
    assert library.value(multi_categorical_hellinger, p, q) == pytest.approx(expected)
    q[0, 1] = [-math.inf, -math.inf, 0.0]
    assert library.value(multi_categorical_hellinger, p, q) == 1


@given(means, stds, means, stds)
def test_gaussian_distance_is_the_closed_form(library, m, s, n, t):
    total = s**2 + t**2
    affinity = np.prod(np.sqrt(2 * s * t / total) * np.exp(-((m - n) ** 2) / (4 * total)), -1)
    expected = np.mean(np.sqrt(np.maximum(1 - affinity, 0)))
    assert library.value(gaussian_hellinger, m, s, n, t) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("m", "s", "n", "t"), [(0, 1, 1, 1), (0, 1, 0, 3), (-1, 0.5, 2, 2)])
def test_gaussian_distance_is_the_integral(m, s, n, t):
    x = np.linspace(-30, 30, 200_001)
    p, q = (
        np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
        for mean, std in ((m, s), (n, t))
    )
    integral = np.trapezoid((np.sqrt(p) - np.sqrt(q)) ** 2, x) / 2
    arrays = (np.array([[float(value)]]) for value in (m, s, n, t))
    assert gaussian_hellinger(*arrays) == pytest.approx(math.sqrt(integral), rel=1e-6)


@given(means, stds, means, stds, means, stds)
def test_gaussian_distance_is_a_metric(m, s, n, t, o, u):
    pq = gaussian_hellinger(m, s, n, t)
    assert 0 <= pq <= 1
    assert pq == pytest.approx(gaussian_hellinger(n, t, m, s), abs=1e-12)
    assert gaussian_hellinger(m, s, m, s) == 0
    assert gaussian_hellinger(m, s, o, u) <= pq + gaussian_hellinger(n, t, o, u) + 1e-12


def test_directional_efficiency(library):
    net, path = [1.0, 0.5, 0.0, 0.0, 1.0000001], [1.0, 2.0, 3.0, 0.0, 1.0]
    efficiency = library.value(directional_efficiency, net, path)
    np.testing.assert_array_equal(efficiency, [1.0, 0.25, 0.0, math.nan, 1.0])
    assert directional_efficiency(0.5, 2.0) == 0.25
    assert directional_efficiency(1.0000001, 1.0) == 1.0
    assert math.isnan(directional_efficiency(0.0, 0.0))


def arc(angle):
    """A policy over three actions at an angle on the sphere of sqrt-probabilities."""
    root = np.array([[math.cos(angle), math.sin(angle), 0.0]])
    with np.errstate(divide="ignore"):
        return 2 * np.log(root)


def test_categorical_cosine_of_known_turns(library):
    step = 0.01
    straight = library.value(
        categorical_step_cosine, arc(0.3), arc(0.3 + step), arc(0.3 + 2 * step)
    )
    assert straight == pytest.approx(math.cos(step))
    back = library.value(categorical_step_cosine, arc(0.3), arc(0.4), arc(0.3))
    assert back == pytest.approx(-1)
    assert math.isnan(library.value(categorical_step_cosine, arc(0.3), arc(0.3), arc(0.4)))
    uniform = [[0.0, 0.0, 0.0]]
    sideways = [[1e-3, -1e-3, 0.0]], uniform, [[1e-3, 1e-3, -2e-3]]
    assert library.value(categorical_step_cosine, *sideways) == pytest.approx(0, abs=1e-2)


@given(logits, logits, logits)
def test_categorical_cosine_is_that_of_the_root_probabilities(library, p, q, r):
    first = np.sqrt(softmax(q)) - np.sqrt(softmax(p))
    second = np.sqrt(softmax(r)) - np.sqrt(softmax(q))
    lengths = np.linalg.norm(first) * np.linalg.norm(second)
    cosine = library.value(categorical_step_cosine, p, q, r)
    if lengths > 1e-6:
        assert cosine == pytest.approx(np.sum(first * second) / lengths, abs=1e-6)
    assert math.isnan(cosine) or abs(cosine) <= 1


@given(components, components, components)
def test_cosine_of_components_is_that_of_their_combinations(library, p, q, r):
    joint = [np.exp(0.5 * jointly(x)) for x in (p, q, r)]
    lengths = [np.linalg.norm(joint[i + 1] - joint[i]) for i in range(2)]
    cosine = library.value(multi_categorical_step_cosine, p, q, r)
    if min(lengths) > 1e-4:
        expected = categorical_step_cosine(*(jointly(x) for x in (p, q, r)))
        assert cosine == pytest.approx(float(expected), abs=1e-6)
    assert math.isnan(cosine) or abs(cosine) <= 1
    assert math.isnan(library.value(multi_categorical_step_cosine, p, p, r))


def test_gaussian_cosine_counts_in_standard_deviations(library):
    before, now, after = [[0.0, 0.0]], [[1.0, 1.0]], [[1.0, 2.0]]
    cosine = library.value(gaussian_step_cosine, before, now, after, [[1.0, 1.0]])
    assert cosine == pytest.approx(math.sqrt(0.5))
    cosine = library.value(gaussian_step_cosine, before, now, after, [[0.25, 1.0]])
    assert cosine == pytest.approx(1 / math.sqrt(17))
    assert library.value(gaussian_step_cosine, before, now, before, [[0.3, 7.0]]) == -1
    assert math.isnan(library.value(gaussian_step_cosine, now, now, after, [[1.0, 1.0]]))
