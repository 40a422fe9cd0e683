"""Atari games, one after another."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gtr.learner.config import LearnerConfig
from gtr.networks.architectures import NatureCNN
from gtr.suites.definition import Size, Suite

if TYPE_CHECKING:
    from gtr.environments.host import HostEnvironment


def atari_cycle(size: Size) -> Suite:
    """Games in turn; the twin plays the first throughout."""
    full = size == "full"
    return Suite(
        name="atari-cycle",
        size=size,
        domain="games",
        description=_DESCRIPTIONS[size],
        source=(
            "ALE (Bellemare et al. 2013, Machado et al. 2018); game sequences as in Abbas et al. "
            "2023"
        ),
        make=_three_games if full else _two_games,
        phases=6 if full else 4,
        phase_budget=10_000_000 if full else 20_000,
        seeds=10 if full else 5,
        config=_FULL if full else _CPU,
    )


_DESCRIPTIONS: dict[Size, str] = {
    "full": (
        "Breakout, Pong and SpaceInvaders of the Atari 2600 in turn, twice, from pixels, with one "
        "action set."
    ),
    "cpu": (
        "Breakout and SpaceInvaders of the Atari 2600 in turn, twice, from small pixels, with one "
        "action set."
    ),
}
# What PPO is usually run with on Atari (arXiv:1707.06347, CleanRL), but for the step size, which
# stays: a learning rate that ends at 0 is for runs that meet no change.
_FULL = LearnerConfig(environments=8, rollout_length=128, learning_rate=2.5e-4, network=NatureCNN())
# A phase is so short that gradient steps are what is scarce: more of them, and larger ones.
_CPU = LearnerConfig(
    environments=8,
    rollout_length=32,
    learning_rate=1e-3,
    network=NatureCNN((8, 16, 16), (64,)),
)


def _three_games() -> HostEnvironment:
    from gtr.environments.atari import Atari

    # Each process can fill a core; numbers do not depend on how many there are.
    return Atari(("breakout", "pong", "space_invaders"), processes=os.cpu_count() or 1)


def _two_games() -> HostEnvironment:
    from gtr.environments.atari import Atari

    # Pong is left out: PPO needs far more steps before it returns a ball. Screens of 52 x 52 have
    # 2.6 times fewer pixels than those of 84 x 84, and gradients are most of the work.
    return Atari(("breakout", "space_invaders"), side=52, processes=os.cpu_count() or 1)
