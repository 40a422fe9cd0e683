"""Hostile inputs: ten thousand samples of extremes, and numbers that no method should have."""

import itertools
import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gtr.errors import GTRError
from gtr.methods import method as named
from gtr.methods import names
from gtr.objective import (
    Clip,
    Gate,
    Gaussian,
    Method,
    Recent,
    diagnostics,
    evaluate,
    validate,
)

from .conftest import METHODS, Jax, NumPy, Torch, anchors_of

POOL = np.array(
    [
        0.0,
        -0.0,
        1e-45,
        -1e-30,
        1e-7,
        -0.1,
        0.3,
        -1.0,
        5.0,
        -19.99,
        20.01,
        -88.0,
        90.0,
        -709.0,
        1e3,
        -1e4,
        6e4,
        -1e6,
        1e9,
        -1.1e9,
        1e19,
        -1e30,
        3.3e38,
        -3.3e38,
        -math.inf,
    ],
    dtype=np.float32,
)
ADVANTAGES = POOL[np.isfinite(POOL)]


def hostile(rng: np.random.Generator, n: int, anchors: int) -> tuple[np.ndarray, ...]:
    return (
        rng.choice(POOL, n),
        rng.choice(POOL, n),
        rng.choice(ADVANTAGES, n),
        rng.choice(POOL, (n, max(anchors, 1))),
    )


def hostile_losses(method: Method, library: Any, arrays: tuple[np.ndarray, ...], dtype: str) -> Any:
    """Values and, where the library has them, gradients; a KL is given as it comes: hostile."""
    log_prob, behaviour, advantage, anchors = (library.array(x, dtype) for x in arrays)

    def loss(log_prob):
        extra: dict[str, Any] = {}
        if method.divergence == "exact":
            extra["divergence"] = anchors
        evaluation = evaluate(
            method,
            log_prob=log_prob,
            behaviour_log_prob=behaviour,
            advantage=advantage,
            anchor_log_probs=anchors if anchors_of(method) else None,
            **extra,
        )
        return evaluation.penalty - evaluation.surrogate, evaluation

    if library.name == "torch":
        log_prob.requires_grad_()
        values, evaluation = loss(log_prob)
        values.sum().backward()
        gradient = log_prob.grad.double().numpy()
        values = values.detach()
    elif library.name == "jax":
        (_, (values, evaluation)), gradient = jax.value_and_grad(
            lambda x: (lambda pair: (pair[0].sum(), pair))(loss(x)), has_aux=True
        )(log_prob)
    else:
        values, evaluation = loss(log_prob)
        gradient = np.zeros(1)
    found = diagnostics(method, evaluation, advantage=advantage)
    scalars = {k: float(v) for k, v in found.items()}
    return np.asarray(values, np.float64), np.asarray(gradient, np.float64), scalars


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_ten_thousand_hostile_samples_give_finite_values_and_gradients(library, method, dtype):
    with np.errstate(over="ignore"):  # of 3.3e38 rounded to half precision, in making the inputs
        arrays = hostile(np.random.default_rng(7), 10_000, anchors_of(method))
        values, gradient, scalars = hostile_losses(method, library, arrays, dtype)
    assert np.all(np.isfinite(values))
    assert np.all(np.isfinite(gradient))
    absent = {name for name, value in scalars.items() if math.isnan(value)}
    ordinary = hostile_losses(method, library, [0.1 * np.ones_like(x) for x in arrays], "float32")
    assert absent == {name for name, value in ordinary[2].items() if math.isnan(value)}
    assert not any(math.isinf(value) for value in scalars.values())


hostile_numbers = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -1.0, 1e-320, 1e-30, 1e-9, 0.5, 1.0, 1e9, 1e300, math.inf, math.nan]),
)


@settings(max_examples=100)
@given(
    name=st.sampled_from(names()),
    number=hostile_numbers,
    other=hostile_numbers,
    seed=st.integers(0, 2**32 - 1),
)
def test_hostile_numbers_are_refused_or_harmless(name, number, other, seed):
    library = (NumPy(), Torch(), Jax())[seed % 3]
    method = named(name)
    values = itertools.cycle([number, other])
    for role in ("surrogate", "penalty", "gate", "anchor"):
        part = getattr(method, role)
        changed = {
            field: next(values)
            for field in ("clip", "stiffness", "radius", "decay")
            if hasattr(part, field)
        }
        if changed:
            method = replace(method, **{role: replace(part, **changed)})
    arrays = hostile(np.random.default_rng(seed), 32, anchors_of(method))
    try:
        values, gradient, scalars = hostile_losses(method, library, arrays, "float32")
    except GTRError:
        with pytest.raises(GTRError):
            validate(method)
    else:
        validate(method)
        assert np.all(np.isfinite(values))
        assert np.all(np.isfinite(gradient))
        assert not any(math.isinf(value) for value in scalars.values())


@pytest.mark.parametrize("number", [0.0, -1.0, math.inf, -math.inf, 1e-38, 3e38])
def test_numbers_that_are_arrays_are_bounded_instead_of_refused(number):
    """A sweep's numbers are tracers, which nobody can refuse."""
    leaf = jnp.float32(number)
    method = Method("wild", Clip(leaf), Gaussian(leaf, leaf), Gate(leaf), Recent(3))
    arrays = hostile(np.random.default_rng(0), 1000, 3)
    values, gradient, _ = hostile_losses(method, Jax(), arrays, "float32")
    assert np.all(np.isfinite(values))
    assert np.all(np.isfinite(gradient))


def test_an_action_that_all_policies_exclude_is_at_distance_zero(library):
    excluded = library.array([-math.inf])
    evaluation = evaluate(
        named("gtr", anchors=1),
        log_prob=excluded,
        behaviour_log_prob=excluded,
        advantage=library.array([2.0]),
        anchor_log_probs=excluded[:, None],
    )
    assert (evaluation.log_ratio, evaluation.penalty, evaluation.surrogate) == (0, 0, 2)
