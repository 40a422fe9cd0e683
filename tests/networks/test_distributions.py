import math
from functools import cache

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from hypothesis import given

from gtr.environments.protocol import Box, Discrete
from gtr.networks.distributions import (
    Categorical,
    Gaussian,
    TanhGaussian,
    distribution_for,
    masked,
)

BOX = Box((2,), -1.0, 1.0)
# A box off centre, so that a forgotten scale or shift is seen.
UNEVEN = Box((1,), -1.0, 3.0)
FOUR, NORMAL = Categorical(4), Gaussian(BOX)


@cache
def jitted(function):
    return jax.jit(function)


def sampled(distribution, parameters, count, seed=0):
    """`count` draws from one row of parameters, and the draws as the environment takes them."""
    uniform = np.random.default_rng(seed).random((count, distribution.randomness), np.float32)
    uniform = np.clip(uniform, 2.0**-25, 1 - 2.0**-24)
    action = distribution.sample(jnp.asarray(parameters)[None], distribution.noise(uniform))
    return np.asarray(action), np.asarray(distribution.to_environment(action))


def squashed_density(parameters, box):
    """Density of low + half (tanh(u) + 1), u normal, as a function of the environment's action."""
    mean, log_std = parameters
    half = (box.high - box.low) / 2

    def density(a):
        y = (a - box.low) / half - 1
        u = np.arctanh(y)
        return scipy.stats.norm.pdf(u, mean, np.exp(log_std)) / (half * (1 - y * y))

    return density


def test_spaces_get_the_distribution_that_fits():
    assert distribution_for(Discrete(3), squash=True) == Categorical(3)
    assert distribution_for(BOX, squash=False) == Gaussian(BOX)
    assert distribution_for(BOX, squash=True) == TanhGaussian(BOX)
    assert type(distribution_for(BOX, squash=False)) is Gaussian
    assert hash(Gaussian(BOX)) == hash(Gaussian(Box((2,), -1.0, 1.0)))


@given(st.lists(st.floats(-20, 20, width=32), min_size=4, max_size=4))
def test_categorical_is_scipys(logits):
    one = FOUR
    logits = np.float32(logits)
    p = scipy.special.softmax(logits.astype(np.float64))
    log_prob = jitted(one.log_prob)(np.tile(logits, (4, 1)), np.arange(4, dtype=np.int32))
    np.testing.assert_allclose(np.exp(np.asarray(log_prob, np.float64)), p, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(log_prob, scipy.special.log_softmax(logits), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        jitted(one.entropy)(logits), scipy.stats.entropy(p), rtol=1e-4, atol=1e-5
    )
    other = np.roll(logits, 1)
    q = scipy.special.softmax(other.astype(np.float64))
    np.testing.assert_allclose(
        jitted(one.kl)(logits, other), scipy.stats.entropy(p, q), rtol=1e-3, atol=1e-5
    )
    assert one.mode(jnp.asarray(logits)) == np.argmax(logits)


def test_categorical_samples_have_the_probabilities():
    logits = np.float32([0.3, -1.0, 1.2, 0.0])
    actions, _ = sampled(Categorical(4), logits, 40_000)
    assert actions.dtype == np.int32
    seen = np.bincount(actions, minlength=4)
    p = scipy.special.softmax(logits.astype(np.float64))
    assert scipy.stats.chisquare(seen, 40_000 * p).pvalue > 1e-3


def test_forbidden_actions_have_probability_0_and_leave_gradients_finite():
    one = Categorical(4)
    mask = np.array([True, False, True, False])
    logits = np.float32([0.5, 30.0, -0.5, 80.0])

    def parts(logits, action):
        parameters = masked(logits, mask)
        other = masked(np.float32([1.0, 9.0, 0.3, 9.0]), mask)
        return (
            one.log_prob(parameters, action) + one.entropy(parameters) + one.kl(other, parameters)
        )

    allowed = scipy.special.softmax(logits[mask].astype(np.float64))
    log_prob = one.log_prob(np.tile(masked(logits, mask), (4, 1)), np.arange(4))
    np.testing.assert_allclose(np.exp(log_prob)[mask], allowed, rtol=1e-5)
    assert (np.exp(log_prob)[~mask] == 0).all()
    np.testing.assert_allclose(
        one.entropy(masked(logits, mask)), scipy.stats.entropy(allowed), rtol=1e-5
    )
    assert one.mode(masked(logits, mask)) == 0
    for action in (0, 2):
        value, gradient = jax.value_and_grad(parts)(jnp.asarray(logits), jnp.int32(action))
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        assert (np.asarray(gradient)[~mask] == 0).all()
        assert np.abs(gradient).max() > 1e-3
    actions, _ = sampled(one, masked(logits, mask), 40_000)
    seen = np.bincount(actions, minlength=4)
    assert (seen[~mask] == 0).all()
    assert scipy.stats.chisquare(seen[mask], 40_000 * allowed).pvalue > 1e-3


def test_without_a_mask_parameters_are_untouched():
    logits = jnp.arange(3.0)
    assert masked(logits, None) is logits


numbers = st.floats(-3, 3, width=32)


@given(st.tuples(*[numbers] * 4), st.tuples(*[numbers] * 4), st.tuples(numbers, numbers))
def test_gaussian_is_scipys(p, q, action):
    one = NORMAL
    p, q, action = np.float32(p), np.float32(q), np.float32(action)
    normal = scipy.stats.norm(p[:2].astype(np.float64), np.exp(p[2:].astype(np.float64)))
    np.testing.assert_allclose(
        jitted(one.log_prob)(p, action), normal.logpdf(action).sum(), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(jitted(one.entropy)(p), normal.entropy().sum(), rtol=1e-4, atol=1e-4)
    wide_p, wide_q = p.astype(np.float64), q.astype(np.float64)
    expected = sum(
        gaussian_kl_by_integration(wide_p[i], wide_p[2 + i], wide_q[i], wide_q[2 + i])
        for i in range(2)
    )
    np.testing.assert_allclose(jitted(one.kl)(p, q), expected, rtol=1e-3, atol=1e-3)


def gaussian_kl_by_integration(mean_p, log_p, mean_q, log_q):
    """Gauss-Hermite, exact here: the integrand is a polynomial of degree 2."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    x = mean_p + np.exp(log_p) * nodes
    difference = scipy.stats.norm.logpdf(x, mean_p, np.exp(log_p)) - scipy.stats.norm.logpdf(
        x, mean_q, np.exp(log_q)
    )
    return weights @ difference / weights.sum()


def test_gaussian_samples_are_normal_and_clipped_on_their_way_out():
    one = Gaussian(BOX)
    parameters = np.float32([0.4, -2.0, math.log(0.5), math.log(2.0)])
    stored, given_out = sampled(one, parameters, 20_000)
    for i, (mean, std) in enumerate(((0.4, 0.5), (-2.0, 2.0))):
        assert scipy.stats.kstest(stored[:, i], "norm", (mean, std)).pvalue > 1e-3
    np.testing.assert_array_equal(given_out, np.clip(stored, -1, 1))
    assert np.abs(np.corrcoef(stored.T)[0, 1]) < 0.03
    np.testing.assert_array_equal(one.mode(parameters), parameters[:2])


def test_actions_leave_in_the_shape_of_their_space():
    for kind in (Gaussian, TanhGaussian):
        one = kind(Box((2, 3), -1.0, 1.0))
        assert (one.outputs, one.free, one.action_shape) == (6, 6, (6,))
        assert one.to_environment(jnp.zeros((5, 6))).shape == (5, 2, 3)


@pytest.mark.parametrize("parameters", [(0.0, 0.0), (0.7, -1.0), (-1.0, 0.3), (2.0, -0.5)])
def test_squashed_log_prob_is_that_of_a_density_that_integrates_to_1(parameters):
    one = TanhGaussian(UNEVEN)
    density = squashed_density(parameters, UNEVEN)
    stored = np.linspace(-2.5, 2.5, 11, dtype=np.float32)[:, None]
    log_prob = one.log_prob(jnp.float32(parameters), stored)
    actions = np.asarray(one.to_environment(stored), np.float64)[:, 0]
    np.testing.assert_allclose(log_prob, np.log(density(actions)), rtol=1e-3, atol=2e-3)

    # over the environment's actions, a = low + half (tanh(u) + 1): 4001 points of u to 8 deviations
    u = np.linspace(-8, 8, 4001) * np.exp(parameters[1]) + parameters[0]
    with jax.enable_x64(True):
        wide = np.asarray(one.log_prob(jnp.asarray(parameters), jnp.asarray(u)[:, None]))
        a = np.asarray(one.to_environment(jnp.asarray(u)[:, None]))[:, 0]
    assert abs(scipy.integrate.trapezoid(np.exp(wide), a) - 1) < 1e-3


@pytest.mark.parametrize("parameters", [(0.0, 0.0), (0.7, -1.0), (-1.0, -0.3), (0.0, -3.0)])
def test_squashed_entropy_is_that_of_numerical_integration(parameters):
    one = TanhGaussian(UNEVEN)
    mean, std = parameters[0], math.exp(parameters[1])

    def integrand(u):
        # -p log p over u: log p(a) = log p(u) - log |da/du|
        log_normal = scipy.stats.norm.logpdf(u, mean, std)
        log_slope = math.log(2) + 2 * (math.log(2) - abs(u) - np.log1p(np.exp(-2 * abs(u))))
        return -math.exp(log_normal) * (log_normal - log_slope)

    expected, _ = scipy.integrate.quad(integrand, mean - 10 * std, mean + 10 * std, limit=200)
    assert one.entropy(jnp.float32(parameters)) == pytest.approx(expected, abs=5e-3)


def test_squashed_entropy_is_that_of_its_samples():
    one = TanhGaussian(BOX)
    parameters = jnp.float32([0.3, -0.5, -0.2, -1.0])
    stored, given_out = sampled(one, parameters, 50_000)
    log_prob = np.asarray(one.log_prob(parameters, stored))
    error = float(log_prob.std()) / math.sqrt(len(stored))
    assert one.entropy(parameters) == pytest.approx(-log_prob.mean(), abs=5 * error + 1e-3)
    assert np.abs(given_out).max() < 1


def test_squashing_changes_no_ratio_and_no_kl():
    squashed, plain = TanhGaussian(BOX), Gaussian(BOX)
    rng = np.random.default_rng(0)
    p, q = jnp.asarray(rng.standard_normal((2, 9, 4), np.float32))
    action = rng.standard_normal((9, 2), np.float32)
    np.testing.assert_allclose(
        squashed.log_prob(p, action) - squashed.log_prob(q, action),
        plain.log_prob(p, action) - plain.log_prob(q, action),
        rtol=1e-4,
        atol=1e-4,
    )
    np.testing.assert_array_equal(squashed.kl(p, q), plain.kl(p, q))


@pytest.mark.parametrize("far", [-40.0, 40.0])
def test_far_out_in_the_squashing_nothing_overflows(far):
    one = TanhGaussian(UNEVEN)
    parameters = jnp.float32([far, 0.0])
    action = jnp.float32([far])
    value, gradient = jax.value_and_grad(one.log_prob)(parameters, action)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.isfinite(one.entropy(parameters))
    assert np.isfinite(jax.grad(one.entropy)(parameters)).all()
    assert -1 <= float(one.to_environment(action)[0]) <= 3


@pytest.mark.parametrize(
    "one", [Categorical(4), Gaussian(BOX), TanhGaussian(BOX)], ids=lambda x: type(x).__name__
)
def test_a_policy_has_no_divergence_from_itself_and_gradients_are_right(one):
    rng = np.random.default_rng(1)
    size = one.outputs + one.free
    with jax.enable_x64(True):
        p = jnp.asarray(rng.standard_normal((5, size)))
        q = jnp.asarray(rng.standard_normal((5, size)))
        noise = one.noise(jnp.asarray(rng.random((5, one.randomness))))
        action = one.sample(p, noise)
        np.testing.assert_allclose(one.kl(p, p), 0, atol=1e-12)
        assert (one.kl(p, q) > 0).all()
        assert one.hellinger(p, p) == pytest.approx(0, abs=1e-6)
        for function in (
            lambda q: one.log_prob(q, action).sum(),
            lambda q: one.entropy(q).sum(),
            lambda q: one.kl(p, q).sum(),
        ):
            jax.test_util.check_grads(function, (q,), order=1, modes=["rev"], rtol=1e-5, atol=1e-5)
