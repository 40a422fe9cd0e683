"""The numbers of a training run: how much data, how it is used, how large the steps are.

Numbers marked *leaf* are arrays to JAX, so they can differ between the runs of one jitted call;
the others fix shapes or branches, and a change of them compiles anew.
"""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple, TypeGuard, get_args

from gtr.errors import GTRError
from gtr.networks.architectures import MLP, Architecture, Recurrent, Transformer, from_json
from gtr.objective import Method


@dataclass(frozen=True)
class LearnerConfig:
    """Configuration of the trainer; the suite brings defaults that suit its environment.

    Attributes:
        environments: copies of the environment stepped side by side, per run.
        rollout_length: steps of each copy between two updates.
        epochs: passes over a batch of `environments * rollout_length` samples.
        minibatches: gradient steps a pass; of a recurrent network each is on whole copies of the
            environment, in all of their steps.
        learning_rate: Adam's step size (leaf).
        anneal: whether the learning rate falls linearly to 0 over the whole run.
        adam_b1: Adam's decay of the first moment (leaf).
        adam_b2: Adam's decay of the second moment (leaf).
        discount: gamma (leaf).
        gae_lambda: lambda of generalised advantage estimation (leaf).
        entropy: coefficient of the entropy bonus (leaf).
        max_grad_norm: limit on the gradient's norm, for actor and critic each (leaf).
        advantage_scale: divide advantages by their standard deviation in the minibatch, by a
            running estimate of it, or not at all.
        normalise_observations: keep a running mean and standard deviation of each component.
        observation_memory: how many batches these look back on, as an exponential average does;
            all of them alike where None, as is usual. In a changing world that hides the new under
            the old: see docs/suites.md.
        normalise_rewards: divide rewards by the running standard deviation of the return.
        squash_actions: bound continuous actions by tanh instead of clipping them.
        network: the architecture of actor and critic (two separate networks).
        regulariser: a term beside the losses of any method (docs/cures.md).
        regularisation: its number, above 0, None without one (leaf): the coefficient of L2-Init, or
            how many times the policy loss C-CHAIN's term is to be. `configure` has a default for
            each.
    """

    environments: int = 16
    rollout_length: int = 128
    epochs: int = 4
    minibatches: int = 4
    learning_rate: float = 3e-4
    anneal: bool = False
    adam_b1: float = 0.9
    adam_b2: float = 0.999
    discount: float = 0.99
    gae_lambda: float = 0.95
    entropy: float = 0.01
    max_grad_norm: float = 0.5
    advantage_scale: Literal["batch", "running", "none"] = "batch"
    normalise_observations: bool = False
    observation_memory: float | None = None
    normalise_rewards: bool = False
    squash_actions: bool = False
    network: Architecture = field(default_factory=MLP)
    regulariser: Literal["none", "l2-init", "c-chain"] = "none"
    regularisation: float | None = None


@dataclass(frozen=True)
class Setting:
    """A method and a learner configuration, with a name where several are trained together."""

    method: Method
    config: LearnerConfig
    label: str = ""


class Rates(NamedTuple):
    """The leaves of a configuration: numbers that may differ between the runs of one call.

    `regularisation` is None, and so no leaf, where there is no regulariser.
    """

    learning_rate: Any
    adam_b1: Any
    adam_b2: Any
    discount: Any
    gae_lambda: Any
    entropy: Any
    max_grad_norm: Any
    regularisation: Any


def rates(config: LearnerConfig) -> Rates:
    """The leaves of `config`, as Python numbers."""
    return Rates(*(getattr(config, name) for name in Rates._fields))


def configure(config: LearnerConfig, **numbers: Any) -> LearnerConfig:
    """A configuration with some of its fields replaced, checked.

    Another regulariser brings its own `regularisation`, unless that is given too.

    Raises:
        GTRError: a field is unknown, or its value cannot be.
    """
    known = {field.name for field in fields(LearnerConfig)} - {"network"}
    for name in numbers:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise GTRError(f"the learner has no number {name!r}{hint}; it has {sorted(known)}")
    regulariser = numbers.get("regulariser", config.regulariser)
    if regulariser != config.regulariser:
        numbers = {"regularisation": _REGULARISATION.get(regulariser)} | numbers
    changed = replace(config, **numbers)
    check(changed)
    return changed


def from_description(learner: dict[str, Any]) -> LearnerConfig:
    """The configuration that a run's config.json describes; see `gtr.learner.run.describe`.

    Raises:
        KeyError: it names no network that is known.
        TypeError: a field is unknown.
        ValueError: it does not name one network.
    """
    return LearnerConfig(**{**learner, "network": from_json(learner["network"])})


def check(config: LearnerConfig) -> None:
    """Refuses what cannot be trained.

    Raises:
        GTRError: one line that says what is wrong and how to mend it.
    """
    for name, least in _WHOLE.items():
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise GTRError(f"{name} is {value!r}; give a whole number, {least} or more")
    for name, (rule, holds) in _RANGES.items():
        value = getattr(config, name)
        if not _is_number(value) or not holds(value):
            raise GTRError(f"{name} is {value!r}; give a number {rule}")
    for name in ("advantage_scale", "regulariser"):
        choices = get_args(LearnerConfig.__annotations__[name])
        if getattr(config, name) not in choices:
            raise GTRError(f"{name} is {getattr(config, name)!r}; give one of {choices}")
    regulariser, strength = config.regulariser, config.regularisation
    if regulariser == "none" and strength is not None:
        raise GTRError(f"regularisation is {strength!r} without a regulariser; set that too")
    if regulariser != "none" and (not _is_number(strength) or not 0 < strength < math.inf):
        raise GTRError(
            f"regularisation is {strength!r}; with the regulariser {regulariser} give a number "
            "above 0, finite"
        )
    memory = config.observation_memory
    if memory is not None and (isinstance(memory, bool) or not _is_memory(memory)):
        raise GTRError(
            f"observation_memory is {memory!r}; give a number from 1 on, or None for all"
        )
    for name in _SWITCHES:
        if not isinstance(getattr(config, name), bool):
            raise GTRError(f"{name} is {getattr(config, name)!r}; give True or False")
    batch = config.environments * config.rollout_length
    if batch % config.minibatches:
        raise GTRError(
            f"{config.environments} environments x {config.rollout_length} steps do not divide "
            f"into {config.minibatches} minibatches; change one of them"
        )
    if isinstance(config.network, Recurrent):
        _check_recurrent(config, config.network)


def _check_recurrent(config: LearnerConfig, network: Recurrent) -> None:
    kind = type(network).__name__
    sizes = ("width", "layers", "heads", "window") if kind == "Transformer" else ("width",)
    for name in sizes:
        value = getattr(network, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise GTRError(f"{name} of the {kind} is {value!r}; give a whole number, 1 or more")
    if isinstance(network, Transformer) and network.width % network.heads:
        raise GTRError(
            f"a Transformer of width {network.width} does not divide into {network.heads} heads; "
            "change one of them"
        )
    if config.environments % config.minibatches:
        raise GTRError(
            f"a {kind} learns from whole copies of the environment, and {config.environments} "
            f"environments do not divide into {config.minibatches} minibatches; change one of them"
        )


def _is_memory(value: Any) -> bool:
    return isinstance(value, int | float) and 1 <= value < math.inf


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


# C-CHAIN's is the authors' for classic control; L2-Init's is the middle of what is tuned over.
_REGULARISATION = {"l2-init": 1e-4, "c-chain": 1e4}
_SWITCHES = ("anneal", "normalise_observations", "normalise_rewards", "squash_actions")
_WHOLE = {"environments": 1, "rollout_length": 1, "epochs": 0, "minibatches": 1}
_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "learning_rate": ("from 0 on, finite", lambda x: 0 <= x < math.inf),
    "adam_b1": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "adam_b2": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "discount": ("from 0 to 1", lambda x: 0 <= x <= 1),
    "gae_lambda": ("from 0 to 1", lambda x: 0 <= x <= 1),
    "entropy": ("from 0 on, finite", lambda x: 0 <= x < math.inf),
    "max_grad_norm": ("above 0", lambda x: x > 0),
}
