import json
import re
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import ObservationWrapper, RewardWrapper, spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.envs import (
    FakeImageEnv,
    IdentityEnv,
    IdentityEnvBox,
    IdentityEnvMultiBinary,
    IdentityEnvMultiDiscrete,
)
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import Tensor, nn

from gtr.errors import GTRError
from gtr.integrations.recent_policies import RecentPolicies
from gtr.integrations.stable_baselines3 import GTR, MovementCallback
from gtr.objective import Recent, evaluate, gaussian_trust_region
from tests.integrations.conformance import Conformance
from tests.integrations.probes import InDictionary, Reversing


def copies(number: int = 4, every: int = 10**9) -> DummyVecEnv:
    return DummyVecEnv([lambda: Reversing(every)] * number)


def small(cls: type[PPO], env: Any = None, policy: str = "MlpPolicy", **changes: Any) -> Any:
    settings: dict[str, Any] = {
        "n_steps": 16,
        "batch_size": 32,
        "n_epochs": 2,
        "learning_rate": 1e-3,
        "seed": 1,
        "device": "cpu",
    }
    return cls(policy, copies() if env is None else env, **settings | changes)


def parameters(model: PPO) -> list[Tensor]:
    return [p.detach().clone() for p in model.policy.parameters()]


def kept(model: GTR) -> list[Tensor]:
    """Of all snapshots, newest first, and the number of rollouts last."""
    return list(model.recent_policies.state_dict().values())


def copy_of(policy: Any) -> Any:
    other = type(policy)(**policy._get_constructor_parameters())
    other.load_state_dict(policy.state_dict())
    return other


class Collectors(BaseCallback):
    """A copy of each policy that collected a rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.policies: list[Any] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        self.policies.append(copy_of(self.model.policy))


class TestConformance(Conformance):
    def gradients(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        numbers = {"stiffness": 2.0, "radius": 0.3, "anchors": 3, "every": 1, "decay": 0.9}
        model = small(
            GTR,
            batch_size=64,
            learning_rate=1e-2,
            max_grad_norm=1e9,
            ent_coef=0.05,
            normalize_advantage=False,
            **numbers,
        )
        seen: dict[str, Any] = {}

        def look(optimizer: Any, *_: Any) -> None:
            seen["policy"] = copy_of(model.policy)
            seen["gradients"] = [p.grad.clone() for p in model.policy.parameters()]

        model.policy.optimizer.register_step_pre_hook(look)
        collectors = Collectors()
        model.learn(3 * 64, callback=collectors)

        buffer, policy = model.rollout_buffer, seen["policy"]
        observations = torch.as_tensor(buffer.observations)
        actions = torch.as_tensor(buffer.actions).flatten()
        anchor = Recent(3, 1, 0.9)
        recent = RecentPolicies(anchor, nn.Linear(1, 1))
        recent.iteration = 2
        asked = recent.numbers(64)
        assert len(asked.unique()) == 3
        with torch.no_grad():
            said = [
                collector.evaluate_actions(observations, actions)[1]
                for collector in reversed(collectors.policies)
            ]
        assert (said[0] - said[1]).abs().max() > 0.01
        assert (said[1] - said[2]).abs().max() > 0.01
        values, log_prob, entropy = policy.evaluate_actions(observations, actions)
        advantage = torch.as_tensor(buffer.advantages).flatten()
        parts = evaluate(
            gaussian_trust_region(**numbers),
            log_prob=log_prob,
            behaviour_log_prob=said[0],
            anchor_log_probs=torch.stack(said, 1).gather(1, asked[:, None]),
            anchor_weights=np.ones(1),
            advantage=advantage,
            stiffness=2.0 * advantage.square().mean().sqrt().item(),
        )
        assert parts.penalty.max() > 0.01
        returns = torch.as_tensor(buffer.returns).flatten()
        value_loss = (values.flatten() - returns).square().mean()
        loss = parts.penalty.mean() - parts.surrogate.mean() - 0.05 * entropy.mean()
        expected = torch.autograd.grad(loss + 0.5 * value_loss, list(policy.parameters()))
        return seen["gradients"], expected

    def trained(self, method: str) -> Sequence[Tensor]:
        model = small(GTR, stiffness=0.0) if method == "gtr" else small(PPO)
        return parameters(model.learn(256))

    def uninterrupted_and_resumed(
        self, directory: Path
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        whole = small(GTR, anchors=3, every=2).learn(3 * 64)
        whole.save(directory / "midway")
        resumed = GTR.load(directory / "midway", env=copies(), device="cpu")
        assert resumed.anchors == 3
        found = []
        for model in (whole, resumed):
            model._last_obs = None  # as `load` leaves it: episodes begin anew
            model.set_random_seed(7)
            model.learn(3 * 64, reset_num_timesteps=False)
            found.append([*parameters(model), *kept(model)])
        return found[0], found[1]

    def build(self, **numbers: Any) -> Any:
        return small(GTR, **numbers)

    def share_that_pays_after_two_changes(self) -> float:
        env = copies(every=512)
        settings = {"n_steps": 64, "batch_size": 64, "n_epochs": 4, "learning_rate": 1e-2}
        model = small(GTR, env, ent_coef=0.01, **settings)
        model.learn(3 * 4 * 512 - 256)
        world = env.envs[0]
        assert world.steps // 512 == 2
        observations = np.array([[-1.0], [1.0]], np.float32)
        actions, _ = model.predict(observations, deterministic=True)
        return float(np.mean(actions == world.paying(observations)))


class Dropout(BaseFeaturesExtractor):
    def __init__(self, space: spaces.Box) -> None:
        super().__init__(space, 8)
        self.layers = nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))

    def forward(self, observations: Tensor) -> Tensor:
        return self.layers(observations)


def seeded(env: Any) -> Any:
    """An environment that draws from its spaces, which nobody else seeds."""
    env.observation_space.seed(0)
    env.action_space.seed(0)
    return env


CASES: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "box": (lambda: IdentityEnvBox(), "MlpPolicy", {}),
    "gsde": (lambda: IdentityEnvBox(), "MlpPolicy", {"use_sde": True, "sde_sample_freq": 4}),
    "squashed": (
        lambda: IdentityEnvBox(),
        "MlpPolicy",
        {"use_sde": True, "policy_kwargs": {"squash_output": True}},
    ),
    "multi-discrete": (lambda: IdentityEnvMultiDiscrete(3), "MlpPolicy", {}),
    "multi-binary": (lambda: IdentityEnvMultiBinary(3), "MlpPolicy", {}),
    "images": (lambda: FakeImageEnv(2, 36, 36), "CnnPolicy", {"n_steps": 4, "batch_size": 4}),
    "dictionary": (
        lambda: InDictionary(Reversing()),
        "MultiInputPolicy",
        {},
    ),
    "dropout": (
        lambda: Reversing(),
        "MlpPolicy",
        {"policy_kwargs": {"features_extractor_class": Dropout}},
    ),
    "ragged minibatches": (lambda: IdentityEnv(3), "MlpPolicy", {"batch_size": 15}),
    "advantages as they are": (
        lambda: IdentityEnv(3),
        "MlpPolicy",
        {"normalize_advantage": False, "vf_coef": 0.3, "ent_coef": 0.01},
    ),
    "schedules": (
        lambda: IdentityEnv(3),
        "MlpPolicy",
        {"clip_range": lambda left: 0.1 + 0.2 * left, "clip_range_vf": 0.1},
    ),
    "target_kl": (lambda: IdentityEnv(3), "MlpPolicy", {"target_kl": 1e-4, "n_epochs": 8}),
}
both_widths = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")


@both_widths
@pytest.mark.parametrize("case", CASES)
def test_whatever_the_spaces_and_settings_stiffness_zero_is_ppo_and_more_is_not(case: str):
    world, policy, settings = CASES[case]
    trained = []
    for cls, numbers in ((PPO, {}), (GTR, {"stiffness": 0.0}), (GTR, {"stiffness": 5.0})):
        env = DummyVecEnv([lambda: seeded(world())] * 2)
        model = small(cls, env, policy, **settings | numbers)
        trained.append(parameters(model.learn(3 * 2 * model.n_steps)))
        assert all(torch.isfinite(p).all() for p in trained[-1])
    own, zero, stiff = trained
    assert all(torch.equal(p, q) for p, q in zip(own, zero, strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(own, stiff, strict=True))


def test_a_clip_range_that_ends_at_zero_and_beyond_is_trained_with():
    model = small(GTR, clip_range=lambda left: 0.2 * left).learn(100)  # two rollouts of 64
    assert model.num_timesteps == 128
    assert all(torch.isfinite(p).all() for p in parameters(model))


def test_anchors_are_asked_in_evaluation_mode_and_each_row_in_its_place():
    """The first rollout's anchors are the behaviour policy, so they say what it said."""
    world, policy, settings = CASES["dropout"]
    model = small(GTR, DummyVecEnv([world] * 4), policy, batch_size=4, **settings)
    model.learn(64)
    assert model.logger.name_to_value["gtr/anchor_spread"] < 1e-6


def test_the_diagnostics_are_logged_beside_ppos_own_names():
    with_gtr, without = (small(cls).learn(128) for cls in (GTR, PPO))
    found, own = (model.logger.name_to_value for model in (with_gtr, without))
    assert set(found) - set(own) == {
        f"gtr/{name}"
        for name in (
            "anchor_spread",
            "clip_fraction",
            "escape_advantage",
            "kernel_mean",
            "kl",
            "ratio_max",
            "redescended_advantage",
            "redescended_fraction",
            "stiffness",
        )
    }
    assert set(own) <= set(found)
    assert found["gtr/kl"] == pytest.approx(found["train/approx_kl"], abs=1e-6)
    assert found["gtr/stiffness"] == 0.25


def test_what_ppo_saved_is_loaded_and_its_policy_is_every_anchor(tmp_path: Path):
    small(PPO).learn(64).save(tmp_path / "ppo")
    model = GTR.load(tmp_path / "ppo", env=copies(), stiffness=0.5, device="cpu")
    before = parameters(model)
    model.learn(64, reset_num_timesteps=False)
    assert model.stiffness == 0.5
    *snapshots, rollouts = kept(model)
    assert rollouts == 1
    for i, tensor in enumerate(snapshots):
        assert torch.equal(tensor, before[i % len(before)])
    with pytest.raises(ValueError, match="do not match"):
        model.set_parameters({"policy": model.policy.state_dict()})


def test_the_archive_has_one_file_more_and_nothing_more_that_is_pickled(tmp_path: Path):
    names, pickled = [], []
    for cls in (PPO, GTR):
        small(cls).save(tmp_path / "model.zip")
        with zipfile.ZipFile(tmp_path / "model.zip") as archive:
            names.append(set(archive.namelist()))
            data = json.loads(archive.read("data"))
        pickled.append({k for k, v in data.items() if isinstance(v, dict) and ":serialized:" in v})
    assert names[1] - names[0] == {"recent_policies.pth"}
    assert pickled[1] == pickled[0]


def test_loading_other_numbers_of_anchors_is_refused(tmp_path: Path):
    small(GTR, anchors=3).save(tmp_path / "model")
    with pytest.raises(GTRError, match="set anchors=3"):
        GTR.load(tmp_path / "model", anchors=4, device="cpu")


class Failing(RewardWrapper):
    def reward(self, reward: Any) -> float:
        return float("nan")


class Blind(ObservationWrapper):
    def observation(self, observation: np.ndarray) -> np.ndarray:
        return np.full_like(observation, np.inf)


@pytest.mark.parametrize(("wrapper", "culprit"), [(Failing, "return"), (Blind, "observation")])
def test_nan_stops_training_names_the_culprit_and_spares_the_weights(wrapper: Any, culprit: str):
    model = small(GTR, DummyVecEnv([lambda: wrapper(IdentityEnvBox())] * 4))
    before = parameters(model)
    with pytest.raises(GTRError, match=f"NaN or Inf in the {culprit} after 64 steps, in update 1"):
        model.learn(64)
    assert all(torch.equal(p, q) for p, q in zip(before, parameters(model), strict=True))


def test_a_gradient_that_overflows_stops_training():
    model = small(GTR, max_grad_norm=float("inf"), vf_coef=1e38)
    with pytest.raises(GTRError, match=r"NaN or Inf in the (gradient|loss)"):
        model.learn(64)


def test_a_buffer_of_ones_own_will_do():
    class Own(RolloutBuffer):
        pass

    own = small(GTR, rollout_buffer_class=Own).learn(128)
    usual = small(GTR).learn(128)
    assert all(torch.equal(p, q) for p, q in zip(parameters(own), parameters(usual), strict=True))
    assert own.rollout_buffer.log_probs.shape == (64, 1)


def test_watching_movement_changes_nothing():
    alone, watched = small(PPO).learn(256), small(PPO)
    watched.learn(256, callback=MovementCallback(window=2, verbose=0))
    pairs = zip(parameters(alone), parameters(watched), strict=True)
    assert all(torch.equal(p, q) for p, q in pairs)


def test_movement_is_that_of_the_policies_on_the_first_rollouts_observations():
    model, collectors = small(PPO, learning_rate=3e-3), Collectors()
    movement = MovementCallback(window=3, probes=64, verbose=0)
    model.learn(4 * 64, callback=[movement, collectors])
    # Of Reversing only two observations exist, equally often but for chance.
    first = movement.stretches[0]
    observed = torch.tensor([[-1.0], [1.0]])
    with torch.no_grad():
        roots = [
            policy.get_distribution(observed).distribution.probs.sqrt()
            for policy in collectors.policies
        ]

    def apart(p: Tensor, q: Tensor) -> np.ndarray:
        return np.sqrt(0.5 * ((p - q) ** 2).sum(-1).numpy())

    steps = [apart(p, q) for p, q in pairwise(roots)]
    low, high = np.sort(np.sum(steps, 0))
    assert low - 1e-6 <= first.path_length <= high + 1e-6
    low, high = np.sort(apart(roots[0], roots[-1]))
    assert low - 1e-6 <= first.net_displacement <= high + 1e-6
    assert first.timesteps == 3 * 64
    assert len(first.returns) == 0  # no Monitor in this environment


def test_windows_are_closed_and_no_update_is_counted_twice():
    model, movement = (
        small(PPO, IdentityEnv(3, ep_length=4), batch_size=16),
        MovementCallback(2, verbose=0),
    )
    assert movement.diagnosis() == "Is it stuck? No update was seen yet."
    for _ in range(5):  # one rollout each; the policy after it is seen at the end, and again
        model.learn(16, callback=movement, reset_num_timesteps=False)
    assert [stretch.updates for stretch in movement.stretches] == [2, 2]
    assert [stretch.timesteps for stretch in movement.stretches] == [32, 32]
    assert [len(stretch.returns) for stretch in movement.stretches] == [8, 8]
    assert "The last 2 updates (32 steps)" in movement.diagnosis()


def test_a_policy_that_does_not_learn_is_still(capsys: pytest.CaptureFixture[str]):
    env = VecNormalize(copies(), norm_reward=False)
    model = small(PPO, env, learning_rate=0.0)
    model.learn(3 * 64, callback=MovementCallback(window=2))
    text = capsys.readouterr().out
    assert "path length 0, net displacement 0" in text
    assert ": still" in text
    assert "observations: normalised, their standard deviation" in text


@pytest.mark.parametrize(
    "case", ["box", "gsde", "multi-discrete", "multi-binary", "images", "dictionary"]
)
def test_movement_is_measured_whatever_the_spaces(case: str):
    world, policy, settings = CASES[case]
    movement = MovementCallback(window=2, verbose=0)
    model = small(GTR, DummyVecEnv([world] * 2), policy, **settings)
    model.learn(3 * 2 * model.n_steps, callback=movement)
    stretch = movement.stretches[0]
    assert 0 < stretch.net_displacement <= stretch.path_length < 2
    assert -1 <= stretch.step_cosine <= 1
    assert (stretch.std is None) == (case not in ("box", "gsde"))


def test_movement_of_what_has_no_rollouts_is_refused():
    model = DQN("MlpPolicy", Reversing(), learning_starts=4, buffer_size=8, device="cpu")
    with pytest.raises(GTRError, match="which DQN has not"):
        model.learn(8, callback=MovementCallback())
    with pytest.raises(GTRError, match="window is 0"):
        MovementCallback(window=0)


@pytest.mark.parametrize("page", ["integrations/stable-baselines3", "is-your-ppo-stuck"])
def test_the_pages_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = (Path(__file__).parents[2] / f"docs/{page}.md").read_text()
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "page"}
    for code in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        exec(compile(code.replace("100_000", "64").replace("=512", "=64"), page, "exec"), space)
