"""The mixture's weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gtr.methods  # registers the anchors as pytrees  # noqa: F401
from gtr.objective import Average, Behaviour, Initial, Recent, Stale


@given(st.integers(1, 64), st.floats(1e-6, 1.0))
def test_weights_fall_geometrically_with_age_and_sum_to_one(count, decay):
    weights = Recent(count, 2, decay).weights()
    assert weights.shape == (count,)
    assert np.sum(weights) == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(weights[1:], decay * weights[:-1], rtol=1e-12)


def test_fixed_numbers():
    np.testing.assert_allclose(Recent(3, 2, 0.5).weights(), [4 / 7, 2 / 7, 1 / 7])
    np.testing.assert_allclose(Recent(4, 2, 1.0).weights(), [0.25] * 4)


def test_the_decay_can_be_a_leaf():
    anchors = Recent(8, 2, jnp.array([0.3, 0.7, 1.0]))
    swept = jax.jit(jax.vmap(lambda anchor: anchor.weights()))(anchors)
    expected = [Recent(8, 2, decay).weights() for decay in (0.3, 0.7, 1.0)]
    np.testing.assert_allclose(swept, expected, rtol=1e-5)


@pytest.mark.parametrize("anchor", [Behaviour(), Average(), Initial(), Stale()])
def test_the_others_are_one_anchor(anchor):
    assert anchor.count == 1
    np.testing.assert_array_equal(anchor.weights(), [1.0])
