import copy
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.nn import (
    CompositeDistribution,
    TensorDictModule,
    TensorDictSequential,
    set_composite_lp_aggregate,
)
from torch import Tensor, nn
from torch.distributions import Categorical
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, SamplerWithoutReplacement, TensorDictReplayBuffer
from torchrl.envs import Compose, GymWrapper, InitTracker, SerialEnv, TransformedEnv
from torchrl.modules import LSTMModule, ProbabilisticActor, ValueOperator, set_recurrent_mode
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE
from torchrl.trainers.algorithms import PPOTrainer

from gtr.errors import GTRError
from gtr.integrations.recent_policies import RecentPolicies
from gtr.integrations.torchrl import GTRLoss
from gtr.objective import Recent, batch_stiffness, evaluate, gaussian_trust_region
from tests.integrations.conformance import Conformance
from tests.integrations.probes import Reversing
from tests.test_docs import ROOT, blocks, execute


def networks(inputs: int = 1) -> tuple[ProbabilisticActor, ValueOperator]:
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, 2))
    value = nn.Sequential(nn.Linear(inputs, 16), nn.Tanh(), nn.Linear(16, 1))
    actor = ProbabilisticActor(
        TensorDictModule(policy, ["observation"], ["logits"]),
        in_keys=["logits"],
        distribution_class=Categorical,
        return_log_prob=True,
    )
    return actor, ValueOperator(value, in_keys=["observation"])


def batch(*shape: int, inputs: int = 1, seed: int = 0) -> TensorDict:
    """As a collector and an advantage module leave it."""
    generator = torch.Generator().manual_seed(seed)
    reward = torch.randn(*shape, 1, generator=generator)
    return TensorDict(
        {
            "observation": torch.randn(*shape, inputs, generator=generator),
            "action": torch.randint(2, shape, generator=generator),
            "action_log_prob": -0.7 + 0.2 * torch.randn(shape, generator=generator),
            "advantage": 3 * reward,
            "value_target": reward,
            "next": {
                "observation": torch.randn(*shape, inputs, generator=generator),
                "reward": reward,
                "done": torch.zeros(*shape, 1, dtype=torch.bool),
                "terminated": torch.zeros(*shape, 1, dtype=torch.bool),
            },
        },
        shape,
    )


def backward(losses: TensorDictBase) -> None:
    (losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]).backward()


class Training:
    """A user's script: collector, GAE, loss, optimiser."""

    def __init__(self, loss_class: type[ClipPPOLoss] = GTRLoss, **options: Any) -> None:
        self.actor, self.critic = networks()
        self.loss = loss_class(self.actor, self.critic, **options)
        self.gae = GAE(gamma=0.0, lmbda=0.0, value_network=self.critic)
        self.optimiser = torch.optim.Adam(self.loss.parameters(), 2e-2)

    def learn(self, batches: int, env: gymnasium.Env, frames: int = 64) -> None:
        wrapped = GymWrapper(env, categorical_action_encoding=True)
        wrapped.set_seed(0)
        collector = Collector(
            wrapped,
            self.actor,
            frames_per_batch=frames,
            total_frames=frames * batches,
            auto_register_policy_transforms=False,
        )
        for data in collector:
            self.gae(data)
            if isinstance(self.loss, GTRLoss):
                self.loss.collected(data)
            for _ in range(4):
                for rows in torch.randperm(frames).split(frames // 2):
                    backward(self.loss(data[rows]))
                    self.optimiser.step()
                    self.optimiser.zero_grad()
        collector.shutdown()


class TestGTRLoss(Conformance):
    def gradients(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        actor, critic = networks()
        loss = GTRLoss(actor, critic, anchors=2, every=1, stiffness=3.0, entropy_bonus=False)
        loss.collected(batch(32))
        anchor = copy.deepcopy(actor)
        with torch.no_grad():
            for parameter in actor.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        data, plain = loss.collected(batch(64, seed=1)), batch(64, seed=1)
        loss(data)["loss_objective"].backward()
        found = [parameter.grad for parameter in actor.parameters()]

        def log_prob(policy: nn.Module) -> Tensor:
            logits = policy.module[0].module(plain["observation"])
            return logits.log_softmax(-1).gather(-1, plain["action"][:, None])[:, 0]

        present, behaviour = log_prob(actor), plain["action_log_prob"]
        spoken = torch.stack([behaviour, log_prob(anchor).detach()], -1)
        method = gaussian_trust_region(anchors=2, every=1, stiffness=3.0)
        assert isinstance(method.anchor, Recent)
        dealing = RecentPolicies(method.anchor, actor)
        dealing.collected()
        is_kept = dealing.numbers(64) == 1
        advantage = plain["advantage"][:, 0]
        evaluation = evaluate(
            method,
            log_prob=present,
            behaviour_log_prob=behaviour,
            anchor_log_probs=torch.where(is_kept, spoken[:, 1], spoken[:, 0])[:, None],
            anchor_weights=[1.0],
            advantage=advantage,
            stiffness=batch_stiffness(method, advantage),
        )
        expected = torch.autograd.grad(
            evaluation.penalty.mean() - evaluation.surrogate.mean(), list(actor.parameters())
        )
        return found, expected

    def trained(self, method: str) -> Sequence[Tensor]:
        options = {"stiffness": 0.0} if method == "gtr" else {}
        training = Training(GTRLoss if method == "gtr" else ClipPPOLoss, **options)
        training.learn(3, Reversing())
        return list(training.loss.parameters())

    def uninterrupted_and_resumed(
        self, directory: Path
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        first = Training(anchors=3)
        first.learn(3, Reversing())
        torch.save(
            {"loss": first.loss.state_dict(), "optimiser": first.optimiser.state_dict()},
            directory / "saved.pt",
        )
        second = Training(anchors=3)
        saved = torch.load(directory / "saved.pt", weights_only=True)
        second.loss.load_state_dict(saved["loss"])
        second.optimiser.load_state_dict(saved["optimiser"])
        found = []
        for training in (first, second):
            torch.manual_seed(1)
            training.learn(3, Reversing())
            found.append([*training.loss.parameters(), *anchors(training.loss)])
        return found[0], found[1]

    def build(self, **numbers: Any) -> Any:
        return GTRLoss(*networks(), **numbers)

    def share_that_pays_after_two_changes(self) -> float:
        env = Reversing(every=512)
        training = Training(entropy_coeff=0.2)
        training.learn(24, env)
        assert env.steps == 3 * env.every
        env.steps -= 1  # still in the last phase
        observation = torch.tensor([[-1.0], [1.0]])
        logits = training.actor.module[0].module(observation)
        return float((logits.argmax(-1).numpy() == env.paying(observation.numpy())).mean())


def anchors(loss: GTRLoss) -> list[Tensor]:
    return [x for one in loss.get_extra_state()["recent"]["snapshots"] for x in one.values()]


@pytest.mark.parametrize(
    "options",
    [
        {"delay_actor": True, "max_importance_ratio": 1.1},
        {"clip_epsilon": (0.1, 0.3), "normalize_advantage": True},
        {"reduction": "none", "clip_epsilon": 0.1},
        {"reduction": "sum", "functional": False},
        {"critic_coeff": 0.0, "entropy_bonus": False},
    ],
)
@pytest.mark.filterwarnings("ignore:No target network updater:UserWarning")  # as in a plain test
def test_a_stiffness_of_zero_is_clip_ppo_with_all_its_options(options: dict[str, Any]) -> None:
    found = []
    for loss_class, numbers in ((GTRLoss, {"stiffness": 0.0}), (ClipPPOLoss, {})):
        loss = loss_class(*networks(), **options, **numbers)
        data = batch(5, 4)
        if isinstance(loss, GTRLoss):
            loss.collected(data)
        losses = loss(data.reshape(-1))
        losses["loss_objective"].sum().backward()
        found.append((losses, [p.grad for p in loss.parameters() if p.grad is not None]))
    (ours, our_slopes), (own, own_slopes) = found
    added = set(ours.keys()) - set(own.keys())
    assert len(added) == 8
    assert all(name.startswith("gtr/") for name in added)
    for name, value in own.items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=0)
    for mine, other in zip(our_slopes, own_slopes, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:No target network updater:UserWarning")
def test_the_penalty_is_the_present_policys_where_the_clip_is_around_a_target() -> None:
    penalties = []
    for options in ({}, {"delay_actor": True}):
        objectives = []
        for loss_class, numbers in ((GTRLoss, {"stiffness": 3.0}), (ClipPPOLoss, {})):
            actor, critic = networks()
            loss = loss_class(actor, critic, **options, **numbers)
            data = batch(16)
            if isinstance(loss, GTRLoss):
                loss.collected(data)
            with torch.no_grad():
                for parameter in actor.parameters():
                    parameter.add_(0.2)
            objectives.append(loss(data)["loss_objective"])
        penalties.append(objectives[0] - objectives[1])
    assert penalties[0] > 0.1
    torch.testing.assert_close(penalties[0], penalties[1])


def test_what_is_out_of_turn_is_refused() -> None:
    loss = GTRLoss(*networks())
    with pytest.raises(GTRError, match="call collected"):
        loss(batch(4))
    with pytest.raises(GTRError, match="call the advantage module"):
        loss.collected(batch(4).exclude("advantage"))
    data = batch(4)
    data["advantage"][2] = torch.nan
    with pytest.raises(GTRError, match="holds NaN"):
        loss.collected(data)
    data = loss.collected(batch(4))
    with pytest.raises(GTRError, match="once a batch"):
        loss.collected(data)


def test_padding_counts_for_nothing() -> None:
    loss = GTRLoss(*networks(), stiffness=3.0, every=1)
    found = []
    for padding in (0, 3):
        data = batch(6 + padding)
        data[:6] = batch(6)
        data["collector", "mask"] = torch.arange(6 + padding)[:, None] < 6
        data["advantage"][6:] = 1e3
        loss.set_extra_state(None)
        loss.collected(data)
        data["anchor_log_prob"][6:] = torch.nan
        found.append(loss(data))
    for name in ("loss_objective", "gtr/stiffness", "gtr/kernel_mean", "gtr/kl"):
        torch.testing.assert_close(found[0][name], found[1][name])


def test_an_action_of_several_parts_has_one_anchor() -> None:
    torch.manual_seed(0)
    net = nn.Linear(1, 4)
    head = TensorDictModule(
        lambda x: (net(x)[..., :2], net(x)[..., 2:]),
        ["observation"],
        [("params", "a", "logits"), ("params", "b", "logits")],
    )
    head.net = net
    actor = ProbabilisticActor(
        head,
        in_keys=["params"],
        distribution_class=CompositeDistribution,
        distribution_kwargs={
            "distribution_map": {"a": Categorical, "b": Categorical},
            "name_map": {"a": "a", "b": "b"},
        },
        return_log_prob=True,
    )
    with set_composite_lp_aggregate(False):
        data = TensorDict({"observation": torch.randn(8, 4, 1)}, [8, 4])
        with torch.no_grad():
            actor(data)
        data = data.exclude("params").set("advantage", torch.randn(8, 4, 1))
        loss = GTRLoss(actor, None, anchors=2, every=1)
        data = data.reshape(-1)
        loss.collected(data.copy())
        loss.collected(data)
        expected = data["a_log_prob"] + data["b_log_prob"]
        torch.testing.assert_close(data["anchor_log_prob"], expected)
        losses = loss(data)
    assert losses["gtr/kernel_mean"] == pytest.approx(1.0)


def test_a_network_with_a_memory_reads_whole_stretches() -> None:
    torch.manual_seed(0)
    memory = LSTMModule(1, 8, in_key="observation", out_key="embedding")
    actor = ProbabilisticActor(
        TensorDictSequential(memory, TensorDictModule(nn.Linear(8, 2), ["embedding"], ["logits"])),
        in_keys=["logits"],
        distribution_class=Categorical,
        return_log_prob=True,
    )
    env = TransformedEnv(
        SerialEnv(2, lambda: GymWrapper(Reversing(), categorical_action_encoding=True)),
        Compose(InitTracker(), memory.make_tensordict_primer()),
    )
    loss = GTRLoss(actor, None, anchors=4, every=1, decay=1.0)
    with set_recurrent_mode(True):
        for _ in range(2):
            with set_recurrent_mode(False), torch.no_grad():
                data = env.rollout(20, actor, break_when_any_done=False)
            data["advantage"] = data["next", "reward"]
            loss.collected(data)
    # The weights are what they were, so each policy says the same, if it has read the same.
    torch.testing.assert_close(data["anchor_log_prob"], data["action_log_prob"])


def test_from_weights_that_were_loaded_it_begins_with_those() -> None:
    actor, critic = networks()
    own = ClipPPOLoss(actor, critic)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(1.0)
    loss = GTRLoss(*networks(), anchors=2)
    missing, _ = loss.load_state_dict(own.state_dict(), strict=False)
    assert missing == ["_extra_state"]
    loss.collected(batch(4))
    for kept, parameter in zip(anchors(loss), actor.parameters(), strict=True):
        torch.testing.assert_close(kept, parameter.data, rtol=0, atol=0)


def test_it_is_called_with_tensors_as_well() -> None:
    loss = GTRLoss(*networks(inputs=3))
    loss.set_keys(anchor_log_prob="reference")
    data = loss.collected(batch(4, inputs=3))
    data = data.exclude("advantage", "value_target")  # the loss computes them then
    expected = loss(data)
    loss.select_out_keys("loss_objective", "gtr/kernel_mean")
    flat = data.flatten_keys("_")
    objective, kernel_mean = loss(**dict(flat.items()))
    torch.testing.assert_close(objective, expected["loss_objective"])
    torch.testing.assert_close(kernel_mean, expected["gtr/kernel_mean"])


@pytest.mark.filterwarnings("ignore:PPOTrainer is an experimental:UserWarning")
@pytest.mark.filterwarnings("ignore:The .* hook stage will be replaced:FutureWarning")
def test_a_trainers_hook_tells_of_each_batch() -> None:
    training = Training()
    collector = Collector(
        GymWrapper(Reversing(), categorical_action_encoding=True),
        training.actor,
        frames_per_batch=32,
        total_frames=96,
        auto_register_policy_transforms=False,
    )
    trainer = PPOTrainer(
        collector=collector,
        total_frames=96,
        frame_skip=1,
        optim_steps_per_batch=2,
        num_epochs=2,
        loss_module=training.loss,
        optimizer=training.optimiser,
        replay_buffer=TensorDictReplayBuffer(
            storage=LazyTensorStorage(32), sampler=SamplerWithoutReplacement(), batch_size=16
        ),
        gae=training.gae,
        progress_bar=False,
        enable_logging=False,
    )
    hook = training.loss.collected
    trainer.register_op("batch_process", lambda batch: hook(training.gae(batch)))
    trainer.train()
    assert training.loss.get_extra_state()["recent"]["iteration"] == 3


def test_without_the_framework_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchrl.objectives", None)
    monkeypatch.delitem(sys.modules, "gtr.integrations.torchrl")
    with pytest.raises(GTRError, match=r"pip install 'gtr-rl\[torchrl\]'"):
        importlib.import_module("gtr.integrations.torchrl")


def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "snippet"}
    for code in blocks(ROOT / "docs/integrations/torchrl.md", "python"):
        execute(code, space)
