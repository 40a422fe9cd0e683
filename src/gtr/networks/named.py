"""Networks by name: what `--network` knows. Nothing here imports JAX."""

import difflib
from collections.abc import Callable
from typing import NamedTuple

from gtr.errors import GTRError
from gtr.networks.architectures import (
    CNN,
    GRU,
    LSTM,
    MLP,
    Architecture,
    FeedForward,
    NatureCNN,
    ResNet,
    Transformer,
    body_of,
)


class _Entry(NamedTuple):
    description: str
    build: Callable[[FeedForward], Architecture]


_ENTRIES = {
    "mlp": _Entry("two hidden layers of 64 tanh units", lambda body: MLP()),
    "cnn": _Entry(
        "a 3 x 3 convolution of 16 channels and a hidden layer of 64, for MinAtar's grids",
        lambda body: CNN(),
    ),
    "nature-cnn": _Entry(
        "the network of DQN on Atari's screens (Mnih et al. 2015)", lambda body: NatureCNN()
    ),
    "impala-resnet": _Entry(
        "IMPALA's residual network for screens (Espeholt et al. 2018)", lambda body: ResNet()
    ),
    "gru": _Entry(
        "the suite's own network, and 64 gated recurrent units behind it",
        lambda body: GRU(body=body),
    ),
    "lstm": _Entry(
        "the suite's own network, and a long short-term memory of 64 behind it",
        lambda body: LSTM(body=body),
    ),
    "transformer": _Entry(
        "the suite's own network, and a gated transformer behind it that looks back 32 steps in "
        "each of 2 layers",
        lambda body: Transformer(body=body),
    ),
}


def names() -> tuple[str, ...]:
    """The names that `network` knows."""
    return tuple(_ENTRIES)


def describe(name: str) -> str:
    """One line about a named network.

    Raises:
        GTRError: no network has this name.
    """
    return _entry(name).description


def network(name: str, own: Architecture) -> Architecture:
    """A named network, in the sizes that its class has by default.

    Args:
        name: one of `names()`.
        own: the suite's own network, behind which a memory is put, as one for a suite's screens
            has to see them; of a recurrent one the body.

    Raises:
        GTRError: no network has this name.
    """
    return _entry(name).build(body_of(own))


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        close = difflib.get_close_matches(name, _ENTRIES, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise GTRError(f"there is no network {name!r}{hint}; there is {', '.join(_ENTRIES)}")
    return _ENTRIES[name]
