"""The networks for pixels, against PyTorch with the same weights."""

import equinox as eqx
import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtr.errors import GTRError
from gtr.networks.architectures import CNN, NatureCNN, ResNet
from gtr.networks.layers import Conv, Section, max_pool
from gtr.networks.network import build
from gtr.networks.torsos import Strided

F = torch.nn.functional


def drawn(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def images(*shape: int) -> np.ndarray:
    return drawn(1).standard_normal(shape, np.float32)


def torch_conv(x, weight, bias, stride, padding):
    return F.conv2d(x, weight.permute(3, 2, 0, 1), bias, stride=stride, padding=padding)


def gradients(function, *given):
    """Of a weighted sum of a JAX function's outputs, with respect to everything given."""

    def scalar(given):
        y = function(*given)
        weights = np.random.default_rng(2).standard_normal(y.shape).astype(np.float32)
        return (y * weights).sum()

    return jax.grad(scalar)(given)


def torch_gradients(function, *given):
    leaves = [torch.tensor(np.asarray(x), requires_grad=True) for x in given]
    y = function(*leaves)
    weights = np.random.default_rng(2).standard_normal(tuple(y.shape)).astype(np.float32)
    (y * torch.tensor(weights)).sum().backward()
    return y.detach().numpy(), [leaf.grad.numpy() for leaf in leaves]


@given(
    size=st.integers(1, 5),
    stride=st.integers(1, 4),
    extra=st.integers(0, 6),
    padding=st.integers(0, 2),
    count=st.integers(1, 8),
)
@settings(max_examples=12, deadline=None)
def test_a_convolution_is_pytorchs(size, stride, extra, padding, count):
    conv = Conv(drawn(), 3, 4, size=size, stride=stride, padding=padding, scale=1.0)
    x = images(count, size + extra, size + extra + 1, 3)

    def ours(x, weight):
        return eqx.tree_at(lambda one: one.weight, conv, weight)(x)

    def theirs(x, weight):
        bias = torch.zeros(4)
        y = torch_conv(x.permute(0, 3, 1, 2), weight, bias, stride, padding)
        return y.permute(0, 2, 3, 1)

    values, slopes = torch_gradients(theirs, x, conv.weight)
    np.testing.assert_allclose(ours(x, conv.weight), values, atol=1e-4)
    for mine, true in zip(gradients(ours, x, conv.weight), slopes, strict=True):
        np.testing.assert_allclose(mine, true, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("side", [7, 8])
def test_a_section_is_impalas(side):
    section = Section(drawn(), 2, 3, scale=1.4)

    def conv(x, layer):
        weight = torch.tensor(np.asarray(layer.weight))
        return torch_conv(x, weight, torch.tensor(np.asarray(layer.bias)), 1, 1)

    def theirs(x):
        y = conv(x.permute(0, 3, 1, 2), section.convolution)
        # TensorFlow's SAME: of an even length, one pixel after it and none before
        before = [length % 2 for length in y.shape[2:]]
        y = F.pad(y, (before[1], 1, before[0], 1), value=-torch.inf)
        y = F.max_pool2d(y, 3, stride=2)
        for block in section.blocks:
            y = y + conv(F.relu(conv(F.relu(y), block.first)), block.second)
        return y.permute(0, 2, 3, 1)

    def ours(x):
        return section(x, jax.nn.relu)

    x = images(2, side, side + 3, 2)
    values, slopes = torch_gradients(theirs, x)
    np.testing.assert_allclose(ours(x), values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradients(ours, x)[0], slopes[0], rtol=1e-3, atol=1e-3)


def test_the_nature_network_is_pytorchs():
    network = build(drawn(), NatureCNN((4, 6, 5), (16,)), (40, 44, 3), 2, head_scale=1.0)
    pixels = drawn(3).integers(0, 256, (3, 40, 44, 3)).astype(np.uint8)
    y = torch.tensor(pixels).permute(0, 3, 1, 2) / 255
    assert isinstance(network.torso, Strided)
    for conv, stride in zip(network.torso.convolutions, (4, 2, 1), strict=True):
        weight, bias = (torch.tensor(np.asarray(x)) for x in (conv.weight, conv.bias))
        y = F.relu(torch_conv(y, weight, bias, stride, 0))
    y = y.permute(0, 2, 3, 1).flatten(1)
    for layer in (*network.hidden, network.head):
        y = y @ torch.tensor(np.asarray(layer.weight)) + torch.tensor(np.asarray(layer.bias))
        y = y if layer is network.head else F.relu(y)
    np.testing.assert_allclose(network(pixels), y.numpy(), rtol=1e-4, atol=1e-5)
    # numbers that are no bytes are seen as they are
    np.testing.assert_array_equal(network(pixels.astype(np.float32) / 255), network(pixels))


def test_the_published_sizes():
    nature = build(drawn(), NatureCNN(), (84, 84, 4), 6, head_scale=0.01)
    assert isinstance(nature.torso, Strided)
    sizes = [conv.weight.shape for conv in nature.torso.convolutions]
    assert sizes == [(8, 8, 4, 32), (4, 4, 32, 64), (3, 3, 64, 64)]
    assert nature.hidden[0].weight.shape == (3136, 512)
    assert sum(x.size for x in jax.tree.leaves(nature)) == 1_687_206
    impala = build(drawn(), ResNet(), (84, 84, 4), 6, head_scale=0.01)
    assert impala.hidden[0].weight.shape == (11 * 11 * 32, 256)


@pytest.mark.parametrize("architecture", [NatureCNN((4, 4, 4), (8,)), ResNet((2, 3), (8,))])
def test_hidden_weights_are_orthogonal_with_gain_sqrt_2(architecture):
    network = build(drawn(), architecture, (40, 40, 2), 2, head_scale=0.5)
    for leaf in jax.tree.leaves((network.torso, network.hidden)):
        if leaf.ndim > 1:
            rows = np.asarray(leaf, np.float64).reshape(-1, leaf.shape[-1])
            tall = rows if rows.shape[0] >= rows.shape[1] else rows.T
            np.testing.assert_allclose(tall.T @ tall, 2 * np.eye(tall.shape[1]), atol=1e-5)


def test_of_equal_pixels_the_first_has_the_gradient():
    slope = jax.grad(lambda x: max_pool(x).sum())(np.zeros((1, 3, 3, 1), np.float32))[0, :, :, 0]
    np.testing.assert_array_equal(slope, [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


def test_a_nature_network_of_two_convolutions_is_refused():
    with pytest.raises(GTRError, match=r"\(8, 8\); give three"):
        build(drawn(), NatureCNN((8, 8)), (84, 84, 4), 2, head_scale=1.0)  # pyright: ignore


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        (NatureCNN(), (35, 84, 4)),
        (NatureCNN(), (84,)),
        (ResNet(), (8, 8)),
        (CNN((4, 4)), (4, 9, 1)),
    ],
)
def test_observations_that_do_not_fit_are_refused_in_a_line(architecture, shape):
    with pytest.raises(GTRError, match=r"does not fit observations of shape \(.*use an MLP") as it:
        build(drawn(), architecture, shape, 2, head_scale=1.0)
    assert "\n" not in str(it.value)
