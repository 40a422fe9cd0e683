"""What configurations are drawn from when arms are tuned."""

import math
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LogUniform:
    """The logarithm is uniform between those of `low` and `high`; 0 in a share `zero` of draws."""

    low: float
    high: float
    zero: float = 0.0

    def draw(self, random: np.random.Generator) -> float:
        """One value."""
        # Both draws are made always, so that a stream's later values do not depend on a 0.
        is_zero = random.random() < self.zero
        exponent = random.uniform(math.log(self.low), math.log(self.high))
        return 0.0 if is_zero else _rounded(math.exp(exponent))


@dataclass(frozen=True)
class OneMinus:
    """One minus a draw, for what is counted in distance from 1."""

    rest: LogUniform

    def draw(self, random: np.random.Generator) -> float:
        """One value."""
        return _rounded(1 - self.rest.draw(random))


@dataclass(frozen=True)
class Choice:
    """One of some values, each as likely."""

    values: tuple[Any, ...]

    def draw(self, random: np.random.Generator) -> Any:
        """One value."""
        return self.values[random.integers(len(self.values))]


LEARNER: dict[str, LogUniform | OneMinus | Choice] = {
    "learning_rate": LogUniform(3e-4, 1e-2),
    # Each value is a program of its own to compile.
    "epochs": Choice((4, 8)),
    "entropy": LogUniform(1e-3, 1e-1, zero=0.1),
    # Equal betas are the cure for changing worlds of Dohare et al. 2024 and others before.
    "adam_betas": Choice(((0.9, 0.999), (0.99, 0.99))),
}
"""What every arm's configurations are drawn from; see `LearnerConfig`."""

METHOD: dict[str, LogUniform | OneMinus | Choice] = {
    "clip": LogUniform(0.05, 0.8),
    "stiffness": LogUniform(0.05, 5.0),
    "radius": LogUniform(0.1, 2.0),
    "decay": OneMinus(LogUniform(0.03, 0.7)),
    "target_kl": LogUniform(0.003, 0.1),
}
"""A method's own numbers, of those that it has; `anchors` and `every` stay at their defaults."""

CURE: dict[str, LogUniform | OneMinus | Choice] = {
    "l2-init": LogUniform(1e-6, 1e-2),
    "c-chain": LogUniform(1e1, 1e4),
}
"""What the `regularisation` of a cure that has one is drawn from."""


def draws(
    space: Mapping[str, LogUniform | OneMinus | Choice],
    names: Iterable[str],
    count: int,
    draw: int,
) -> dict[str, list[Any]]:
    """`count` values of each number, from a stream of its own made of `draw` and its name."""
    streams = {name: np.random.default_rng([draw, zlib.crc32(name.encode())]) for name in names}
    return {
        name: [space[name].draw(stream) for _ in range(count)] for name, stream in streams.items()
    }


def described() -> dict[str, Any]:
    """The whole space as what JSON can hold."""
    return {
        name: {type(one).__name__: asdict(one)} for name, one in (LEARNER | METHOD | CURE).items()
    }


def _rounded(value: float) -> float:
    """To three digits, so that a file says all there is."""
    return float(f"{value:.3g}")
