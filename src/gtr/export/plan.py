"""What a policy is beside its weights: enough to build it anew elsewhere."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from gtr.environments.protocol import Box, Discrete
from gtr.networks.architectures import Architecture, as_json, from_json


@dataclass(frozen=True)
class Plan:
    """The shape of a policy.

    Attributes:
        network: the actor's architecture.
        observation_shape: of one.
        observation_dtype: NumPy's name of it, as the environment gives observations.
        normalised: whether observations are normalised first.
        action: what the environment takes.
        squashed: whether actions are bounded by tanh, not clipped.
    """

    network: Architecture
    observation_shape: tuple[int, ...]
    observation_dtype: str
    normalised: bool
    action: Discrete | Box
    squashed: bool

    def to_json(self) -> str:
        """As text that `from_text` reads."""
        fields = asdict(self) | {"network": as_json(self.network)}
        return json.dumps(fields | {"action": {type(self.action).__name__: asdict(self.action)}})


def from_text(text: str) -> Plan:
    """What `Plan.to_json` wrote.

    Raises:
        KeyError: it names a network or an action that is not known.
        TypeError: a field is unknown or missing.
        ValueError: it is no such text.
    """
    fields: dict[str, Any] = json.loads(text)
    [(kind, action)] = fields["action"].items()
    if "shape" in action:
        action["shape"] = tuple(action["shape"])
    return Plan(
        **fields
        | {
            "network": from_json(fields["network"]),
            "observation_shape": tuple(fields["observation_shape"]),
            "action": {"Discrete": Discrete, "Box": Box}[kind](**action),
        }
    )
