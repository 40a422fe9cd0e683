"""What the study trains: its arms, its suites, its questions, and how much of each."""

import difflib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from gtr.errors import GTRError
from gtr.learner.config import LearnerConfig, configure
from gtr.learner.run import Setting
from gtr.methods import method
from gtr.networks.architectures import MLP
from gtr.objective import Method
from gtr.study.arms import Arm, arm
from gtr.study.tune import candidates
from gtr.suites import Suite, suite

MAIN = ("ppo", "gtr", "ppo-kl", "ppo-ewma", "ppo@defaults")
"""The arms that the study's claim is about; on the stationary twins these alone are trained.

GTR is tuned in what all methods share. PPO is there twice: with its clip tuned too, and without, so
that it is searched as GTR is. A GTR that beats the first alone has only had less to find.
"""

SHAPES = ("gtr-monotone", "gtr-bump", "gtr-gate", "gtr-exact", "gtr-absolute")
ANCHORS = ("gtr-one-anchor", "gtr-behaviour")
RIVALS = ("spo", "cim", "gipo")
CURED = tuple(
    f"{base}+{cure}" for cure in ("adam", "layer-norm", "l2-init", "c-chain") for base in MAIN[:2]
)

GRID_SEED = 2_000_000
"""Seeds of the grids, apart from those of tuning and of the comparison."""


@dataclass(frozen=True)
class Extent:
    """How much of everything.

    Attributes:
        name: what `extent` finds it by.
        main: suites of the claim, on which the `MAIN` arms are tuned and compared.
        wide: suites among them on which all other arms are too, and the grids trained.
        phases: worlds in a lifetime, where fewer than the suite's.
        share: of a phase's budget.
        seeds: of the comparison.
        configurations: that each arm is tuned with.
        grid_seeds: of each setting in a grid.
        steps: values on each axis of a grid.
        size: of the suites.
    """

    name: str
    main: tuple[str, ...]
    wide: tuple[str, ...]
    phases: int | None
    share: float
    seeds: int
    configurations: int
    grid_seeds: int
    steps: int
    size: str = "cpu"

    def suite(self, name: str) -> Suite:
        """The suite, shortened."""
        found = suite(name, self.size)
        return replace(
            found,
            phases=found.phases if self.phases is None else min(found.phases, self.phases),
            phase_budget=round(self.share * found.phase_budget),
        )

    def arms(self, suite_name: str) -> tuple[Arm, ...]:
        """The arms that are compared on a suite."""
        others = (*RIVALS, *SHAPES, *ANCHORS, *CURED) if suite_name in self.wide else ()
        return tuple(defaults(name) for name in (*MAIN, *others))


_CONTROL = ("cartpole-offset", "corner-switch", "acrobot-offset", "mountaincar-offset")
_GAMES = ("minatar-permute", "minatar-cycle")

_EXTENTS = {
    one.name: one
    for one in (
        Extent(
            "smoke",
            main=("corner-switch", "cartpole-offset"),
            wide=("corner-switch",),
            phases=3,
            share=0.2,
            seeds=2,
            configurations=2,
            grid_seeds=1,
            steps=3,
        ),
        Extent(
            "cpu",
            main=(*_CONTROL, *_GAMES),
            wide=("cartpole-offset", "corner-switch", "acrobot-offset"),
            phases=None,
            share=1.0,
            seeds=10,
            configurations=12,
            grid_seeds=4,
            steps=6,
        ),
        Extent(
            "full",
            main=(*_CONTROL, *_GAMES),
            wide=(*_CONTROL, *_GAMES),
            phases=None,
            share=1.0,
            seeds=30,
            configurations=36,
            grid_seeds=10,
            steps=6,
            size="full",
        ),
    )
}


def extents() -> tuple[str, ...]:
    """The names that `extent` knows."""
    return tuple(_EXTENTS)


def extent(name: str) -> Extent:
    """How much of everything a size of the study is.

    Raises:
        GTRError: there is no such size.
    """
    if name not in _EXTENTS:
        close = difflib.get_close_matches(name, _EXTENTS, 1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise GTRError(f"no size {name!r} of the study{hint}; there is {', '.join(_EXTENTS)}")
    return _EXTENTS[name]


def defaults(name: str) -> Arm:
    """An arm of the study: `gtr` keeps its own numbers at their defaults, as a user would."""
    found = arm(name)
    return replace(found, tuned=found.tuned and found.method != "gtr")


@dataclass(frozen=True)
class Question:
    """A grid of settings that one figure is drawn from.

    Attributes:
        name: of its directory and table.
        factors: what differs between settings, the keys of their labels.
        whole: trained through the whole lifetime; else on the part that is tuned on.
        settings: of the tuned PPO, the tuned GTR and the number of steps on an axis.
    """

    name: str
    factors: tuple[str, ...]
    whole: bool
    settings: Callable[[Setting, Setting, int], Iterator[Setting]]


def label(**factors: Any) -> str:
    """A setting's name, made of what distinguishes it; `factors_of` reads it."""
    return " ".join(f"{key}={value}" for key, value in factors.items())


def factors_of(label: str) -> dict[str, str]:
    """What `label` was made of, as text."""
    return dict(pair.split("=", 1) for pair in label.split(" "))


def _spread(low: float, high: float, steps: int) -> list[float]:
    """So many values with equal ratios, to three digits."""
    ratio = (high / low) ** (1 / max(1, steps - 1))
    return [float(f"{low * ratio**step:.3g}") for step in range(steps)]


_UNCLIPPED = 1e6


def _drop_in(ppo: Setting, gtr: Setting, steps: int) -> Iterator[Setting]:
    drawn = candidates(arm("ppo@defaults"), ppo.config, 2 * steps, 0)
    for number, one in enumerate(drawn):
        for name in ("ppo", "gtr"):
            yield Setting(method(name), one.config, label(method=name, configuration=number))


def _reuse(ppo: Setting, gtr: Setting, steps: int) -> Iterator[Setting]:
    tuned = ppo.config.learning_rate
    for epochs in (2, 4, 8, 16) if steps > 3 else (2, 8):
        # More steps on a batch may want smaller ones, so no rate alone would be fair to both ends.
        for rate in (tuned, float(f"{tuned / 3:.3g}")):
            config = configure(ppo.config, epochs=epochs, learning_rate=rate)
            own = "tuned" if rate == tuned else "third"
            for name in ("ppo", "gtr"):
                yield Setting(method(name), config, label(method=name, epochs=epochs, rate=own))


def _capacity(ppo: Setting, gtr: Setting, steps: int) -> Iterator[Setting]:
    network = ppo.config.network
    assert isinstance(network, MLP)  # as those of the three wide suites are
    base, depth = network.widths[0], len(network.widths)
    for factor in (0.25, 0.5, 1.0, 2.0, 4.0) if steps > 3 else (0.25, 1.0, 4.0):
        yield _network(ppo, max(1, round(factor * base)), depth)
    for layers in (1, 3, 4) if steps > 3 else (1, 3):
        yield _network(ppo, base, layers)


def _network(ppo: Setting, width: int, depth: int) -> Setting:
    network = replace(ppo.config.network, widths=(width,) * depth)
    config = replace(ppo.config, network=network)
    return Setting(ppo.method, config, label(width=width, depth=depth))


def _clip(ppo: Setting, gtr: Setting, steps: int) -> Iterator[Setting]:
    for clip in (*_spread(0.05, 0.8, max(2, steps - 1)), _UNCLIPPED):
        yield Setting(method("ppo", clip=clip), ppo.config, label(clip=clip))


def _surface(ppo: Setting, gtr: Setting, steps: int) -> Iterator[Setting]:
    for stiffness, radius in itertools.product(_spread(0.03, 3.0, steps), _spread(0.1, 3.0, steps)):
        one = method("gtr", stiffness=stiffness, radius=radius)
        yield Setting(one, gtr.config, label(stiffness=stiffness, radius=radius))


def _shape(ppo: Setting, gtr: Setting, steps: int) -> Iterator[Setting]:
    for name in ("gtr", "gtr-bump", "gtr-monotone", "gtr-exact"):
        for stiffness in _spread(0.05, 1.6, max(2, steps - 2)):
            for clip in (None, _UNCLIPPED):
                own = {} if clip is None else {"clip": clip}
                one = method(name, stiffness=stiffness, **own)
                clipped = "no" if clip else "yes"
                yield Setting(
                    one, gtr.config, label(shape=name, stiffness=stiffness, clipped=clipped)
                )


def _anchor(ppo: Setting, gtr: Setting, steps: int) -> Iterator[Setting]:
    ages = (1, 4, 16) if steps > 3 else (1, 4)

    def named(one: Method, kind: str, count: int, every: int) -> Setting:
        return Setting(one, gtr.config, label(anchor=kind, count=count, every=every))

    yield named(method("gtr-behaviour"), "behaviour", 1, 1)
    for every in ages:
        yield named(method("gtr-one-anchor", every=every), "stale", 1, every)
    for count in (2, 4, 8) if steps > 3 else (2, 4):
        for every in ages:
            yield named(method("gtr", anchors=count, every=every), "mixture", count, every)


def _advantage(ppo: Setting, gtr: Setting, steps: int) -> Iterator[Setting]:
    for name, base in (("ppo", ppo), ("gtr", gtr)):
        for scale in ("batch", "running"):
            for clip in (0.2, 0.5, _UNCLIPPED):
                for entropy in (0.0, 0.01, 0.03, 0.1)[: max(2, steps - 2)]:
                    config: LearnerConfig = configure(
                        base.config, advantage_scale=scale, entropy=entropy
                    )
                    yield Setting(
                        method(name, clip=clip),
                        config,
                        label(method=name, scale=scale, clip=clip, entropy=entropy),
                    )


QUESTIONS = (
    Question("drop_in", ("method", "configuration"), True, _drop_in),
    Question("reuse", ("method", "epochs", "rate"), False, _reuse),
    Question("capacity", ("width", "depth"), True, _capacity),
    Question("clip", ("clip",), True, _clip),
    Question("surface", ("stiffness", "radius"), False, _surface),
    Question("shape", ("shape", "stiffness", "clipped"), False, _shape),
    Question("anchor", ("anchor", "count", "every"), False, _anchor),
    Question("advantage", ("method", "scale", "clip", "entropy"), False, _advantage),
)
"""The grids, in the order in which they are trained."""
