"""Composition: PPO nested bit for bit, sweeps in one jitted call, mistakes."""

import ast
import itertools
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import gtr.objective
from gtr.errors import GTRError
from gtr.methods import method as named
from gtr.objective import (
    SPO,
    Average,
    Behaviour,
    Bump,
    Clip,
    DecoupledClip,
    Gate,
    Gaussian,
    Initial,
    Method,
    Quadratic,
    Recent,
    Stale,
    evaluate,
    validate,
)

from .conftest import METHODS, anchors_of, unequal

BETA_ZERO = [
    Method("gaussian", Clip(), penalty=Gaussian(0.0, 0.5), anchor=Recent(count=3)),
    Method("bump", Clip(), penalty=Bump(0.0, 0.5), anchor=Recent(count=3)),
    Method("quadratic", Clip(), penalty=Quadratic(0.0), anchor=Recent(count=3)),
    Method(
        "probability",
        Clip(),
        penalty=Gaussian(0.0, 0.5),
        anchor=Recent(count=3),
        divergence="probability",
    ),
    named("gtr-behaviour", stiffness=0.0),
    named("gtr-exact", stiffness=0.0, anchors=3),
]


# ---------------------------------------------------------------- PPO, bit for bit


def batch(seed: int = 0, n: int = 512) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "observation": rng.normal(size=(n, 6)).astype(np.float32),
        "action": rng.integers(0, 4, size=n),
        "weight": rng.normal(size=(6, 4)).astype(np.float32),
        "behaviour": (rng.normal(size=n) * 0.5 - 1.4).astype(np.float32),
        "advantage": rng.normal(size=n).astype(np.float32),
        "anchors": (rng.normal(size=(n, 3)) - 1.4).astype(np.float32),
    }


def gtr_loss(method, log_prob, data):
    extra = {}
    if method.divergence == "exact":
        extra["divergence"] = (log_prob[:, None] - data["anchors"]) ** 2
    evaluation = evaluate(
        method,
        log_prob=log_prob,
        behaviour_log_prob=data["behaviour"],
        advantage=data["advantage"],
        anchor_log_probs=data["anchors"][:, : anchors_of(method)],
        **extra,
    )
    return evaluation.penalty.mean() - evaluation.surrogate.mean()


@pytest.mark.parametrize("method", BETA_ZERO, ids=lambda m: m.name)
def test_stiffness_zero_is_ppo_to_the_bit_in_torch(method):
    data = {name: torch.tensor(value) for name, value in batch().items()}

    def run(ours: bool):
        weight = data["weight"].clone().requires_grad_()
        logits = torch.log_softmax(data["observation"] @ weight, -1)
        log_prob = logits.gather(-1, data["action"][:, None])[:, 0]
        if ours:
            loss = gtr_loss(method, log_prob, data)
        else:
            ratio = torch.exp(log_prob - data["behaviour"])
            gain, clipped = ratio, torch.clamp(ratio, 1 - 0.2, 1 + 0.2)
            advantage = data["advantage"]
            loss = -torch.min(gain * advantage, clipped * advantage).mean()
        loss.backward()
        return loss.detach(), weight.grad

    (loss, gradient), (expected_loss, expected_gradient) = run(True), run(False)
    assert torch.equal(loss, expected_loss)
    assert torch.equal(gradient, expected_gradient)
    assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("method", BETA_ZERO, ids=lambda m: m.name)
def test_stiffness_zero_is_ppo_to_the_bit_in_jax(method, jit):
    data = {name: jnp.asarray(value) for name, value in batch().items()}

    def log_prob_of(weight):
        logits = jax.nn.log_softmax(data["observation"] @ weight)
        return jnp.take_along_axis(logits, data["action"][:, None], -1)[:, 0]

    def ours(weight, method):
        return gtr_loss(method, log_prob_of(weight), data)

    def ppo(weight, clip):
        ratio = jnp.exp(log_prob_of(weight) - data["behaviour"])
        clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
        advantage = data["advantage"]
        return -jnp.minimum(ratio * advantage, clipped * advantage).mean()

    transform = jax.jit if jit else lambda f: f
    loss, gradient = transform(jax.value_and_grad(ours))(data["weight"], method)
    expected_loss, expected = transform(jax.value_and_grad(ppo))(data["weight"], 0.2)
    assert np.array_equal(loss, expected_loss)
    assert np.array_equal(gradient, expected)
    assert np.max(np.abs(gradient)) > 1e-3


@pytest.mark.parametrize("method", BETA_ZERO, ids=lambda m: m.name)
def test_stiffness_zero_is_ppo_to_the_bit_in_numpy(method):
    data = batch()
    log_prob = data["behaviour"] + 0.3 * data["anchors"][:, 0]
    ratio = np.exp(log_prob - data["behaviour"])
    advantage = data["advantage"]
    expected = -np.minimum(ratio * advantage, np.clip(ratio, 1 - 0.2, 1 + 0.2) * advantage).mean()
    assert gtr_loss(method, log_prob, data) == expected
    assert gtr_loss(replace(method, penalty=Gaussian(0.4, 0.5)), log_prob, data) != expected


def test_ppo_ewma_around_the_behaviour_policy_is_ppo(library):
    data = {name: library.array(value, "float32") for name, value in batch().items()}
    log_prob = data["behaviour"] + 0.3 * data["anchors"][:, 0]
    data["anchors"] = data["behaviour"][:, None]
    assert gtr_loss(named("ppo-ewma"), log_prob, data) == gtr_loss(named("ppo"), log_prob, data)


# ---------------------------------------------------------------- meaning of the parts


def test_parts_of_the_evaluation_are_what_they_say(library):
    data = {name: library.array(value) for name, value in batch(n=50).items()}
    log_prob = data["behaviour"] + 0.3 * data["anchors"][:, 0]
    method = Method("all", Clip(0.1), Gaussian(0.7, 0.6), Gate(0.9), Recent(3, 2, 0.5))
    evaluation = evaluate(
        method,
        log_prob=log_prob,
        behaviour_log_prob=data["behaviour"],
        advantage=data["advantage"],
        anchor_log_probs=data["anchors"],
        stiffness=0.3,
    )
    weights = np.array([4, 2, 1]) / 7
    p, b, a, k = (
        np.asarray(x) for x in (log_prob, data["behaviour"], data["advantage"], data["anchors"])
    )
    r = np.exp(p - b)
    half = (p[:, None] - k) ** 2 / 2
    kernels = {s: np.exp(-half / s**2) @ weights for s in (0.6, 0.9)}
    clipped = np.minimum(r * a, np.clip(r, 0.9, 1.1) * a)
    for actual, expected in (
        (evaluation.surrogate, clipped * kernels[0.9]),
        (evaluation.penalty, 0.3 * 0.36 * (1 - kernels[0.6])),
        (evaluation.kernel, kernels[0.6]),
        (evaluation.log_ratio, p - b),
        (evaluation.divergences, half),
        (evaluation.anchor_log_ratios, p[:, None] - k),
        (evaluation.clipped, np.abs(r - 1) > 0.1),
    ):
        # JAX computes in single precision here.
        np.testing.assert_allclose(np.asarray(actual), expected, rtol=2e-4, atol=2e-6)


def test_anchor_weights_can_be_given(library):
    data = {name: library.array(value) for name, value in batch(n=20).items()}
    common = {
        "log_prob": data["behaviour"],
        "behaviour_log_prob": data["behaviour"],
        "advantage": data["advantage"],
    }
    only_second = evaluate(
        named("gtr", anchors=3),
        anchor_log_probs=data["anchors"],
        anchor_weights=[0.0, 1.0, 0.0],
        **common,
    )
    alone = evaluate(named("gtr", anchors=1), anchor_log_probs=data["anchors"][:, 1:2], **common)
    np.testing.assert_array_equal(np.asarray(only_second.penalty), np.asarray(alone.penalty))
    assert np.max(np.asarray(alone.penalty)) > 0.01


def test_exact_divergence_is_used_as_it_is_given(library):
    kl = library.array([[0.0], [0.5], [2.0]])
    log_prob = library.array([0.0, -1.0, -2.0])
    evaluation = evaluate(
        named("ppo-kl", stiffness=3.0),
        log_prob=log_prob,
        behaviour_log_prob=log_prob,
        advantage=log_prob,
        divergence=kl,
    )
    np.testing.assert_allclose(np.asarray(evaluation.penalty), [0.0, 1.5, 6.0])


def test_a_penalty_of_ones_own_is_called_as_ours_are(library):
    @dataclass(frozen=True)
    class Linear:
        stiffness: float = 2.0

        def __call__(self, divergences, weights):
            return self.stiffness * divergences[..., 0] * weights[0]

    log_prob = library.array([0.0, -1.0, -2.0])
    evaluation = evaluate(
        Method("own", Clip(0.2), penalty=Linear(), anchor=Behaviour()),
        log_prob=log_prob,
        behaviour_log_prob=library.array([0.0, 0.0, 1.0]),
        advantage=log_prob,
    )
    np.testing.assert_allclose(np.asarray(evaluation.penalty), [0.0, 1.0, 9.0])


def test_an_exact_divergence_counts_within_bounds(library):
    log_prob = library.array([0.0, -1.0, -2.0])
    evaluation = evaluate(
        named("gtr-exact", anchors=1),
        log_prob=log_prob,
        behaviour_log_prob=log_prob,
        advantage=log_prob,
        divergence=library.array([[-math.inf], [-1e-7], [math.inf]]),
    )
    method = named("gtr-exact")
    largest = method.penalty.stiffness * method.penalty.radius**2
    np.testing.assert_allclose(np.asarray(evaluation.penalty), [0.0, 0.0, largest], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(evaluation.kernel), [1.0, 1.0, 0.0])


def parts_of(name, part):
    """A part of the named method's evaluation, with one anchor, which is the behaviour policy."""

    def evaluated(log_prob, behaviour, advantage):
        given = {"log_prob": log_prob, "behaviour_log_prob": behaviour, "advantage": advantage}
        return getattr(evaluate(named(name), **given), part)

    return evaluated


CIM_PENALTY, CIM_SURROGATE = parts_of("cim", "penalty"), parts_of("cim", "surrogate")
GIPO_SURROGATE = parts_of("gipo", "surrogate")


def test_cim_is_the_surrogate_less_the_kernels_fall_on_probabilities(library):
    log_prob, behaviour, advantage = unequal()
    d = np.exp(log_prob) - np.exp(behaviour)
    fall = 1 - np.exp(-(d**2) / 2)
    alpha = 5 / math.sqrt(2 * math.pi)  # of the authors' code; the default has two digits of it
    penalty = library.value(CIM_PENALTY, log_prob, behaviour, advantage)
    np.testing.assert_allclose(penalty, 2 * fall, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(penalty, alpha * fall, rtol=3e-3)
    np.testing.assert_allclose(
        library.value(CIM_SURROGATE, log_prob, behaviour, advantage),
        np.exp(log_prob - behaviour) * advantage,
        rtol=1e-12,
    )


def test_cim_pulls_back_to_the_behaviour_policy(autodiff):
    """The sign that the authors' code turns round: descending the penalty closes the distance."""
    log_prob, behaviour, advantage = unequal()
    pull = autodiff.gradient(CIM_PENALTY, log_prob, behaviour, advantage)
    assert np.all(np.sign(pull) == np.sign(log_prob - behaviour))


def test_gipo_is_the_unclipped_surrogate_under_a_gaussian_of_the_log_ratio(library):
    log_prob, behaviour, advantage = unequal()
    x = log_prob - behaviour
    np.testing.assert_allclose(
        library.value(GIPO_SURROGATE, log_prob, behaviour, advantage),
        np.exp(-(x**2) / (2 * 0.4**2)) * np.exp(x) * advantage,
        rtol=1e-12,
    )


def test_gipo_learns_from_every_sample_and_its_weight_is_a_constant(autodiff):
    log_prob, behaviour, advantage = unequal()
    x = log_prob - behaviour
    slope = autodiff.gradient(GIPO_SURROGATE, log_prob, behaviour, advantage)
    weight = np.exp(-(x**2) / (2 * 0.4**2))
    np.testing.assert_allclose(slope, weight * np.exp(x) * advantage, rtol=1e-12)
    assert np.all(slope != 0)


def test_gtr_behaviour_is_gtr_with_the_whole_weight_on_the_behaviour_policy(library):
    data = {name: library.array(value) for name, value in batch(n=50).items()}
    given = {
        "log_prob": data["behaviour"] + 0.3 * data["anchors"][:, 0],
        "behaviour_log_prob": data["behaviour"],
        "advantage": data["advantage"],
    }
    alone = evaluate(named("gtr-behaviour"), **given)
    one = evaluate(named("gtr", anchors=1), anchor_log_probs=data["behaviour"][:, None], **given)
    for part in ("surrogate", "penalty", "kernel"):
        np.testing.assert_array_equal(np.asarray(getattr(alone, part)), getattr(one, part))


def test_gtr_exact_is_the_gaussian_of_the_kl_that_it_is_given(library):
    kl = np.random.default_rng(2).exponential(0.3, (50, 3))
    data = {name: library.array(value) for name, value in batch(n=50).items()}
    evaluation = evaluate(
        named("gtr-exact", anchors=3),
        log_prob=data["behaviour"],
        behaviour_log_prob=data["behaviour"],
        advantage=data["advantage"],
        divergence=library.array(kl),
    )
    expected = 0.25 * 0.16 * (1 - np.exp(-kl / 0.16) @ (np.array([1, 0.7, 0.49]) / 2.19))
    np.testing.assert_allclose(np.asarray(evaluation.penalty), expected, rtol=1e-4)


def test_a_sweep_over_numbers_is_one_compilation_and_equals_single_calls():
    data = {name: jnp.asarray(value) for name, value in batch(n=64).items()}
    log_prob = data["behaviour"] + 0.3 * data["anchors"][:, 0]
    traces = []

    @jax.jit
    @jax.vmap
    def sweep(stiffness, radius):
        traces.append(1)
        method = named("gtr", stiffness=stiffness, radius=radius, anchors=3)
        return jax.value_and_grad(lambda x: gtr_loss(method, x, data))(log_prob)

    stiffness, radius = (
        jnp.asarray(x).ravel() for x in np.meshgrid([0.0, 0.1, 0.4], [0.1, 0.5, jnp.inf])
    )
    loss, gradient = sweep(stiffness, radius)
    sweep(2 * stiffness, radius)
    assert len(traces) == 1
    for i in range(9):
        method = named("gtr", stiffness=float(stiffness[i]), radius=float(radius[i]), anchors=3)
        one_loss, one_gradient = jax.value_and_grad(lambda x: gtr_loss(method, x, data))(log_prob)  # noqa: B023
        np.testing.assert_allclose(loss[i], one_loss, rtol=1e-5)
        np.testing.assert_allclose(gradient[i], one_gradient, rtol=1e-4, atol=1e-8)
    assert len(np.unique(np.asarray(loss))) == 7  # three of stiffness 0 are the same


def test_torch_vmap_sweeps_over_the_radius():
    def penalty(log_prob, radius):
        half = 0.5 * (log_prob[:, None] - torch.zeros(1)) ** 2
        return Gaussian(0.4, radius)(half, [1.0]).mean()

    log_prob, radii = torch.linspace(-2, 2, 9), torch.tensor([0.1, 0.5, 2.0])
    swept = torch.func.vmap(penalty, in_dims=(None, 0))(log_prob, radii)
    expected = torch.stack([penalty(log_prob, float(radius)) for radius in radii])
    torch.testing.assert_close(swept, expected)


def test_the_mathematics_imports_neither_jax_nor_torch():
    """At the top of its modules; the package around it may import them."""
    modules = list(Path(gtr.objective.__file__).parent.glob("*.py"))
    imported = set()
    for statement in itertools.chain(*(ast.parse(m.read_text()).body for m in modules)):
        if isinstance(statement, ast.Import):
            imported |= {name.name for name in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            imported.add(statement.module)
    foreign = {name for name in imported if not name.startswith("gtr.objective")}
    allowed = {"array_api_compat", "gtr.errors", "numpy"}
    assert "array_api_compat" in foreign
    assert foreign - sys.stdlib_module_names - {"collections.abc"} <= allowed


# ---------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (Method("m", Clip(0.0)), ["clip is 0.0", "greater than 0"]),
        (Method("m", SPO(math.nan)), ["clip is nan"]),
        (Method("m", DecoupledClip(-1), anchor=Average()), ["clip is -1"]),
        (Method("m", Clip(True)), ["clip is True"]),
        (Method("m", Clip("0.2")), ["clip is '0.2'"]),
        (Method("m", Clip(), Gaussian(stiffness=-0.1), anchor=Initial()), ["stiffness is -0.1"]),
        (Method("m", Clip(), Quadratic(math.inf), anchor=Initial()), ["stiffness is inf"]),
        (Method("m", Clip(), Bump(math.nan), anchor=Initial()), ["stiffness is nan"]),
        (Method("m", Clip(), Gaussian(radius=0), anchor=Initial()), ["radius is 0", "greater"]),
        (Method("m", Clip(), Bump(radius=-2.0), anchor=Initial()), ["radius is -2.0"]),
        (Method("m", Clip(), gate=Gate(math.nan), anchor=Initial()), ["radius is nan"]),
        (Method("m", Clip(), Gaussian(), anchor=Recent(count=0)), ["count is 0", "1 or more"]),
        (Method("m", Clip(), Gaussian(), anchor=Recent(every=0)), ["every is 0"]),
        (Method("m", Clip(), Gaussian(), anchor=Recent(every=1.5)), ["every is 1.5", "whole"]),
        (Method("m", Clip(), Gaussian(), anchor=Stale(every=-1)), ["every is -1"]),
        (Method("m", Clip(), Gaussian(), anchor=Recent(decay=0.0)), ["decay is 0.0"]),
        (Method("m", Clip(), Gaussian(), anchor=Recent(decay=1.01)), ["decay is 1.01"]),
        (Method("m", Clip(), Gaussian(), anchor=Average(decay=math.nan)), ["decay is nan"]),
        (Method("m", Clip(), Gaussian()), ["penalty but no anchor", "add anchor="]),
        (Method("m", Clip(), gate=Gate()), ["gate but no anchor", "add anchor="]),
        (Method("m", DecoupledClip()), ["DecoupledClip", "add anchor="]),
        (Method("m", Clip(), Quadratic(), anchor=Behaviour(), target_kl=0.0), ["target_kl is 0.0"]),
        (Method("m", Clip(), target_kl=0.01), ["target_kl but no penalty"]),
        (Method("m", Clip(), divergence="KL"), ["divergence is 'KL'", '"probability" or "exact"']),  # pyright: ignore
    ],
)
def test_a_mistake_is_one_line_that_says_how_to_mend_it(method, words):
    with pytest.raises(GTRError) as caught:
        validate(method)
    message = str(caught.value)
    assert "\n" not in message
    assert "'m'" in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("name", "arrays", "words"),
    [
        ("gtr", {}, "give anchor_log_probs"),
        ("gtr", {"anchor_log_probs": np.zeros((5, 7))}, r"shape \(5, 7\); give \(5, 8\)"),
        ("gtr", {"divergence": np.zeros((5, 8))}, "leave divergence out"),
        ("ppo-kl", {}, "give divergence"),
        ("ppo-kl", {"divergence": np.zeros(5)}, r"shape \(5,\); give \(5, 1\)"),
        ("ppo-ewma", {}, "give anchor_log_probs"),
    ],
)
def test_a_missing_or_misshapen_array_is_refused(name, arrays, words):
    zeros = np.zeros(5)
    with pytest.raises(GTRError, match=words):
        evaluate(named(name), log_prob=zeros, behaviour_log_prob=zeros, advantage=zeros, **arrays)


def test_good_methods_are_not_refused():
    for method in METHODS:
        validate(method)
    validate(Method("m", Clip(5), Gaussian(0, math.inf), anchor=Recent(1, 1, 1)))
