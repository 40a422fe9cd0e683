import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from gtr.learner.normalisation import no_moments

take_in = jax.jit(lambda moments, rows: moments.update(rows))


@given(
    st.lists(st.sampled_from([1, 2, 40]), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
    st.sampled_from([(), (3,), (2, 2)]),
)
def test_moments_are_numpys_of_all_rows_together(sizes, seed, shape):
    rng = np.random.default_rng(seed)
    centre, spread = 5 * rng.standard_normal(shape), 1 + rng.random(shape)
    batches = [
        (centre + spread * rng.standard_normal((n, *shape))).astype(np.float32) for n in sizes
    ]
    moments = no_moments(shape)
    for batch in batches:
        moments = take_in(moments, batch)
    rows = np.concatenate(batches).astype(np.float64)
    # the start weighs as a thousandth of a row of mean 0 and variance 1
    weight = np.array([1e-3, *np.ones(len(rows))]).reshape(-1, *[1] * len(shape))
    mean = (weight[1:] * rows).sum(0) / weight.sum()
    squares = weight[0] * (1 + mean**2) + ((rows - mean) ** 2).sum(0)
    np.testing.assert_allclose(moments.count, len(rows) + 1e-3, rtol=1e-6)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moments.variance, squares / weight.sum(), rtol=1e-3, atol=1e-4)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 1.5, 4, 100]))
def test_moments_that_forget_are_an_exponential_average_of_batches(seed, memory):
    rng = np.random.default_rng(seed)
    batches = (3 * rng.standard_normal((8, 20, 2)) + rng.standard_normal((8, 1, 2))).astype("f4")
    moments = no_moments((2,))
    weights = np.zeros(0)
    for number, batch in enumerate(batches, start=1):
        moments = moments.update(jnp.asarray(batch), memory)
        # a batch weighs at least 1 / memory, and those before it share the rest as they did
        share = max(1 / number, 1 / memory)
        weights = np.append(weights * (1 - share), share)
    rows = batches.astype(np.float64)
    mean = np.einsum("b,bnf->f", weights / 20, rows)
    variance = np.einsum("b,bnf->f", weights / 20, (rows - mean) ** 2)
    np.testing.assert_allclose(moments.mean, mean, rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(moments.variance, variance, rtol=5e-3, atol=5e-3)
    for memory_of_all in (None, 1e6):
        same = no_moments((2,))
        for batch in batches:
            same = same.update(jnp.asarray(batch), memory_of_all)
        np.testing.assert_allclose(same.mean, rows.mean((0, 1)), rtol=1e-3, atol=1e-3)


def test_moments_are_nearly_those_of_the_data_alone():
    rows = np.random.default_rng(0).standard_normal((1000, 2)).astype(np.float32) * 7 + 3
    moments = no_moments((2,)).update(jnp.asarray(rows))
    np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-4)
    np.testing.assert_allclose(moments.variance, rows.var(0), rtol=1e-4)
    normal = np.asarray(moments.normalise(jnp.asarray(rows)))
    np.testing.assert_allclose(normal.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(normal.std(0), 1, atol=1e-3)


def test_moments_of_a_large_mean_keep_their_variance():
    rng = np.random.default_rng(1)
    moments = no_moments(())
    for _ in range(100):
        moments = moments.update(jnp.asarray(1000 + rng.standard_normal(64).astype(np.float32)))
    # the start's thousandth of a row at 0 adds 1e-3 / 6400 * 1000^2
    assert moments.variance == pytest.approx(1 + 0.156, rel=0.05)


@pytest.mark.parametrize("x", [-1e30, -3.0, 0.0, 3.0, 1e30])
def test_normalised_numbers_stay_within_10_deviations(x):
    moments = no_moments((1,)).update(jnp.ones((5, 1)))
    # a component that never varied has almost no deviation, and must not blow up
    for _ in range(10):
        moments = moments.update(jnp.ones((5000, 1)))
    out = float(moments.normalise(jnp.float32([x]))[0])
    assert -10 <= out <= 10


def test_before_any_data_normalising_changes_nothing_small():
    x = jnp.float32([[-2.0, 0.5]])
    np.testing.assert_allclose(no_moments((2,)).normalise(x), x, rtol=1e-6)
