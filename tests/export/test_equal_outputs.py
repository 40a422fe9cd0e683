"""An exported policy acts as the one in JAX, in PyTorch and under ONNX's runtime."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnxruntime
import pytest
import torch

from gtr.environments.protocol import Box, Discrete
from gtr.export import load, save
from gtr.export.files import torch_policy
from gtr.learner.anchors import Policy
from gtr.learner.config import LearnerConfig
from gtr.learner.normalisation import no_moments
from gtr.learner.run import problem_of
from gtr.learner.state import Problem
from gtr.networks.agent import build_agent
from gtr.networks.architectures import (
    CNN,
    GRU,
    LSTM,
    MLP,
    Architecture,
    NatureCNN,
    ResNet,
    Transformer,
)
from tests.learner.problems import small_suite

COPIES = 5
ARM = Box((2, 2), -0.5, 1.5)


@dataclass(frozen=True)
class Shaped:
    """An environment as far as networks see it."""

    observation_shape: tuple[int, ...]
    action_space: Any
    dtype: str = "float32"

    def world(self, key: Any, phase: Any) -> None:
        return None

    def reset(self, key: Any, world: Any) -> tuple[Any, Any]:
        return jax.numpy.int32(0), jax.numpy.zeros(self.observation_shape, self.dtype)


@dataclass(frozen=True)
class Case:
    network: Architecture
    environment: Shaped
    normalised: bool = False
    squashed: bool = False


SCREEN = Shaped((36, 37, 2), Discrete(4), "uint8")
GRID = Shaped((7, 6, 3), Discrete(4), "bool")
VECTOR = Shaped((5,), Discrete(3))
CASES = {
    "mlp": Case(MLP((8, 7)), VECTOR),
    "gaussian": Case(MLP((8,), "relu"), Shaped((2, 3), ARM), normalised=True),
    "squashed": Case(MLP((8,), "swish", layer_norm=True), Shaped((5,), ARM), squashed=True),
    "cnn": Case(CNN((4, 5), (8,), layer_norm=True), GRID),
    "nature": Case(NatureCNN((4, 5, 6), (8,), "swish"), SCREEN),
    "normalised bytes": Case(NatureCNN((4, 5, 6), (8,)), SCREEN, normalised=True),
    "resnet": Case(ResNet((4, 5), (8,)), SCREEN),
    "gru": Case(GRU(6, MLP((8,))), VECTOR, normalised=True),
    "lstm": Case(LSTM(6, CNN((4,), (8,))), Shaped((7, 6, 3), ARM)),
    "transformer": Case(Transformer(8, 2, 2, 3, MLP((8,))), VECTOR),
}


def problem(case: Case) -> Problem:
    config = LearnerConfig(
        network=case.network,
        normalise_observations=case.normalised,
        squash_actions=case.squashed,
    )
    return problem_of(small_suite(case.environment, config))


def policy(case: Case) -> Policy:
    """Of random weights and moments, none of them 0 or 1."""
    one = problem(case)
    rng = np.random.default_rng(0)
    shape = case.environment.observation_shape
    actor, _ = build_agent(rng, case.network, shape, one.distribution)
    moments = no_moments(shape) if case.normalised else None
    blank = Policy(actor, moments)

    def random(x: Any) -> Any:
        return (x + 0.1 * rng.standard_normal(np.shape(x))).astype(np.float32)

    drawn = jax.tree.map(random, blank)
    if drawn.moments is None:
        return drawn
    positive = np.abs(drawn.moments.variance)
    return Policy(drawn.actor, replace(drawn.moments, variance=positive))


def observations(case: Case, steps: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    shape = (COPIES, *case.environment.observation_shape)
    if case.environment.dtype == "float32":
        return [rng.standard_normal(shape).astype(np.float32) for _ in range(steps)]
    most = {"uint8": 256, "bool": 2}[case.environment.dtype]
    return [rng.integers(most, size=shape).astype(case.environment.dtype) for _ in range(steps)]


def answers(case: Case, seen: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Actions and parameters of the policy in JAX, step by step."""
    one, distribution = policy(case), problem(case).distribution
    memory, found = one.memory(COPIES), []
    for observation in seen:
        memory, parameters = one.step(memory, observation)
        action = distribution.to_environment(distribution.mode(parameters))
        found.append((np.asarray(action), np.asarray(parameters)))
    return found


def assert_acts_alike(case: Case, act: Any, memory: tuple[np.ndarray, ...]) -> None:
    """`act` takes an observation and a memory; 8 steps are more than a transformer's window."""
    seen = observations(case, 8)
    for observation, (action, parameters) in zip(seen, answers(case, seen), strict=True):
        found, numbers, *memory = act(observation, *memory)
        assert found.shape == action.shape
        np.testing.assert_allclose(found, action, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(numbers, parameters, rtol=1e-5, atol=1e-5)


def numpy_of(tensors: Any) -> tuple[np.ndarray, ...]:
    return tuple(np.asarray(x) for x in tensors)


def in_torch(module: Any) -> Any:
    return lambda *given: numpy_of(module(*map(torch.from_numpy, given)))


@pytest.mark.parametrize("name", CASES)
def test_in_pytorch(name: str) -> None:
    case = CASES[name]
    module = torch_policy(policy(case), problem(case))
    assert_acts_alike(case, in_torch(module), numpy_of(module.blank(COPIES)[1:]))


# Of these an export takes longest.
SLOW = ("nature", "normalised bytes", "transformer")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in CASES]
)
def test_under_onnx_runtime(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    save(policy(case), problem(case), tmp_path / "policy.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "policy.onnx")
    names = [one.name for one in session.get_inputs()]

    def act(*given: np.ndarray) -> Any:
        return session.run(None, dict(zip(names, given, strict=True)))

    module = torch_policy(policy(case), problem(case))
    assert tuple(names) == module.inputs
    assert tuple(one.name for one in session.get_outputs()) == module.outputs
    assert_acts_alike(case, act, numpy_of(module.blank(COPIES)[1:]))


@pytest.mark.parametrize("name", ["gaussian", "lstm"])
def test_as_a_program_of_pytorch(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    save(policy(case), problem(case), tmp_path / "policy.pt2")
    program = torch.export.load(tmp_path / "policy.pt2").module()
    blank = torch_policy(policy(case), problem(case)).blank(COPIES)
    assert_acts_alike(case, in_torch(program), numpy_of(blank[1:]))


@pytest.mark.parametrize("name", CASES)
def test_from_safetensors(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    save(policy(case), problem(case), tmp_path / "policy.safetensors")
    module = load(tmp_path / "policy.safetensors")
    assert module.plan == torch_policy(policy(case), problem(case)).plan
    assert_acts_alike(case, in_torch(module), numpy_of(module.blank(COPIES)[1:]))
