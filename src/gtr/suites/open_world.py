"""Craftax with goals that change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gtr.learner.config import LearnerConfig
from gtr.networks.architectures import MLP
from gtr.suites.definition import Size, Suite

if TYPE_CHECKING:
    from gtr.environments.protocol import Environment


def craftax_goals(size: Size) -> Suite:
    """Which achievements are rewarded; the twin is Craftax-Classic as the field plays it."""
    full = size == "full"
    return Suite(
        name="craftax-goals",
        size=size,
        domain="open world",
        description=(
            "Craftax-Classic; all achievements are rewarded in the first phase, then one set of "
            "them after another."
        ),
        source="Craftax (Matthews et al. 2024)",
        make=_craftax_with_goals,
        phases=8 if full else 5,
        phase_budget=25_000_000 if full else 100_000,
        seeds=10,
        config=_craftax(full),
    )


def _craftax(full: bool) -> LearnerConfig:
    """The copies, rollouts and network of Craftax's own PPO when full; a short CPU run else."""
    if full:
        return LearnerConfig(
            environments=1024,
            rollout_length=64,
            minibatches=8,
            learning_rate=2e-4,
            gae_lambda=0.8,
            network=MLP((512, 512, 512)),
        )
    return LearnerConfig(learning_rate=1e-3, advantage_scale="running")


def _craftax_with_goals() -> Environment:
    from gtr.environments.changes import Goals
    from gtr.environments.craftax_adapter import Craftax

    return Goals(
        Craftax("Craftax-Classic-Symbolic-v1"),
        # All 22, by what they ask of the player: to farm, to keep alive, to make tools.
        (
            ("collect_sapling", "place_plant", "eat_plant"),
            ("collect_drink", "eat_cow", "wake_up", "defeat_zombie", "defeat_skeleton"),
            (
                "collect_wood",
                "place_table",
                "make_wood_pickaxe",
                "make_wood_sword",
                "collect_stone",
                "place_stone",
                "make_stone_pickaxe",
                "make_stone_sword",
                "collect_coal",
                "place_furnace",
                "collect_iron",
                "make_iron_pickaxe",
                "make_iron_sword",
                "collect_diamond",
            ),
        ),
    )
