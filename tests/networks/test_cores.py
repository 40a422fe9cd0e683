"""Networks with a memory: their values against other implementations, and over time."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import lax

from gtr.environments.protocol import Box
from gtr.errors import GTRError
from gtr.learner.config import LearnerConfig, check
from gtr.networks.agent import build_agent
from gtr.networks.architectures import (
    CNN,
    GRU,
    LSTM,
    MLP,
    NatureCNN,
    Transformer,
    as_json,
    from_json,
    with_layer_norm,
)
from gtr.networks.cores import Cell, GRUCore, LSTMCore, forget
from gtr.networks.distributions import distribution_for
from gtr.networks.network import Segment, build
from gtr.networks.transformer import TransformerCore, shifted, sinusoids

STEPS, COPIES, INPUTS, WIDTH = 7, 3, 5, 4
ARCHITECTURES = {
    "gru": GRU(8, MLP((6,))),
    "lstm": LSTM(8, MLP((6,))),
    # the window is shorter than the stretch, and than some of the episodes
    "transformer": Transformer(8, layers=2, heads=2, window=3, body=MLP((6,))),
}
each_architecture = pytest.mark.parametrize("name", ARCHITECTURES)


def some(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def against_torch(ours, theirs, memory, torch_memory, weights):
    """Compares outputs, last memory, and the gradient of a sum over them by all `weights`."""
    x, pull = some(STEPS, COPIES, INPUTS), some(STEPS, COPIES, WIDTH, seed=1)
    never = jnp.zeros((STEPS, COPIES), bool)

    def loss(core, x):
        return (core.read(memory, x, never)[1] * pull).sum()

    by_core, by_x = jax.grad(loss, (0, 1))(ours, jnp.asarray(x))
    last, outputs = ours.read(memory, jnp.asarray(x), never)

    given = torch.tensor(x, requires_grad=True)
    told, torch_last = theirs(given, torch_memory)
    (told * torch.tensor(pull)).sum().backward()
    np.testing.assert_allclose(outputs, told.detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(by_x, given.grad, rtol=1e-4, atol=1e-5)
    for a, b in zip(jax.tree.leaves(last), jax.tree.leaves(torch_last), strict=True):
        np.testing.assert_allclose(a, b[0].detach(), rtol=1e-5, atol=1e-6)
    for gradient, parameter, part in weights(by_core):
        np.testing.assert_allclose(gradient, parameter.grad.numpy().T[part], rtol=1e-4, atol=1e-5)


def same_weights(core, theirs, second_bias):
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(torch.tensor(core.input.T))
        theirs.weight_hh_l0.copy_(torch.tensor(core.recurrent.T))
        theirs.bias_ih_l0.copy_(torch.tensor(core.bias))
        theirs.bias_hh_l0.copy_(torch.tensor(second_bias))


def test_the_gru_is_pytorchs():
    core = GRUCore(np.random.default_rng(0), INPUTS, WIDTH)
    core = jax.tree.map(lambda x: x + 0.1 * some(*x.shape), core)
    theirs = torch.nn.GRU(INPUTS, WIDTH)
    same_weights(core, theirs, np.concatenate([np.zeros(2 * WIDTH), core.candidate_bias]))
    h = some(COPIES, WIDTH, seed=2)
    against_torch(
        core,
        theirs,
        h,
        torch.tensor(h)[None],
        lambda by: [
            (by.input, theirs.weight_ih_l0, ...),
            (by.recurrent, theirs.weight_hh_l0, ...),
            (by.bias, theirs.bias_ih_l0, ...),
            (by.candidate_bias, theirs.bias_hh_l0, slice(2 * WIDTH, None)),
        ],
    )


def test_the_lstm_is_pytorchs():
    core = LSTMCore(np.random.default_rng(0), INPUTS, WIDTH)
    assert core.bias.tolist() == [0] * WIDTH + [1] * WIDTH + [0] * 2 * WIDTH
    core = jax.tree.map(lambda x: x + 0.1 * some(*x.shape), core)
    theirs = torch.nn.LSTM(INPUTS, WIDTH)
    same_weights(core, theirs, np.zeros(4 * WIDTH))
    memory = Cell(some(COPIES, WIDTH, seed=2), some(COPIES, WIDTH, seed=3))
    against_torch(
        core,
        theirs,
        memory,
        tuple(torch.tensor(x)[None] for x in memory),
        lambda by: [
            (by.input, theirs.weight_ih_l0, ...),
            (by.recurrent, theirs.weight_hh_l0, ...),
            (by.bias, theirs.bias_ih_l0, ...),
        ],
    )


def test_gates_begin_orthogonal():
    core = GRUCore(np.random.default_rng(0), WIDTH, WIDTH)
    for matrix in (core.input, core.recurrent):
        for gate in np.split(np.asarray(matrix, np.float64), 3, 1):
            np.testing.assert_allclose(gate.T @ gate, np.eye(WIDTH), atol=1e-6)


def norm(x, one):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * one.scale + one.offset


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gated(gate, x, y):
    r, z, n = np.split(y @ gate.of_y.weight + gate.of_y.bias, 3)
    of_r, of_z = np.split(x @ gate.of_x, 2)
    r, z = sigmoid(r + of_r), sigmoid(z + of_z)
    return (1 - z) * x + z * np.tanh(n + (r * x) @ gate.of_reset)


def attention_by_hand(core, xs):
    """What the last of some steps of one episode gives, in double precision, step by step."""
    core = jax.tree.map(lambda x: np.asarray(x, np.float64), core)
    rows = [x @ core.embedding.weight + core.embedding.bias for x in np.asarray(xs, np.float64)]
    width = len(rows[0])
    for layer in core.layers:
        look, after = layer.attention, []
        for i, x in enumerate(rows):
            query = norm(x, layer.first_norm) @ look.query.weight + look.query.bias
            told = []
            for head in np.split(np.arange(width), look.heads):
                scores, values = [], []
                for j in range(max(0, i - core.window), i + 1):
                    seen = norm(rows[j], layer.first_norm)
                    key, value = np.split(seen @ look.key_value.weight + look.key_value.bias, 2)
                    angles = (i - j) * 10_000.0 ** (-np.arange(width // 2) / (width // 2))
                    place = np.concatenate([np.sin(angles), np.cos(angles)]) @ look.position
                    scores.append(query[head] @ (key + place)[head] / np.sqrt(len(head)))
                    values.append(value[head])
                weights = np.exp(scores) / np.exp(scores).sum()
                told.append(weights @ np.array(values))
            told = np.concatenate(told) @ look.output.weight + look.output.bias
            x = gated(layer.first_gate, x, np.maximum(told, 0))
            wide = norm(x, layer.second_norm) @ layer.wide.weight + layer.wide.bias
            told = np.maximum(wide, 0) @ layer.narrow.weight + layer.narrow.bias
            after.append(gated(layer.second_gate, x, np.maximum(told, 0)))
        rows = after
    return rows[-1]


def test_the_transformer_is_its_formulas_step_by_step():
    core = TransformerCore(np.random.default_rng(0), INPUTS, WIDTH, layers=2, heads=2, window=3)
    core = jax.tree.map(lambda x: x + 0.1 * some(*x.shape), core)
    x = some(STEPS, 1, INPUTS)
    begins = np.zeros((STEPS, 1), bool)
    begins[2] = True
    _, outputs = jax.jit(lambda core: core.read(core.memory(1), jnp.asarray(x), begins))(core)
    for step in range(STEPS):
        first = 2 if step >= 2 else 0
        expected = attention_by_hand(core, x[first : step + 1, 0])
        np.testing.assert_allclose(outputs[step, 0], expected, rtol=1e-4, atol=1e-5)


def test_scores_by_distance_are_moved_to_their_steps():
    scores = some(2, 3, 5, 4)
    moved = np.asarray(shifted(jnp.asarray(scores)))
    expected = np.zeros((2, 3, 5, 3 + 5), np.float32)
    for i in range(5):
        expected[..., i, i : i + 4] = scores[..., i, :]
    np.testing.assert_array_equal(moved, expected)


def test_the_last_place_is_the_present():
    assert sinusoids(3, 4).shape == (4, 4)
    np.testing.assert_array_equal(sinusoids(3, 4)[-1], [0, 0, 1, 1])


def network(name):
    built = build(np.random.default_rng(0), ARCHITECTURES[name], (INPUTS,), 2, head_scale=1.0)
    return jax.tree.map(jnp.asarray, built)


def stretch(built, seed=0):
    """Observations with beginnings among them, after a memory of something."""
    observation = jnp.asarray(some(STEPS, COPIES, INPUTS, seed=seed))
    begins = np.zeros((STEPS, COPIES), bool)
    begins[0, 0] = begins[2, 1] = begins[3, 1] = begins[STEPS - 1, 2] = True
    memory = jax.tree.map(jnp.asarray, built.memory(COPIES))
    earlier = Segment(
        jnp.asarray(some(2, COPIES, INPUTS, seed=9)), jnp.zeros((2, COPIES), bool), memory
    )
    memory, _ = stepped(built, earlier)
    return Segment(observation, jnp.asarray(begins), memory)


@jax.jit
def read(built, segment):
    return built.read(segment)


@jax.jit
def stepped(built, segment):
    def step(memory, given):
        observation, begins = given
        return built.step(forget(memory, begins), observation)

    return lax.scan(step, segment.memory, (segment.observation, segment.begins))


def assert_close(a, b, rtol=1e-4, atol=1e-5):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


@each_architecture
def test_a_stretch_read_at_once_is_stepping_through_it(name):
    built = network(name)
    segment = stretch(built)
    assert_close(read(built, segment), stepped(built, segment))
    # the same as rows
    np.testing.assert_allclose(
        jax.jit(lambda *given: given[0](given[1]))(built, segment),
        stepped(built, segment)[1].reshape(-1, 2),
        rtol=1e-4,
        atol=1e-5,
    )


@each_architecture
def test_the_gradient_of_a_stretch_is_that_of_its_steps(name):
    built = network(name)
    segment, pull = stretch(built), some(STEPS, COPIES, 2, seed=3)

    def loss(way):
        return lambda built: (way(built, segment)[1] * pull).sum()

    at_once = jax.jit(jax.grad(loss(read)))(built)
    by_steps = jax.jit(jax.grad(loss(stepped)))(built)
    assert_close(at_once, by_steps, rtol=1e-3, atol=1e-4)


@each_architecture
def test_nothing_is_left_of_an_episode_that_is_over(name):
    built = network(name)
    segment = stretch(built)
    _, whole = read(built, segment)
    fresh = built.memory(COPIES)
    _, alone = read(built, Segment(segment.observation[3:], segment.begins[3:], fresh))
    np.testing.assert_allclose(whole[3:, 1], alone[:, 1], rtol=1e-4, atol=1e-5)
    assert np.abs(whole[3:, 2] - alone[:, 2]).max() > 1e-3
    # rows without a time are first steps
    rows = jax.jit(lambda built, x: built(x))(built, segment.observation[3])
    np.testing.assert_allclose(rows, alone[0], rtol=1e-4, atol=1e-5)


@each_architecture
def test_another_observation_is_looked_at_aside_with_the_memory_of_the_moment(name):
    built = network(name)
    segment, other = stretch(built), jnp.asarray(some(STEPS, COPIES, INPUTS, seed=5))

    @jax.jit
    def by_steps(built, segment, other):
        def step(memory, given):
            observation, begins, aside = given
            memory, _ = built.step(forget(memory, begins), observation)
            return memory, built.step(memory, aside)[1]

        return lax.scan(step, segment.memory, (segment.observation, segment.begins, other))[1]

    np.testing.assert_allclose(
        jax.jit(lambda *given: given[0].aside(*given[1:]))(built, segment, other),
        by_steps(built, segment, other),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "body", [CNN((4,), (8,)), NatureCNN((2, 2, 2), (8,))], ids=["cnn", "nature"]
)
def test_convolutions_come_before_the_memory(body):
    shape = (6, 6, 2) if isinstance(body, CNN) else (36, 36, 2)
    built = build(np.random.default_rng(0), GRU(8, body), shape, 2, head_scale=1.0)
    pixels = jnp.asarray(np.random.default_rng(1).integers(0, 255, (3, 2, *shape)), jnp.uint8)
    segment = Segment(pixels, jnp.zeros((3, 2), bool), built.memory(2))
    assert_close(read(built, segment), stepped(built, segment))


def test_the_free_parameters_of_a_density_are_the_same_in_each_step():
    distribution = distribution_for(Box((2,), -1.0, 1.0), squash=False)
    actor, _ = build_agent(np.random.default_rng(0), GRU(8), (INPUTS,), distribution)
    segment = stretch(actor.network)
    _, read = actor.read(segment)
    assert read.shape == (STEPS, COPIES, distribution.outputs + distribution.free)
    np.testing.assert_array_equal(read.reshape(-1, read.shape[-1]), actor(segment))


def test_a_network_without_a_core_has_no_memory():
    built = build(np.random.default_rng(0), MLP((6,)), (INPUTS,), 2, head_scale=1.0)
    observation = jnp.asarray(some(STEPS, COPIES, INPUTS))
    assert built.memory(COPIES) is None
    memory, outputs = built.read(Segment(observation, jnp.zeros((STEPS, COPIES), bool), None))
    assert memory is None
    for row, one in zip(outputs, observation, strict=True):
        assert built.step(None, one)[0] is None
        np.testing.assert_allclose(row, built.step(None, one)[1], rtol=1e-5, atol=1e-6)


def test_a_configuration_says_what_the_body_is():
    assert as_json(MLP((8,), "relu")) == {
        "MLP": {"widths": (8,), "activation": "relu", "layer_norm": False}
    }
    assert as_json(GRU(4, CNN((3,))))["GRU"]["body"] == as_json(CNN((3,)))
    assert with_layer_norm(GRU(4, MLP((8,)))) == GRU(4, MLP((8,), layer_norm=True))
    assert with_layer_norm(MLP((8,))) == MLP((8,), layer_norm=True)


WRONG = {
    "learns from whole copies of the environment, and 6 environments do not divide into 4": (
        {"environments": 6, "rollout_length": 8, "minibatches": 4, "network": GRU()}
    ),
    "width of the LSTM is 0; give a whole number, 1 or more": {"network": LSTM(0)},
    "window of the Transformer is 0": {"network": Transformer(window=0)},
    "width 6 does not divide into 4 heads": {"network": Transformer(6)},
}


@pytest.mark.parametrize("told", WRONG)
def test_a_network_that_cannot_be_is_refused(told):
    with pytest.raises(GTRError, match=told):
        check(LearnerConfig(**WRONG[told]))


@pytest.mark.parametrize(
    "network", [CNN((3,)), GRU(4, CNN((3,))), Transformer(8, 1, 2, 5)], ids=repr
)
def test_a_network_is_read_back_from_its_configuration(network):
    assert from_json(json.loads(json.dumps(as_json(network)))) == network


@pytest.mark.parametrize("bad", [{"Oracle": {}}, {"GRU": {"depth": 3, "body": {"MLP": {}}}}, {}])
def test_a_configuration_of_no_known_network_is_refused(bad):
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_json(bad)
