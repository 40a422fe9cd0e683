"""Surrogates against float64 references, closed-form slopes and hostile ratios."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gtr.objective import SPO, Clip, DecoupledClip, Unclipped

N = 12
log_ratios = hnp.arrays(np.float64, (N,), elements=st.floats(-5, 5))
advantages = hnp.arrays(np.float64, (N,), elements=st.floats(-10, 10))
clips = st.floats(0.01, 0.9)


def clip(log_ratio, advantage, c):
    return Clip(c)(log_ratio, advantage)


def spo(log_ratio, advantage, c):
    return SPO(c)(log_ratio, advantage)


def unclipped(log_ratio, advantage, c):
    return Unclipped()(log_ratio, advantage)


def decoupled(log_ratio, advantage, proximal_log_ratio, c):
    return DecoupledClip(c)(log_ratio, advantage, proximal_log_ratio)


def decoupled_of_log_prob(log_prob, behaviour, proximal, advantage, c):
    return DecoupledClip(c)(log_prob - behaviour, advantage, log_prob - proximal)


def reference_clip(x, a, c):
    r = np.exp(x)
    return np.minimum(r * a, np.clip(r, 1 - c, 1 + c) * a)


def reference_spo(x, a, c):
    r = np.exp(x)
    return r * a - np.abs(a) * (r - 1) ** 2 / (2 * c)


REFERENCES = [
    (clip, reference_clip),
    (spo, reference_spo),
    (unclipped, lambda x, a, c: np.exp(x) * a),
]


@pytest.mark.parametrize(("surrogate", "reference"), REFERENCES)
@given(x=log_ratios, a=advantages, c=clips)
def test_values(library, surrogate, reference, x, a, c):
    np.testing.assert_allclose(
        library.value(surrogate, x, a, c), reference(x, a, c), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(("surrogate", "reference"), REFERENCES)
@given(x=log_ratios, a=advantages, c=clips)
def test_slopes(autodiff, surrogate, reference, x, a, c):
    edges = np.log([1 - c, 1 + c])
    assume(np.all(np.abs(x[:, None] - edges) > 1e-5))
    h = 1e-6
    slope = (reference(x + h, a, c) - reference(x - h, a, c)) / (2 * h)
    scale = 1 + np.abs(slope) + np.abs(reference(x, a, c))
    np.testing.assert_array_less(
        np.abs(autodiff.gradient(surrogate, x, a, c) - slope), 1e-6 * scale
    )


@given(x=log_ratios, a=advantages, stale=log_ratios, c=clips)
def test_decoupled_clip_is_the_formula_of_ppo_ewma(library, x, a, stale, c):
    """openai/ppo-ewma clips in log space and multiplies by q/b afterwards."""
    proximal = x - stale
    clipped = np.exp(np.clip(proximal, math.log(1 - c), math.log(1 + c)) + stale)
    expected = np.minimum(np.exp(x) * a, clipped * a)
    np.testing.assert_allclose(
        library.value(decoupled, x, a, proximal, c), expected, rtol=1e-10, atol=1e-12
    )


def test_decoupled_clip_does_not_learn_from_the_staleness(autodiff):
    """Inside the clip the slope is that of r A; clipped, there is none, stale or not."""
    behaviour, proximal = np.full(4, -1.0), np.full(4, -1.3)
    log_prob = np.array([-1.3, -1.25, -0.8, -2.0])
    advantage = np.array([1.0, -1.0, 1.0, -1.0])
    slope = autodiff.gradient(
        decoupled_of_log_prob, log_prob, behaviour, proximal, advantage, np.array(0.2)
    )
    inside = np.exp(log_prob - behaviour) * advantage
    np.testing.assert_allclose(slope, [inside[0], inside[1], 0.0, 0.0], rtol=1e-12)


@given(x=log_ratios, a=advantages, c=clips)
def test_decoupled_clip_around_the_behaviour_policy_is_clip_to_the_bit(library, x, a, c):
    np.testing.assert_array_equal(
        library.value(decoupled, x, a, x, c), library.value(clip, x, a, c)
    )


def test_fixed_numbers(library):
    x, a = np.log([1.0, 1.5, 0.5, 1.5, 0.5]), [2.0, 2.0, 2.0, -2.0, -2.0]
    np.testing.assert_allclose(library.value(clip, x, a, 0.2), [2.0, 2.4, 1.0, -3.0, -1.6])
    np.testing.assert_allclose(library.value(spo, x, a, 0.25), [2.0, 2.0, 0.0, -4.0, -2.0])
    np.testing.assert_allclose(library.value(unclipped, x, a, 0.0), [2.0, 3.0, 1.0, -3.0, -1.0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("surrogate", [clip, spo, unclipped])
def test_no_ratio_overflows(autodiff, surrogate, dtype):
    extremes = np.array([0.0, 19.9, 20.1, 89.0, 1e4, 1e6, 3e38, math.inf])
    with np.errstate(over="ignore"):
        x, a = (x.ravel() for x in np.meshgrid([*extremes, *-extremes], [0.0, 1.0, -1.0, -1e38]))
        value = autodiff.value(surrogate, x, a, 0.25, dtype=dtype)
        slope = autodiff.gradient(surrogate, x, a, 0.25, dtype=dtype)
    assert np.all(np.isfinite(value))
    if dtype != "float16":  # whose largest number is below the largest ratio's slope
        assert np.all(np.isfinite(slope))
    assert np.all(value[a == 0] == 0)
    assert np.all(slope[a == 0] == 0)
    assert np.all(slope[np.abs(x) > 20.5] == 0)


def test_the_cap_is_at_twenty(library):
    value = library.value(unclipped, [19.0, 20.0, 21.0, -21.0], np.ones(4), 0.0)
    np.testing.assert_allclose(value, np.exp([19.0, 20.0, 20.0, -20.0]), rtol=1e-12)
