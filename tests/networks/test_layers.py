from dataclasses import replace
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.test_util import check_grads

from gtr.errors import GTRError
from gtr.networks.architectures import CNN, MLP
from gtr.networks.layers import ACTIVATIONS, Conv3x3, Dense, LayerNorm, affine
from gtr.networks.network import build


def plain(x, weight, bias):
    return x @ weight + bias


@cache
def gradients(function):
    """Of a scalar that weighs every output differently, with respect to all three arguments."""

    def scalar(x, weight, bias, cotangent):
        return jnp.sum(function(x, weight, bias) * cotangent)

    return jax.jit(jax.grad(scalar, (0, 1, 2)))


# 256 x 7 x 5 and more: sizes of real minibatches, where a faster order of summing may differ.
SHAPES = [(1, 1, 1), (3, 4, 2), (5, 1, 6), (128, 3, 1), (256, 7, 5), (257, 7, 5), (1024, 18, 64)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_affine_and_its_gradient_are_autodiffs(shape):
    rows, inputs, outputs = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, inputs), np.float32)
    weight = rng.standard_normal((inputs, outputs), np.float32)
    bias = rng.standard_normal(outputs, np.float32)
    cotangent = rng.standard_normal((rows, outputs), np.float32)
    np.testing.assert_allclose(
        affine(x, weight, bias), plain(x, weight, bias), rtol=1e-5, atol=1e-5
    )
    wide = [a.astype(np.float64) for a in (x, weight, bias, cotangent)]
    exact = (wide[3] @ wide[1].T, wide[0].T @ wide[3], wide[3].sum(0))
    own = gradients(affine)(x, weight, bias, cotangent)
    for mine, autodiffs, true in zip(
        own, gradients(plain)(x, weight, bias, cotangent), exact, strict=True
    ):
        assert mine.shape == true.shape
        scale = np.sqrt(rows) * 1e-5
        np.testing.assert_allclose(mine, autodiffs, rtol=1e-4, atol=scale)
        np.testing.assert_allclose(mine, true, rtol=1e-4, atol=scale)


def test_affine_gradient_is_that_of_finite_differences():
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        arguments = (
            jnp.asarray(rng.standard_normal((6, 3))),
            jnp.asarray(rng.standard_normal((3, 4))),
            jnp.asarray(rng.standard_normal(4)),
        )
        check_grads(affine, arguments, order=1, modes=["rev"], rtol=1e-6, atol=1e-6)


def test_affine_gradient_is_right_when_vmapped():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 16, 4), np.float32)
    weight = rng.standard_normal((3, 4, 5), np.float32)
    bias = rng.standard_normal((3, 5), np.float32)
    cotangent = rng.standard_normal((3, 16, 5), np.float32)
    own = jax.vmap(gradients(affine))(x, weight, bias, cotangent)
    autodiffs = jax.vmap(gradients(plain))(x, weight, bias, cotangent)
    for mine, theirs in zip(own, autodiffs, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def reference_convolution(x, dense):
    channels = x.shape[-1]
    kernel = dense.weight.reshape(3, 3, channels, -1)
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=numbers) + (
        dense.bias
    )


@pytest.mark.parametrize("shape", [(1, 3, 3, 1), (2, 10, 10, 4), (3, 5, 7, 2)], ids=str)
def test_convolution_and_its_gradients_are_xlas(shape):
    rng = np.random.default_rng(3)
    layer = Conv3x3(rng, shape[-1], 6, scale=1.0)
    dense = jax.tree.map(lambda p: rng.standard_normal(p.shape, np.float32), layer.dense)
    x = rng.standard_normal(shape, np.float32)
    layer = jax.tree.unflatten(jax.tree.structure(layer), jax.tree.leaves(dense))
    out = layer(x)
    assert out.shape == (shape[0], shape[1] - 2, shape[2] - 2, 6)
    np.testing.assert_allclose(out, reference_convolution(x, dense), rtol=1e-4, atol=1e-4)
    cotangent = rng.standard_normal(out.shape, np.float32)
    mine = jax.grad(lambda layer, x: jnp.sum(layer(x) * cotangent), (0, 1))(layer, x)
    theirs = jax.grad(
        lambda dense, x: jnp.sum(reference_convolution(x, dense) * cotangent), (0, 1)
    )(dense, x)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("inputs", "outputs"), [(8, 8), (20, 5), (5, 20), (1, 7), (7, 1)])
def test_initial_weights_are_orthogonal_times_the_gain(inputs, outputs):
    layer = Dense(np.random.default_rng(4), inputs, outputs, scale=1.7)
    weight = np.asarray(layer.weight, np.float64)
    gram = weight.T @ weight if inputs >= outputs else weight @ weight.T
    np.testing.assert_allclose(gram, 1.7**2 * np.eye(min(inputs, outputs)), atol=1e-5)
    assert layer.weight.dtype == np.float32
    assert not layer.bias.any()


def test_initial_weights_follow_no_direction():
    # With the sign of R's diagonal left in, QR favours some directions: the mean is not 0.
    draws = [Dense(np.random.default_rng(i), 3, 3, scale=1.0).weight for i in range(2000)]
    # each entry has variance 1/3, so the mean of 2000 has deviation .013
    assert np.abs(np.mean(draws, 0)).max() < 0.06


def normalised(x, norm):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * np.asarray(norm.scale, np.float64) + np.asarray(norm.offset, np.float64)


def some_layer_norm(width, rng):
    """Of any scale and offset, as after a training."""
    return jax.tree.map(
        lambda x: x + rng.standard_normal(x.shape).astype(np.float32), LayerNorm(width)
    )


@pytest.mark.parametrize("shape", [(1, 2), (5, 7), (64, 128)], ids=str)
def test_layer_norm_is_that_of_double_precision(shape):
    rng = np.random.default_rng(9)
    norm = some_layer_norm(shape[1], rng)
    # rows of other means and sizes, one of them without any variance
    x = 3 + rng.standard_normal(shape) * rng.uniform(0.01, 10, (shape[0], 1))
    x[0] = 2.0
    x = x.astype(np.float32)
    np.testing.assert_allclose(
        norm(x), normalised(x.astype(np.float64), norm), rtol=1e-4, atol=1e-4
    )
    fresh = np.asarray(LayerNorm(shape[1])(x[1:]), np.float64)
    np.testing.assert_allclose(fresh.mean(1), 0, atol=1e-5)
    if shape[1] > 2:
        np.testing.assert_allclose(fresh.std(1), 1, rtol=0.1)


def test_layer_norms_gradient_is_that_of_finite_differences():
    rng = np.random.default_rng(10)
    with jax.enable_x64(True):
        norm = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), some_layer_norm(5, rng))
        x = jnp.asarray(rng.standard_normal((4, 5)))
        check_grads(lambda norm, x: norm(x), (norm, x), order=1, modes=["rev"], rtol=1e-6)


@pytest.mark.parametrize("architecture", [MLP((8, 6)), CNN((4,), (6, 5))])
def test_layer_norm_adds_its_numbers_and_leaves_the_others_as_drawn(architecture):
    def named(layer_norm):
        drawn = replace(architecture, layer_norm=layer_norm)
        network = build(np.random.default_rng(11), drawn, (4, 4, 2), 3, head_scale=1.0)
        leaves = jax.tree_util.tree_leaves_with_path(network)
        return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}

    plain, normed = named(False), named(True)
    # what a network without is made of is what it was before there was any
    layers = [f".hidden[{i}]" for i in range(2)] + [".head"]
    layers += [".torso.convolutions[0].dense"] if isinstance(architecture, CNN) else []
    assert set(plain) == {f"{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    added = {f".norms[{i}].{part}" for i in range(2) for part in ("scale", "offset")}
    assert set(normed) == set(plain) | added
    for name, leaf in plain.items():
        np.testing.assert_array_equal(leaf, normed[name])


@pytest.mark.parametrize(
    "architecture",
    [
        MLP((8, 6), "swish"),
        CNN((4, 3), (6,), "relu"),
        MLP((8, 6), "tanh", layer_norm=True),
        CNN((4, 3), (6,), "relu", layer_norm=True),
    ],
)
def test_network_is_its_layers_in_turn(architecture):
    shape = (6, 5, 2)
    network = build(np.random.default_rng(5), architecture, shape, 3, head_scale=0.5)
    rng = np.random.default_rng(12)
    if architecture.layer_norm:
        norms = tuple(some_layer_norm(width, rng) for width in architecture.widths)
        network = eqx.tree_at(lambda network: network.norms, network, norms)
    x = np.random.default_rng(6).standard_normal((4, *shape), np.float32)
    activate = ACTIVATIONS[architecture.activation]
    h = x
    for convolution in getattr(network.torso, "convolutions", ()):
        h = activate(reference_convolution(h, convolution.dense))
    h = np.asarray(h).reshape(4, -1)
    for layer, norm in zip(network.hidden, network.norms, strict=True):
        h = h @ layer.weight + layer.bias
        h = np.asarray(activate(normalised(h, norm) if architecture.layer_norm else h))
    np.testing.assert_allclose(network.features(x), h, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(network(x), h @ network.head.weight, rtol=1e-4, atol=1e-5)
    head = np.asarray(network.head.weight)
    np.testing.assert_allclose(head.T @ head, 0.25 * np.eye(3), atol=1e-5)


def test_network_takes_observations_of_any_dtype():
    network = build(np.random.default_rng(7), MLP((4,)), (3,), 2, head_scale=1.0)
    ints = np.array([[0, 1, 1], [1, 0, 2]])
    for dtype in (np.uint8, np.int32, np.float16):
        np.testing.assert_array_equal(network(ints.astype(dtype)), network(ints.astype(np.float32)))
    np.testing.assert_array_equal(network(ints == 1), network((ints == 1).astype(np.float32)))


@pytest.mark.parametrize("shape", [(4,), (2, 9, 1), (4, 4, 1)])
def test_convolutions_that_do_not_fit_are_refused(shape):
    with pytest.raises(GTRError, match="does not fit observations of shape"):
        build(np.random.default_rng(8), CNN((2, 2)), shape, 2, head_scale=1.0)
