"""The six properties that define the Gaussian trust region, and its rivals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gtr.objective import (
    Bump,
    Gate,
    Gaussian,
    Quadratic,
    half_square,
    half_square_of_probabilities,
    kernel,
)
from gtr.objective.numerics import LIMIT

N, K = 12, 3
log_ratios = hnp.arrays(np.float64, (N, K), elements=st.floats(-30, 30))
samples = hnp.arrays(np.float64, (N,), elements=st.floats(-10, 10))
stiffnesses = st.floats(0.01, 100)
radii = st.floats(0.05, 5)


@st.composite
def mixtures(draw):
    raw = draw(hnp.arrays(np.float64, (K,), elements=st.floats(0.01, 1)))
    return raw / raw.sum()


def gaussian(log_ratio, weights, stiffness, radius):
    return Gaussian(stiffness, radius)(half_square(log_ratio), weights)


def bump(log_ratio, weights, stiffness, radius):
    return Bump(stiffness, radius)(half_square(log_ratio), weights)


def quadratic(log_ratio, weights, stiffness):
    return Quadratic(stiffness)(half_square(log_ratio), weights)


def one_gaussian(log_ratio, stiffness, radius):
    """One anchor, so that (N,) in is (N,) out."""
    return gaussian(log_ratio[..., None], [1.0], stiffness, radius)


def one_bump(log_ratio, stiffness, radius):
    return bump(log_ratio[..., None], [1.0], stiffness, radius)


def mixture_kernel(log_ratio, weights, radius):
    return kernel(half_square(log_ratio), weights, radius)


def gate(log_ratio, weights, radius):
    return Gate(radius)(half_square(log_ratio), weights) * log_ratio.sum(-1)


def reference_gaussian(log_ratio, weights, stiffness, radius):
    kappa = np.sum(weights * np.exp(-(log_ratio**2) / (2 * radius**2)), -1)
    return stiffness * radius**2 * (1 - kappa)


@given(log_ratios, mixtures(), stiffnesses, radii)
def test_1_it_is_bounded_and_zero_only_at_the_anchor(library, x, weights, stiffness, radius):
    value = library.value(gaussian, x, weights, stiffness, radius)
    assert np.all(value >= 0)
    assert np.all(value <= stiffness * radius**2 * (1 + 1e-12))
    np.testing.assert_allclose(
        value, reference_gaussian(x, weights, stiffness, radius), atol=1e-11 * stiffness * radius**2
    )
    away = np.max(np.abs(x), -1) > 1e-6
    assert np.all(value[away] > 0)
    assert np.all(library.value(gaussian, 0 * x, weights, stiffness, radius) == 0)


@given(samples, stiffnesses, radii)
def test_2_the_pull_is_the_log_ratio_times_the_kernel(autodiff, x, stiffness, radius):
    pull = autodiff.gradient(one_gaussian, x, stiffness, radius)
    expected = stiffness * x * np.exp(-(x**2) / (2 * radius**2))
    np.testing.assert_allclose(pull, expected, rtol=1e-9, atol=1e-14 * stiffness)


@given(stiffnesses, radii)
def test_2_the_pull_rises_to_the_radius_and_fades_beyond(autodiff, stiffness, radius):
    x = radius * np.linspace(0, 8, 801)
    pull = autodiff.gradient(one_gaussian, x, stiffness, radius)
    peak = np.argmax(pull)
    assert x[peak] == pytest.approx(radius, rel=0.011)
    assert pull[peak] == pytest.approx(stiffness * radius * math.exp(-0.5), rel=1e-4)
    assert np.all(np.diff(pull[: peak + 1]) > 0)
    assert np.all(np.diff(pull[peak:]) < 0)
    assert pull[-1] < 1e-11 * pull[peak]


@given(log_ratios, mixtures(), stiffnesses, radii)
def test_2_the_pull_of_a_mixture_is_the_slope_of_the_reference(
    autodiff, x, weights, stiffness, radius
):
    h = 1e-6
    for penalty, reference in (
        (gaussian, reference_gaussian),
        (
            bump,
            lambda x, w, b, s: b * np.sum(w * x**2 / 2 * np.exp(-(x**2) / (2 * s**2)), -1),
        ),
    ):
        pull = autodiff.gradient(penalty, x, weights, stiffness, radius).sum(-1)
        slope = (
            reference(x + h, weights, stiffness, radius)
            - reference(x - h, weights, stiffness, radius)
        ) / (2 * h)
        np.testing.assert_allclose(pull, slope, rtol=1e-4, atol=1e-6 * stiffness)


@pytest.mark.parametrize(("kind", "penalty"), [(Gaussian, one_gaussian), (Bump, one_bump)])
@given(stiffness=stiffnesses, radius=radii)
def test_3_the_strongest_pull_is_the_largest_slope(autodiff, kind, penalty, stiffness, radius):
    x = radius * np.linspace(0, 6, 2001)
    pull = np.max(np.abs(autodiff.gradient(penalty, x, stiffness, radius)))
    strongest = kind(stiffness, radius).strongest_pull
    assert strongest * (1 - 1e-5) < pull <= strongest * (1 + 1e-12)


@given(log_ratios, mixtures(), stiffnesses)
def test_4_an_infinite_radius_is_the_quadratic_penalty(autodiff, x, weights, stiffness):
    for quantity in (autodiff.value, autodiff.gradient):
        np.testing.assert_allclose(
            quantity(gaussian, x, weights, stiffness, math.inf),
            quantity(quadratic, x, weights, stiffness),
            rtol=1e-9,
            atol=1e-300,
        )


@given(log_ratios, mixtures(), stiffnesses)
def test_4_the_quadratic_penalty_is_half_the_squared_log_ratio(autodiff, x, weights, stiffness):
    np.testing.assert_allclose(
        autodiff.value(quadratic, x, weights, stiffness),
        stiffness * np.sum(weights * x**2, -1) / 2,
        rtol=1e-12,
        atol=1e-300,
    )
    np.testing.assert_allclose(
        autodiff.gradient(quadratic, x, weights, stiffness),
        stiffness * weights * x,
        rtol=1e-12,
        atol=1e-300,
    )


@pytest.mark.parametrize("penalty", [gaussian, bump])
def test_4_the_curvature_at_the_anchor_is_the_stiffness_in_single_precision_too(library, penalty):
    x = np.array([1e-2, 1e-4, 1e-6, -1e-6])
    value = library.value(penalty, x[:, None], [1.0], 0.4, 10.0, dtype="float32")
    np.testing.assert_allclose(value, 0.4 * x**2 / 2, rtol=3e-6)


@given(samples, mixtures(), stiffnesses, radii)
def test_5_identical_anchors_count_as_one(library, x, weights, stiffness, radius):
    many = library.value(gaussian, np.repeat(x[:, None], K, 1), weights, stiffness, radius)
    one = library.value(one_gaussian, x, stiffness, radius)
    np.testing.assert_allclose(many, one, rtol=1e-12, atol=1e-14)


@given(log_ratios, mixtures(), stiffnesses, radii, st.permutations(range(K)))
def test_5_the_order_of_anchors_does_not_matter(library, x, weights, stiffness, radius, order):
    for penalty in (gaussian, bump):
        np.testing.assert_allclose(
            library.value(penalty, x, weights, stiffness, radius),
            library.value(penalty, x[:, order], weights[order], stiffness, radius),
            rtol=1e-12,
            atol=1e-14,
        )


@given(log_ratios, mixtures(), stiffnesses, radii)
def test_5_a_stale_anchor_pulls_only_the_quadratic_penalty(autodiff, x, weights, stiffness, radius):
    stale = x.copy()
    stale[:, -1] = 50 * radius + np.abs(x[:, -1])
    near = autodiff.gradient(gaussian, stale, weights, stiffness, radius)
    assert np.all(near[:, -1] == 0)
    np.testing.assert_array_equal(
        near[:, :-1], autodiff.gradient(gaussian, x, weights, stiffness, radius)[:, :-1]
    )
    monotone = autodiff.gradient(quadratic, stale, weights, stiffness)
    assert np.all(monotone[:, -1] >= stiffness * weights[-1] * 50 * radius * (1 - 1e-12))


EXTREMES = np.array(
    [0.0, -0.0, 1e-45, 1e-20, 1e-8, 0.5, 20.0, 88.0, 1e3, 1e6, 1e12, 1e19, 3e38, math.inf]
)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("penalty", [gaussian, bump])
@given(stiffness=st.floats(0, 1e30), radius=st.floats(1e-30, 1e30) | st.just(1.0))
def test_6_value_and_pull_are_finite_at_any_distance(autodiff, penalty, dtype, stiffness, radius):
    with np.errstate(over="ignore"):
        x = np.concatenate([EXTREMES, -EXTREMES]).astype(np.float32)[:, None]
    arguments = (x, [1.0], stiffness, radius)
    value = autodiff.value(penalty, *arguments, dtype=dtype)
    assert np.all(np.isfinite(value))
    assert np.all(value >= 0)
    assert np.all(np.isfinite(autodiff.gradient(penalty, *arguments, dtype=dtype)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_6_half_precision_agrees_with_the_reference(autodiff, dtype):
    x = np.array([0.0, 0.125, 0.5, 1.0, -2.0, 512.0])  # exact in every type
    value = autodiff.value(one_gaussian, x, 0.5, 0.5, dtype=dtype)
    pull = autodiff.gradient(one_gaussian, x, 0.5, 0.5, dtype=dtype)
    np.testing.assert_allclose(value, 0.125 * (1 - np.exp(-2 * x**2)), rtol=1e-6)
    np.testing.assert_allclose(pull, 0.5 * x * np.exp(-2 * x**2), rtol=1e-2, atol=1e-6)


@given(samples, stiffnesses, radii)
def test_the_bump_repels_beyond_its_top(autodiff, x, stiffness, radius):
    u = x**2 / (2 * radius**2)
    np.testing.assert_allclose(
        autodiff.gradient(one_bump, x, stiffness, radius),
        stiffness * x * (1 - u) * np.exp(-u),
        rtol=1e-7,
        atol=1e-12 * stiffness,
    )


@given(log_ratios, mixtures(), radii)
def test_the_kernel_is_the_mixture_of_gaussians(library, x, weights, radius):
    value = library.value(mixture_kernel, x, weights, radius)
    expected = np.sum(weights * np.exp(-(x**2) / (2 * radius**2)), -1)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-300)


@given(log_ratios, mixtures(), radii)
def test_the_gate_is_a_constant_to_gradients(autodiff, x, weights, radius):
    kappa = np.sum(weights * np.exp(-(x**2) / (2 * radius**2)), -1, keepdims=True)
    np.testing.assert_allclose(
        autodiff.gradient(gate, x, weights, radius), np.repeat(kappa, K, 1), rtol=1e-9, atol=1e-300
    )


# ---------------------------------------------------------------- probabilities (CIM-PPO)

# Above 0 they are densities, as continuous actions have.
log_probs = hnp.arrays(np.float64, (N,), elements=st.floats(-12, 4))


def cim(log_prob, reference, stiffness, radius):
    squares = half_square_of_probabilities(log_prob[..., None], reference[..., None])
    return Gaussian(stiffness, radius)(squares, [1.0])


def reference_cim(log_prob, reference, stiffness, radius):
    d = np.exp(log_prob) - np.exp(reference)
    return -stiffness * radius**2 * np.expm1(-(d**2) / (2 * radius**2))


@given(log_probs, log_probs)
def test_half_the_squared_difference_of_probabilities(library, p, q):
    difference = np.exp(p) - np.exp(q)
    found = library.value(half_square_of_probabilities, p, q)
    # Two libraries' exponentials may differ in the last digit, of which a small difference is left.
    rounding = 4 * np.finfo(float).eps
    allowed = 1e-10 * difference**2 + rounding * (np.abs(difference) + rounding)
    assert np.all(np.abs(found - difference**2 / 2) <= allowed)


@given(log_probs, log_probs, stiffnesses, radii)
def test_on_probabilities_it_is_bounded_and_zero_only_at_the_anchor(
    library, p, q, stiffness, radius
):
    value = library.value(cim, p, q, stiffness, radius)
    assert np.all(value >= 0)
    assert np.all(value <= stiffness * radius**2 * (1 + 1e-12))
    scale = stiffness * radius**2
    np.testing.assert_allclose(
        value, reference_cim(p, q, stiffness, radius), rtol=1e-10, atol=1e-13 * scale
    )
    assert np.all(value[np.abs(np.exp(p) - np.exp(q)) > 1e-9] > 0)
    assert np.all(library.value(cim, q, q, stiffness, radius) == 0)


@given(log_probs, log_probs, stiffnesses, radii)
def test_on_probabilities_the_pull_is_the_slope_of_the_reference(autodiff, p, q, stiffness, radius):
    pull = autodiff.gradient(cim, p, q, stiffness, radius)
    d = np.exp(p) - np.exp(q)
    closed = stiffness * d * np.exp(-(d**2) / (2 * radius**2)) * np.exp(p)
    np.testing.assert_allclose(pull, closed, rtol=1e-9, atol=1e-12 * stiffness)
    h = 1e-6
    rise = reference_cim(p + h, q, stiffness, radius) - reference_cim(p - h, q, stiffness, radius)
    # Cancellation in the difference leaves about 1e-16 of the bound over h.
    tolerance = 1e-9 * stiffness * radius**2 + 1e-9 * stiffness
    np.testing.assert_allclose(pull, rise / (2 * h), rtol=1e-4, atol=tolerance)


def test_on_probabilities_the_pull_is_strongest_at_the_radius(autodiff):
    """In units of the probability: the slope in the log-probability over the probability."""
    d = np.linspace(0, 3, 1201)
    pull = autodiff.gradient(cim, np.log(0.2 + d), np.full_like(d, np.log(0.2)), 0.7, 0.4)
    pull = pull / (0.2 + d)
    assert d[np.argmax(pull)] == pytest.approx(0.4, abs=0.003)
    assert np.max(pull) == pytest.approx(Gaussian(0.7, 0.4).strongest_pull, rel=1e-4)


def test_on_probabilities_actions_of_probability_zero_and_any_density_are_finite(autodiff):
    with np.errstate(over="ignore"):
        extremes = np.concatenate([EXTREMES, -EXTREMES])
        p, q = (x.ravel() for x in np.meshgrid(extremes, extremes))
        for dtype in ("float32", "bfloat16", "float16"):
            for stiffness, radius in ((2.0, 1.0), (1e30, 1e-30), (1e30, 1e30)):
                value = autodiff.value(cim, p, q, stiffness, radius, dtype=dtype)
                pull = autodiff.gradient(cim, p, q, stiffness, radius, dtype=dtype)
                assert np.all(np.isfinite(value))
                if dtype != "float16":  # whose largest number is far below the largest slope
                    assert np.all(np.isfinite(pull))
    never = np.array([-math.inf])
    assert autodiff.value(cim, never, never, 2.0, 1.0) == 0
    assert autodiff.value(cim, never, np.array([0.0]), 2.0, 1.0) == pytest.approx(
        2 * (1 - math.exp(-0.5))
    )
    assert autodiff.gradient(cim, never, np.array([0.0]), 2.0, 1.0) == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_on_probabilities_small_types_agree_with_the_reference(autodiff, dtype):
    p, q = np.array([0.0, -0.5, -2.0, 1.0, -8.0]), np.array([-1.0, -0.5, -0.25, 0.5, -1.0])
    value = autodiff.value(cim, p, q, 0.5, 0.5, dtype=dtype)
    np.testing.assert_allclose(value, reference_cim(p, q, 0.5, 0.5), rtol=1e-5, atol=1e-9)


def test_fixed_numbers(library):
    x, weights = [[0.0, 0.5], [1.0, -0.5]], [0.75, 0.25]
    np.testing.assert_allclose(
        library.value(gaussian, x, weights, 0.4, 0.5), [0.00983673356, 0.07468658726], rtol=1e-8
    )
    np.testing.assert_allclose(
        library.value(bump, x, weights, 0.4, 0.5), [0.00758163325, 0.02788192573], rtol=1e-8
    )
    np.testing.assert_allclose(library.value(quadratic, x, weights, 0.4), [0.0125, 0.1625])


def test_an_exact_divergence_below_zero_by_rounding_is_zero(library):
    def penalty(divergence):
        return Gaussian(0.4, 0.5)(divergence, [1.0])

    assert library.value(penalty, [[-1e-9]]) == 0
    assert library.value(penalty, [[math.inf]]) == pytest.approx(0.4 * 0.25)
    assert library.value(penalty, [[LIMIT]]) == pytest.approx(0.4 * 0.25)
