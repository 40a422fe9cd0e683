"""The three array libraries behind one face, and all methods."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from gtr.methods import method, names
from gtr.objective import Method

METHODS = [method(name) for name in names()]


def anchors_of(method: Method) -> int:
    return 0 if method.anchor is None else method.anchor.count


class NumPy:
    name = "numpy"

    def array(self, values: Any, dtype: str = "float32") -> Any:
        import ml_dtypes

        return np.asarray(values).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)

    def value(self, function: Callable[..., Any], *arguments: Any, dtype: str = "float64") -> Any:
        """function(*arguments) as a NumPy float64 array; `function` must be hashable."""
        arguments = tuple(self.array(x, dtype) for x in arguments)
        return np.asarray(function(*arguments), dtype=np.float64)


class Torch(NumPy):
    name = "torch"

    def array(self, values: Any, dtype: str = "float32") -> Any:
        return torch.tensor(np.asarray(values)).to(getattr(torch, dtype))

    def value(self, function: Callable[..., Any], *arguments: Any, dtype: str = "float64") -> Any:
        return function(*(self.array(x, dtype) for x in arguments)).double().numpy()

    def gradient(self, function: Callable[..., Any], *arguments: Any, dtype: str = "float64"):
        """Of the sum of function(*arguments), with respect to the first, in NumPy float64."""
        first, *others = (self.array(x, dtype) for x in arguments)
        first.requires_grad_()
        function(first, *others).sum().backward()
        return first.grad.double().numpy()


@cache
def _jitted(function: Callable[..., Any]) -> Any:
    return jax.jit(function)


@cache
def _jitted_gradient(function: Callable[..., Any]) -> Any:
    return jax.jit(jax.grad(lambda first, *others: jnp.sum(function(first, *others))))


class Jax(NumPy):
    name = "jax"

    def array(self, values: Any, dtype: str = "float32") -> Any:
        return jnp.asarray(np.asarray(values)).astype(dtype)

    def value(self, function: Callable[..., Any], *arguments: Any, dtype: str = "float64") -> Any:
        with jax.enable_x64(True):
            result = _jitted(function)(*(self.array(x, dtype) for x in arguments))
            return np.asarray(result, dtype=np.float64)

    def gradient(self, function: Callable[..., Any], *arguments: Any, dtype: str = "float64"):
        with jax.enable_x64(True):
            result = _jitted_gradient(function)(*(self.array(x, dtype) for x in arguments))
            return np.asarray(result, dtype=np.float64)


@pytest.fixture(scope="session", params=[NumPy(), Torch(), Jax()], ids=lambda x: x.name)
def library(request: pytest.FixtureRequest) -> NumPy:
    return request.param


@pytest.fixture(scope="session", params=[Torch(), Jax()], ids=lambda x: x.name)
def autodiff(request: pytest.FixtureRequest) -> Any:
    """The libraries that differentiate."""
    return request.param


def unequal(seed=5, n=200):
    """Log-probabilities of a policy and of the behaviour policy, and advantages: (n,) each."""
    rng = np.random.default_rng(seed)
    behaviour = rng.normal(-1.0, 1.0, n)  # some are above 0: densities
    return behaviour + rng.normal(0, 0.7, n), behaviour, rng.normal(size=n)
