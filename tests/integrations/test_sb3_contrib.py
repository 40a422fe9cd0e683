from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import MaskablePPO, RecurrentPPO
from sb3_contrib.common.envs import (
    InvalidActionEnvDiscrete,
    InvalidActionEnvMultiBinary,
    InvalidActionEnvMultiDiscrete,
)
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from gtr.integrations.sb3_contrib import MaskableGTR, RecurrentGTR
from gtr.integrations.stable_baselines3 import MovementCallback
from tests.integrations.probes import InDictionary, Reversing

MASKED = {
    "discrete": lambda: InvalidActionEnvDiscrete(dim=6, n_invalid_actions=2),
    "multi-discrete": lambda: InvalidActionEnvMultiDiscrete(dims=[2, 3], n_invalid_actions=1),
    "multi-binary": lambda: InvalidActionEnvMultiBinary(dims=3, n_invalid_actions=1),
}
SMALL: dict[str, Any] = {"n_steps": 32, "batch_size": 16, "n_epochs": 2, "seed": 1, "device": "cpu"}
LSTM = {"lstm_hidden_size": 8}


def parameters(model: Any) -> list[Tensor]:
    return [p.detach().clone() for p in model.policy.parameters()]


def assert_same(first: Any, second: Any) -> None:
    for p, q in zip(parameters(first), parameters(second), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=0)


def assert_apart(first: Any, second: Any) -> None:
    pairs = zip(parameters(first), parameters(second), strict=True)
    assert not all(torch.equal(p, q) for p, q in pairs)


@pytest.mark.parametrize("world", MASKED)
def test_with_masks_stiffness_zero_is_maskable_ppo_and_more_is_not(world: str):
    own, zero, stiff = (
        cls("MlpPolicy", MASKED[world](), **SMALL, **numbers).learn(96)
        for cls, numbers in (
            (MaskablePPO, {}),
            (MaskableGTR, {"stiffness": 0.0}),
            (MaskableGTR, {"stiffness": 5.0}),
        )
    )
    assert_same(own, zero)
    assert_apart(own, stiff)


@pytest.mark.parametrize("policy", ["MlpLstmPolicy", "MultiInputLstmPolicy"])
def test_with_a_memory_stiffness_zero_is_recurrent_ppo_and_more_is_not(policy: str):
    world = Reversing if policy == "MlpLstmPolicy" else lambda: InDictionary(Reversing())
    settings = SMALL | {"n_steps": 12, "batch_size": 16, "policy_kwargs": LSTM}
    own, zero, stiff = (
        cls(policy, DummyVecEnv([world] * 2), **settings, **numbers).learn(72)
        for cls, numbers in (
            (RecurrentPPO, {}),
            (RecurrentGTR, {"stiffness": 0.0}),
            (RecurrentGTR, {"stiffness": 5.0}),
        )
    )
    assert_same(own, zero)
    assert_apart(own, stiff)


@pytest.mark.parametrize("cls", [MaskableGTR, RecurrentGTR])
def test_the_first_rollouts_anchors_say_what_the_behaviour_policy_said(cls: Any):
    """They are that policy, and have its masks and its memory: so the spread is 0."""
    if cls is MaskableGTR:
        model = cls("MlpPolicy", MASKED["discrete"](), **SMALL)
    else:
        env = DummyVecEnv([Reversing] * 2)
        model = cls("MlpLstmPolicy", env, **SMALL, policy_kwargs=LSTM)
    model.learn(32)
    assert model.logger.name_to_value["gtr/anchor_spread"] < 1e-6
    assert model.logger.name_to_value["gtr/kernel_mean"] < 1  # and then it moved


@pytest.mark.parametrize("cls", [MaskableGTR, RecurrentGTR])
def test_saved_and_loaded_with_anchors(cls: Any, tmp_path):
    if cls is MaskableGTR:
        world, settings = MASKED["discrete"], SMALL
    else:
        world, settings = Reversing, SMALL | {"policy_kwargs": LSTM}
    policy = "MlpPolicy" if cls is MaskableGTR else "MlpLstmPolicy"
    model = cls(policy, world(), anchors=3, every=1, **settings).learn(64)
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model", env=world(), device="cpu")
    kept, found = (m.recent_policies.state_dict() for m in (model, loaded))
    assert found["iteration"] == 2
    assert all(torch.equal(kept[name], found[name]) for name in kept)
    assert len(kept) == len(found) == 1 + 2 * len(parameters(model))
    loaded.learn(32, reset_num_timesteps=False)


def test_movement_with_masks_stays_within_them_and_with_a_memory_reads_it():
    movement = MovementCallback(window=2, verbose=0)
    MaskablePPO("MlpPolicy", MASKED["discrete"](), **SMALL).learn(96, callback=movement)
    assert 0 < movement.stretches[0].path_length < 2
    share = movement.stretches[0].entropy_share
    assert share == pytest.approx(1, abs=1e-2)  # of the four actions that are allowed

    settings = SMALL | {"learning_rate": 0.0, "policy_kwargs": LSTM}
    movement = MovementCallback(window=2, verbose=0)
    RecurrentPPO("MlpLstmPolicy", Reversing(), **settings).learn(96, callback=movement)
    np.testing.assert_allclose(movement.stretches[0].path_length, 0, atol=1e-7)
