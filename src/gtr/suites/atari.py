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
    """Three games in turn, twice; the twin plays the first throughout."""
    full = size == "full"
    return Suite(
        name="atari-cycle",
        size=size,
        domain="games",
        description=(
            "Breakout, Pong and SpaceInvaders of the Atari 2600 in turn, twice, from pixels, with "
            "one action set."
        ),
        source=(
            "ALE (Bellemare et al. 2013, Machado et al. 2018); game sequences as in Abbas et al. "
            "2023"
        ),
        make=_three_games,
        phases=6,
        phase_budget=10_000_000 if full else 100_000,
        seeds=10 if full else 5,
        # What PPO is usually run with on Atari (arXiv:1707.06347, CleanRL), but for the step size,
        # which stays: a learning rate that ends at 0 is for runs that meet no change.
        config=LearnerConfig(
            environments=8,
            rollout_length=128,
            learning_rate=2.5e-4,
            # Of the Nature CNN's width on two cores a run would take hours.
            network=NatureCNN() if full else NatureCNN((8, 16, 16), (64,)),
        ),
    )


def _three_games() -> HostEnvironment:
    from gtr.environments.atari import Atari

    # Each process can fill a core; numbers do not depend on how many there are.
    return Atari(("breakout", "pong", "space_invaders"), processes=os.cpu_count() or 1)
