"""Every scalar of the log against a reference in NumPy, whole and masked."""

import math

import jax
import numpy as np
import pytest

from gtr.methods import method as named
from gtr.methods import names
from gtr.objective import diagnostics, evaluate

NAMES = {
    "kl",
    "ratio_max",
    "clip_fraction",
    "kernel_mean",
    "redescended_fraction",
    "redescended_advantage",
    "escape_advantage",
    "anchor_spread",
    "stiffness",
}
RNG = np.random.default_rng(3)
N = 200
BEHAVIOUR = RNG.normal(size=N) - 1
LOG_PROB = BEHAVIOUR + 0.4 * RNG.normal(size=N)
ANCHORS = LOG_PROB[:, None] + 1.5 * RNG.normal(size=(N, 3))
MASK = RNG.random(N) < 0.5
ADVANTAGE = RNG.normal(size=N)
METHOD = named("gtr", anchors=3, stiffness=0.6, radius=0.7, clip=0.15)


def evaluated(library, method=METHOD):
    return evaluate(
        method,
        log_prob=library.array(LOG_PROB),
        behaviour_log_prob=library.array(BEHAVIOUR),
        advantage=library.array(np.ones(N)),
        anchor_log_probs=library.array(ANCHORS),
    )


@pytest.mark.parametrize("mask", [np.ones(N, bool), MASK], ids=["whole", "masked"])
def test_scalars_are_those_of_the_reference(library, mask):
    scalars = diagnostics(
        METHOD,
        evaluated(library),
        advantage=library.array(ADVANTAGE),
        mask=None if mask.all() else library.array(mask),
        stiffness=0.5,
    )
    gap, ratio = LOG_PROB - BEHAVIOUR, np.exp(LOG_PROB - BEHAVIOUR)
    squares = (LOG_PROB[:, None] - ANCHORS) ** 2
    weights = np.array([1, 0.7, 0.49]) / 2.19
    far, strength = np.min(squares, -1) > 0.49, np.abs(ADVANTAGE)
    expected = {
        "kl": np.mean((ratio - 1 - gap)[mask]),
        "ratio_max": np.max(ratio[mask]),
        "clip_fraction": np.mean((np.abs(ratio - 1) > 0.15)[mask]),
        "kernel_mean": np.mean((np.exp(-squares / (2 * 0.49)) @ weights)[mask]),
        "redescended_fraction": np.mean(far[mask]),
        "redescended_advantage": np.sum(strength[far & mask]) / np.sum(strength[mask]),
        "escape_advantage": 0.5 * 0.7 * math.exp(-0.5),
        "anchor_spread": np.mean(np.std(ANCHORS, -1)[mask]),
        "stiffness": 0.5,
    }
    assert 0 < expected["redescended_fraction"] < 1
    assert set(scalars) == NAMES
    for name, value in scalars.items():
        assert value.shape == ()
        assert float(value) == pytest.approx(expected[name], rel=1e-4), name


def test_a_masked_sample_cannot_poison_the_rest(library):
    poisoned = LOG_PROB.copy()
    poisoned[~MASK] = math.nan
    evaluation = evaluate(
        METHOD,
        log_prob=library.array(poisoned),
        behaviour_log_prob=library.array(BEHAVIOUR),
        advantage=library.array(np.ones(N)),
        anchor_log_probs=library.array(ANCHORS),
    )
    mask = library.array(MASK)
    wrong = library.array(np.where(MASK, ADVANTAGE, math.nan))
    scalars = diagnostics(METHOD, evaluation, advantage=wrong, mask=mask)
    clean = diagnostics(METHOD, evaluated(library), advantage=library.array(ADVANTAGE), mask=mask)
    for name in NAMES:
        assert float(scalars[name]) == float(clean[name]), name
    nothing = diagnostics(METHOD, evaluation, advantage=wrong, mask=0 * mask)
    assert all(math.isfinite(float(value)) for value in nothing.values())


def test_the_behaviour_policy_can_be_one_more_of_those_that_are_spread(library):
    with_it = evaluated(library).with_behaviour()
    expected = np.std(np.concatenate([BEHAVIOUR[:, None], ANCHORS], -1), -1).mean()
    scalars = diagnostics(METHOD, with_it)
    np.testing.assert_allclose(float(scalars["anchor_spread"]), expected, rtol=1e-5)
    alone = evaluated(library, named("ppo"))
    assert alone.with_behaviour() is alone


ABSENT = {
    "ppo": {
        "kernel_mean",
        "redescended_fraction",
        "redescended_advantage",
        "escape_advantage",
        "anchor_spread",
        "stiffness",
    },
    "gtr": set(),
    "gtr-monotone": {
        "kernel_mean",
        "redescended_fraction",
        "redescended_advantage",
        "escape_advantage",
    },
    "gtr-gate": {"escape_advantage", "stiffness"},
}


@pytest.mark.parametrize("name", ABSENT)
def test_what_a_method_lacks_is_not_a_number(library, name):
    method = named(name) if name == "ppo" else named(name, anchors=3)
    scalars = diagnostics(method, evaluated(library, method), advantage=library.array(ADVANTAGE))
    assert {key for key, value in scalars.items() if math.isnan(float(value))} == ABSENT[name]


@pytest.mark.parametrize("name", names())
def test_scalars_can_be_jitted_with_the_method_as_an_argument(name):
    method = named(name)
    anchors = 1 if method.anchor is None else method.anchor.count

    @jax.jit
    def run(method, log_prob, behaviour, anchor_log_probs):
        exact = {}
        if method.divergence == "exact":
            exact["divergence"] = (log_prob[:, None] - anchor_log_probs) ** 2
        evaluation = evaluate(
            method,
            log_prob=log_prob,
            behaviour_log_prob=behaviour,
            advantage=log_prob,
            anchor_log_probs=anchor_log_probs,
            **exact,
        )
        return diagnostics(method, evaluation, advantage=log_prob)

    arguments = (
        LOG_PROB.astype(np.float32),
        BEHAVIOUR.astype(np.float32),
        np.repeat(ANCHORS[:, :1], anchors, 1).astype(np.float32),
    )
    traced = run(method, *arguments)
    with jax.disable_jit():
        eager = run(method, *arguments)
    assert set(traced) == NAMES
    for key in NAMES:
        np.testing.assert_allclose(traced[key], eager[key], rtol=1e-4, atol=1e-6)


def test_the_kl_estimate_is_the_kl(library):
    """On actions drawn from the behaviour policy, against the sum over all actions."""
    b, p = np.array([0.5, 0.3, 0.2]), np.array([0.4, 0.4, 0.2])
    action = np.repeat(np.arange(3), [50, 30, 20])
    evaluation = evaluate(
        named("ppo"),
        log_prob=library.array(np.log(p)[action]),
        behaviour_log_prob=library.array(np.log(b)[action]),
        advantage=library.array(np.ones(100)),
    )
    kl = float(diagnostics(named("ppo"), evaluation)["kl"])
    assert kl == pytest.approx(np.sum(b * np.log(b / p)), rel=1e-4)
