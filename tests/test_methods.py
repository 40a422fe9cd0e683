"""The table of methods, their numbers by flat names, and methods as pytrees."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr.errors import GTRError
from gtr.methods import describe, method, names, numbers
from gtr.objective import (
    SPO,
    Average,
    Behaviour,
    Bump,
    Clip,
    DecoupledClip,
    Gate,
    Gaussian,
    Method,
    Quadratic,
    Recent,
    Stale,
    Unclipped,
)

GTR = Method("gtr", Clip(0.2), Gaussian(0.25, 0.4), anchor=Recent(8, 2, 0.7), relative=True)

TABLE = {
    "ppo": Method("ppo", Clip(0.2)),
    "ppo-kl": Method(
        "ppo-kl",
        Unclipped(),
        Quadratic(1.0),
        anchor=Behaviour(),
        divergence="exact",
        target_kl=0.01,
    ),
    "ppo-ewma": Method("ppo-ewma", DecoupledClip(0.2), Quadratic(0.0), anchor=Average(0.889)),
    "spo": Method("spo", SPO(0.2)),
    "cim": Method(
        "cim", Unclipped(), Gaussian(2.0, 1.0), anchor=Behaviour(), divergence="probability"
    ),
    "gipo": Method("gipo", Unclipped(), gate=Gate(0.4), anchor=Behaviour()),
    "gtr": GTR,
    "gtr-bump": replace(GTR, name="gtr-bump", penalty=Bump(0.25, 0.4)),
    "gtr-gate": Method("gtr-gate", Clip(0.2), gate=Gate(0.4), anchor=Recent(8, 2, 0.7)),
    "gtr-one-anchor": replace(GTR, name="gtr-one-anchor", anchor=Stale(4)),
    "gtr-behaviour": replace(GTR, name="gtr-behaviour", anchor=Behaviour()),
    "gtr-exact": replace(GTR, name="gtr-exact", divergence="exact"),
    "gtr-monotone": replace(GTR, name="gtr-monotone", penalty=Quadratic(0.25)),
    "gtr-absolute": replace(GTR, name="gtr-absolute", relative=False),
}


def test_the_table_is_as_documented():
    assert {name: method(name) for name in names()} == TABLE


@pytest.mark.parametrize("name", TABLE)
def test_numbers_go_round(name):
    assert method(name, **numbers(TABLE[name])) == TABLE[name]


def test_numbers_are_replaced_by_flat_names():
    changed = method("gtr", stiffness=0.2, radius=1, clip=0.1, anchors=4, every=3, decay=0.9)
    assert changed == replace(
        GTR, surrogate=Clip(0.1), penalty=Gaussian(0.2, 1.0), anchor=Recent(4, 3, 0.9)
    )
    assert isinstance(changed.penalty, Gaussian)
    assert isinstance(changed.penalty.radius, float)
    assert method("gtr") == TABLE["gtr"]
    assert method("ppo-kl", target_kl=0.02).target_kl == 0.02


def test_two_radii_have_two_names():
    both = Method("both", Clip(), Gaussian(radius=0.3), Gate(0.7), Recent())
    assert numbers(both)["radius"] == 0.3
    assert numbers(both)["gate_radius"] == 0.7


@pytest.mark.parametrize("name", TABLE)
def test_every_description_is_one_line_with_a_source(name):
    line = describe(name)
    assert "\n" not in line
    assert "arXiv:" in line
    assert "the paper" not in line
    if name.startswith("gtr"):
        assert "our reading" in line


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("gtr-gaet", {}, ["no method 'gtr-gaet'", "did you mean 'gtr-gate'?", "ppo-ewma"]),
        ("zzz", {}, ["no method 'zzz'", "gtr-monotone"]),
        ("gtr", {"stifness": 1.0}, ["no number 'stifness'", "'stiffness'?", "radius"]),
        ("ppo", {"radius": 1.0}, ["no number 'radius'", "it has clip"]),
        ("gtr", {"radius": -1.0}, ["radius is -1.0"]),
        ("gtr", {"anchors": 2.5}, ["count is 2.5", "whole"]),
    ],
)
def test_a_mistake_is_one_line_that_says_how_to_mend_it(name, changes, words):
    with pytest.raises(GTRError) as caught:
        method(name, **changes)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize("name", TABLE)
def test_numbers_are_leaves_and_the_rest_is_structure(name):
    found = TABLE[name]
    leaves, structure = jax.tree.flatten(found)
    moving = {key: x for key, x in numbers(found).items() if key not in ("anchors", "every")}
    assert sorted(leaves) == sorted(moving.values())
    assert jax.tree.unflatten(structure, leaves) == found
    assert jax.tree.structure(method(name)) == structure
    if isinstance(found.anchor, Recent):
        assert jax.tree.structure(method(name, anchors=4)) != structure


def test_a_method_of_arrays_passes_through_jit_and_vmap():
    swept = method("gtr", stiffness=jnp.array([0.1, 0.2]), radius=jnp.array([0.5, 1.0]))
    axes = jax.tree.map(lambda leaf: 0 if hasattr(leaf, "shape") else None, swept)
    pulls = jax.jit(jax.vmap(lambda m: m.penalty.strongest_pull, in_axes=(axes,)))(swept)
    np.testing.assert_allclose(pulls, np.exp(-0.5) * np.array([0.05, 0.2]), rtol=1e-6)
