"""The stiffness as it follows a target, and as it counts in units of the batch."""

import math
from dataclasses import replace

import numpy as np
import pytest
from array_api_compat import array_namespace

from gtr.methods import method as named
from gtr.objective import adapt, batch_stiffness, evaluate

from .conftest import METHODS, unequal


def test_adapt_halves_doubles_and_stays_in_range(library):
    kl = library.array([0.001, 0.0066, 0.0067, 0.0149, 0.0151, 1.0, math.nan])
    factors = [0.5, 0.5, 1, 1, 2, 2, 1]
    adapted = np.asarray(adapt(library.array(np.full(7, 0.4)), kl, 0.01))
    np.testing.assert_allclose(adapted, 0.4 * np.array(factors), rtol=1e-6)
    assert [adapt(0.4, float(x), 0.01) for x in kl[:6]] == pytest.approx(
        [0.4 * x for x in factors[:6]]
    )
    low = high = library.array(1.0)
    for _ in range(200):
        low, high = adapt(low, 0.0, 0.01), adapt(high, 1.0, 0.01)
    assert float(low) == pytest.approx(1e-6)
    assert float(high) == pytest.approx(1e6)
    assert float(adapt(low, 1.0, 0.01)) == pytest.approx(2e-6)


# ---------------------------------------------------------------- units of the batch


def test_a_relative_stiffness_is_times_the_root_mean_square_advantage(library):
    advantage = library.array([[3.0, -4.0], [0.0, 100.0]])
    mask = library.array([[1.0, 1.0], [1.0, 0.0]])
    method = named("gtr", stiffness=0.3)
    counted = 0.3 * math.sqrt(25 / 3)
    for keep in (mask, mask != 0):
        assert float(batch_stiffness(method, advantage, mask=keep)) == pytest.approx(counted)
    everything = float(batch_stiffness(method, advantage))
    assert everything == pytest.approx(0.3 * math.sqrt(10_025 / 4))
    assert float(batch_stiffness(method, advantage, stiffness=2.0)) == pytest.approx(
        everything * 2 / 0.3
    )


def test_only_relative_methods_follow_the_batch(library):
    advantage = library.array([3.0, -4.0])
    for method in METHODS:
        if method.penalty is None or not method.relative:
            assert batch_stiffness(method, advantage) is None
            assert batch_stiffness(method, advantage, stiffness=0.7) == 0.7
    without_a_penalty = replace(named("gtr-gate"), relative=True)
    assert batch_stiffness(without_a_penalty, advantage) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_batch_stiffness_is_finite_for_hostile_advantages(library, dtype):
    for value in (0.0, 1e-30, 1e30, math.inf, -math.inf):
        advantage = library.array([value, 1.0, 0.0], dtype)
        for stiffness in (0.0, 1e9, math.inf):
            found = float(batch_stiffness(named("gtr"), advantage, stiffness=stiffness))
            assert math.isfinite(found)
            assert found >= 0
    nothing = batch_stiffness(named("gtr"), advantage, mask=library.array([0, 0, 0]))
    assert float(nothing) == 0


LOG_PROB, BEHAVIOUR, ADVANTAGE = unequal()


def relative_loss(log_prob, scale):
    """GTR's loss without entropy where all advantages are `scale` times what they were."""
    xp = array_namespace(log_prob)
    advantage = scale * xp.asarray(ADVANTAGE, dtype=log_prob.dtype)
    method = named("gtr", anchors=1)
    evaluation = evaluate(
        method,
        log_prob=log_prob,
        behaviour_log_prob=xp.asarray(BEHAVIOUR, dtype=log_prob.dtype),
        anchor_log_probs=xp.asarray(BEHAVIOUR, dtype=log_prob.dtype)[:, None],
        advantage=advantage,
        stiffness=batch_stiffness(method, advantage),
    )
    return xp.mean(evaluation.penalty) - xp.mean(evaluation.surrogate)


def test_the_scale_of_advantages_only_scales_a_relative_loss(autodiff):
    """So Adam's steps are the same whatever the unit of the reward."""
    value = autodiff.value(relative_loss, LOG_PROB, 1.0)
    slope = autodiff.gradient(relative_loss, LOG_PROB, 1.0)
    for scale in (1e-3, 0.1, 70.0):
        np.testing.assert_allclose(
            autodiff.value(relative_loss, LOG_PROB, scale), scale * value, rtol=1e-9
        )
        np.testing.assert_allclose(
            autodiff.gradient(relative_loss, LOG_PROB, scale), scale * slope, rtol=1e-9
        )


def test_a_batch_stiffness_has_no_gradient(autodiff):
    def own(advantage):
        return batch_stiffness(named("gtr"), advantage) * advantage

    rms = math.sqrt(np.mean(ADVANTAGE**2))
    np.testing.assert_allclose(autodiff.gradient(own, ADVANTAGE), 0.25 * rms, rtol=1e-9)
