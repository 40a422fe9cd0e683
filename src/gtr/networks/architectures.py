"""The shapes of networks that a configuration can name.

A feed-forward one is a torso and then hidden layers, and names these alike: `widths`, `activation`,
`layer_norm`. A recurrent one is a feed-forward body and then a core, which has a memory of the
episode under way.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

Activation = Literal["tanh", "relu", "swish"]


@dataclass(frozen=True)
class MLP:
    """Fully connected layers; observations are flattened.

    Attributes:
        widths: of the hidden layers.
        activation: after each of them.
        layer_norm: normalise each hidden layer's outputs before its activation
            (arXiv:1607.06450).
    """

    widths: tuple[int, ...] = (64, 64)
    activation: Activation = "tanh"
    layer_norm: bool = False


@dataclass(frozen=True)
class CNN:
    """3 x 3 convolutions, stride 1, unpadded, over (height, width, channels); then an MLP.

    Attributes:
        channels: of the convolutions.
        widths: of the hidden layers that follow them.
        activation: after each convolution and hidden layer.
        layer_norm: as the MLP's, in the hidden layers alone: convolutions are not normalised.
    """

    channels: tuple[int, ...] = (16,)
    widths: tuple[int, ...] = (64,)
    activation: Activation = "relu"
    layer_norm: bool = False


@dataclass(frozen=True)
class NatureCNN:
    """The network of DQN on Atari's screens (Mnih et al. 2015, doi:10.1038/nature14236).

    Three unpadded convolutions, 8 x 8 with stride 4, 4 x 4 with stride 2 and 3 x 3 with stride 1,
    over (height, width, channels); then an MLP. Bytes (uint8) are pixels, and divided by 255.

    Attributes:
        channels: of the three convolutions.
        widths: of the hidden layers that follow them.
        activation: after each convolution and hidden layer.
        layer_norm: as the CNN's.
    """

    channels: tuple[int, int, int] = (32, 64, 64)
    widths: tuple[int, ...] = (512,)
    activation: Activation = "relu"
    layer_norm: bool = False


@dataclass(frozen=True)
class ResNet:
    """The residual network of IMPALA (Espeholt et al. 2018, arXiv:1802.01561), without its LSTM.

    Sections of a 3 x 3 convolution, a 3 x 3 max-pool with stride 2 and two residual blocks, all
    padded, over (height, width, channels); then an MLP. Bytes (uint8) are pixels, and divided by
    255.

    Attributes:
        channels: of the sections.
        widths: of the hidden layers that follow them.
        activation: before each convolution of a block, after the last section and after each
            hidden layer.
        layer_norm: as the CNN's.
    """

    channels: tuple[int, ...] = (16, 32, 32)
    widths: tuple[int, ...] = (256,)
    activation: Activation = "relu"
    layer_norm: bool = False


FeedForward = MLP | CNN | NatureCNN | ResNet


@dataclass(frozen=True)
class GRU:
    """A gated recurrent unit (Cho et al. 2014, arXiv:1406.1078) behind a body.

    Attributes:
        width: of the hidden state.
        body: what observations pass through first.
    """

    width: int = 64
    body: FeedForward = field(default_factory=lambda: MLP((64,)))


@dataclass(frozen=True)
class LSTM:
    """A long short-term memory (Hochreiter and Schmidhuber 1997, with forget gates) behind a body.

    Attributes:
        width: of the hidden state and of the cell's.
        body: what observations pass through first.
    """

    width: int = 64
    body: FeedForward = field(default_factory=lambda: MLP((64,)))


@dataclass(frozen=True)
class Transformer:
    """A gated transformer with memory (GTrXL, Parisotto et al. 2019, arXiv:1910.06764).

    Each layer attends to its own inputs of the last `window` steps of the episode and to the
    present one.

    Attributes:
        width: of what passes through the layers.
        layers: how many; each looks `window` steps further back than the one before it.
        heads: of the attention; a divisor of `width`.
        window: steps that are remembered.
        body: what observations pass through first.
    """

    width: int = 64
    layers: int = 2
    heads: int = 4
    window: int = 32
    body: FeedForward = field(default_factory=lambda: MLP((64,)))


Recurrent = GRU | LSTM | Transformer
Architecture = FeedForward | Recurrent


def body_of(architecture: Architecture) -> FeedForward:
    """What observations pass through first: of a feed-forward network it is all there is."""
    return architecture.body if isinstance(architecture, Recurrent) else architecture


def with_layer_norm(architecture: Architecture) -> Architecture:
    """The same with its hidden layers normalised; of a recurrent network these are the body's."""
    if isinstance(architecture, Recurrent):
        return replace(architecture, body=replace(architecture.body, layer_norm=True))
    return replace(architecture, layer_norm=True)


def as_json(architecture: Architecture) -> dict[str, Any]:
    """Name and fields, as JSON can hold them."""
    fields = asdict(architecture)
    if isinstance(architecture, Recurrent):
        fields["body"] = as_json(architecture.body)
    return {type(architecture).__name__: fields}


def from_json(description: dict[str, Any]) -> Architecture:
    """What `as_json` described.

    Raises:
        KeyError: it names no network that is known.
        TypeError: a field is unknown.
        ValueError: it does not name one network.
    """
    [(name, fields)] = description.items()
    kinds = {kind.__name__: kind for kind in get_args(Architecture)}
    # JSON has lists for tuples.
    given = {key: tuple(x) if isinstance(x, list) else x for key, x in fields.items()}
    if "body" in fields:
        given["body"] = from_json(fields["body"])
    return kinds[name](**given)
