"""What takes part in a comparison: a method, and a cure for another cause of being stuck."""

import difflib
from dataclasses import dataclass, replace

from gtr.errors import GTRError
from gtr.learner.config import LearnerConfig, configure
from gtr.methods import method
from gtr.networks.architectures import with_layer_norm

CURES = ("layer-norm", "l2-init", "c-chain", "adam")
"""What an arm's name may have behind its method, as in `gtr+layer-norm`; see docs/cures.md."""

DEFAULTS = "@defaults"
"""Behind a method's name, as in `ppo@defaults`: its own numbers are left as they are by tuning."""


@dataclass(frozen=True)
class Arm:
    """A method with what is fixed in it, and a cure.

    Attributes:
        name: for people, tables and directories.
        method: name of the method.
        cure: one of `CURES`, or None.
        tuned: whether the method's own numbers are tuned; else they keep their defaults.
    """

    name: str
    method: str
    cure: str | None = None
    tuned: bool = True

    def config(self, config: LearnerConfig) -> LearnerConfig:
        """A learner's configuration with this arm's cure."""
        match self.cure:
            case "layer-norm":
                return replace(config, network=with_layer_norm(config.network))
            case "l2-init" | "c-chain":
                return configure(config, regulariser=self.cure)
            case "adam":
                return configure(config, adam_b1=0.99, adam_b2=0.99)
            case _:
                return config


def arm(name: str) -> Arm:
    """The arm of this name: a method's, `DEFAULTS` behind it or not, a cure behind a plus or not.

    Raises:
        GTRError: there is no such method or cure.
    """
    base, plus, cure = name.partition("+")
    tuned = not base.endswith(DEFAULTS)
    base = base.removesuffix(DEFAULTS)
    method(base)
    if plus and cure not in CURES:
        close = difflib.get_close_matches(cure, CURES, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise GTRError(f"{name}: there is no cure {cure!r}{hint}; there are {', '.join(CURES)}")
    return Arm(name, base, cure or None, tuned)
