"""Every suite by name. Nothing here imports JAX before an environment is built."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, get_args

from gtr.errors import GTRError
from gtr.learner.config import LearnerConfig
from gtr.networks.architectures import CNN, MLP
from gtr.suites.atari import atari_cycle
from gtr.suites.definition import STATIONARY, Size, Suite
from gtr.suites.open_world import craftax_goals
from gtr.suites.robotics import robotics

if TYPE_CHECKING:
    from gtr.environments.protocol import Environment


def suite(name: str, size: str = "cpu") -> Suite:
    """The suite of this name and size.

    Args:
        name: as listed by `suites`; with "-stationary" at its end, the stationary twin.
        size: "cpu" or "full".

    Returns:
        The suite, its environment not yet built.

    Raises:
        GTRError: there is no suite of this name, or no such size.
    """
    found = {one.name: one for one in suites(size)}
    if name not in found:
        close = difflib.get_close_matches(name, found, 3, 0.5)
        known = close or [one for one in found if not one.endswith(STATIONARY)]
        raise GTRError(f"No suite {name!r}; there is {', '.join(known)}.")
    return found[name]


def suites(size: str = "cpu") -> tuple[Suite, ...]:
    """All suites of a size, each followed by its stationary twin.

    Raises:
        GTRError: there is no such size.
    """
    if size not in get_args(Size):
        raise GTRError(f"No size {size!r}; there is {', '.join(get_args(Size))}.")
    full = size == "full"
    changing = (
        *_offsets(full),
        _corner_switch(full),
        _minatar_permute(full),
        _minatar_cycle(full),
        craftax_goals(_size(full)),
        atari_cycle(_size(full)),
        *robotics(_size(full)),
    )
    return tuple(member for one in changing for member in (one, one.twin))


def _size(full: bool) -> Size:
    return "full" if full else "cpu"


def _offsets(full: bool) -> tuple[Suite, ...]:
    """A fixed offset on the observation, redrawn each phase: TRAC's and C-CHAIN's control."""
    return tuple(
        Suite(
            name=f"{name}-offset",
            size=_size(full),
            domain="control",
            description=(
                f"{title}; an offset ~ N(0, 2) on every observation component is redrawn each "
                "phase, none in the first."
            ),
            source="TRAC (Muppidi et al. 2024), C-CHAIN (Tang et al. 2025); gymnax",
            make=make,
            phases=10,
            phase_budget=160_000,
            seeds=100 if full else 10,
            config=config,
        )
        for name, title, make, config in (
            # A running scale of advantages serves PPO and GTR better than standardising batches,
            # here and on Acrobot (docs/designs.md).
            (
                "cartpole",
                "CartPole-v1",
                _cartpole,
                LearnerConfig(learning_rate=3e-3, advantage_scale="running"),
            ),
            # At CartPole's 3e-3 PPO's later phases stay near -150; at 1e-3 they reach -84.
            (
                "acrobot",
                "Acrobot-v1",
                _acrobot,
                LearnerConfig(learning_rate=1e-3, advantage_scale="running"),
            ),
            # Velocities are below 0.07, so without normalisation no flag is ever reached; and with
            # moments of all that was ever seen, none is reached again after the first change.
            (
                "mountaincar",
                "MountainCar-v0 (200 steps at most)",
                _mountaincar,
                LearnerConfig(
                    learning_rate=3e-3,
                    gae_lambda=0.98,
                    normalise_observations=True,
                    observation_memory=4,
                ),
            ),
        )
    )


def _corner_switch(full: bool) -> Suite:
    """One of four corners pays, another each phase."""
    return Suite(
        name="corner-switch",
        size=_size(full),
        domain="control",
        description=(
            f"A {'13 x 13' if full else '9 x 9'} grid whose corners end the episode; the one that "
            "pays is another each phase."
        ),
        source="this project",
        make=_large_corners if full else _corners,
        phases=8,
        phase_budget=164_000 if full else 41_000,
        seeds=100 if full else 10,
        # Normalising each batch's advantages turns their noise into steps of full size wherever
        # no reward is met, which is most of a phase here before the new corner is found.
        config=LearnerConfig(
            rollout_length=64,
            learning_rate=1e-3,
            entropy=0.03,
            advantage_scale="running",
        ),
    )


def _minatar_permute(full: bool) -> Suite:
    """Breakout whose channels and actions mean something else each phase."""
    return Suite(
        name="minatar-permute",
        size=_size(full),
        domain="games",
        description=(
            "MinAtar Breakout; observation channels and actions are permuted anew each phase, "
            "not in the first."
        ),
        source="MinAtar (Young & Tian 2019); gymnax",
        make=_permuted_breakout,
        phases=6,
        phase_budget=10_000_000 if full else 250_000,
        seeds=10,
        config=_minatar(full),
    )


def _minatar_cycle(full: bool) -> Suite:
    """Three games in turn, twice; the twin plays the first, Breakout, throughout."""
    return Suite(
        name="minatar-cycle",
        size=_size(full),
        domain="games",
        description=(
            "MinAtar Breakout, SpaceInvaders and Asterix in turn, twice, with one observation "
            "shape and MinAtar's full action set."
        ),
        source="MinAtar (Young & Tian 2019); game sequences as in Abbas et al. 2023; gymnax",
        make=_three_games,
        phases=6,
        phase_budget=10_000_000 if full else 250_000,
        seeds=10,
        config=_minatar(full),
    )


def _minatar(full: bool) -> LearnerConfig:
    """PureJaxRL's copies and rollouts when full; a quarter of the batch for a short CPU run."""
    if full:
        # The convolution of MinAtar's own agents (Young & Tian 2019).
        return LearnerConfig(
            environments=64,
            minibatches=8,
            advantage_scale="running",
            network=CNN((16,), (128,)),
        )
    # Flattened observations, as PureJaxRL feeds them: on a CPU several times as fast. A running
    # scale of advantages is worth a seventh of PPO's return after a change (docs/designs.md).
    return LearnerConfig(
        learning_rate=1e-3, advantage_scale="running", network=MLP((64, 64), "relu")
    )


def _cartpole() -> Environment:
    from gtr.environments.changes import ObservationOffset
    from gtr.environments.gymnax_adapter import Gymnax

    return ObservationOffset(Gymnax("CartPole-v1"))


def _acrobot() -> Environment:
    from gtr.environments.changes import ObservationOffset
    from gtr.environments.gymnax_adapter import Gymnax

    return ObservationOffset(Gymnax("Acrobot-v1"))


def _mountaincar() -> Environment:
    from gtr.environments.changes import ObservationOffset
    from gtr.environments.gymnax_adapter import Gymnax

    return ObservationOffset(Gymnax("MountainCar-v0"))


def _corners() -> Environment:
    from gtr.environments.corner_switch import CornerSwitch

    return CornerSwitch(9, limit=60)


def _large_corners() -> Environment:
    from gtr.environments.corner_switch import CornerSwitch

    return CornerSwitch(13, limit=125)


def _permuted_breakout() -> Environment:
    from gtr.environments.changes import ActionPermutation, ObservationPermutation
    from gtr.environments.gymnax_adapter import Gymnax

    return ActionPermutation(ObservationPermutation(Gymnax("Breakout-MinAtar")))


def _three_games() -> Environment:
    from gtr.environments.changes import Cycle
    from gtr.environments.gymnax_adapter import Gymnax

    games = ("Breakout", "SpaceInvaders", "Asterix")
    return Cycle(tuple(Gymnax(f"{game}-MinAtar", full_action_set=True) for game in games))
