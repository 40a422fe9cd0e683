import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.tune import register_env
from torch import Tensor

from gtr.errors import GTRError
from gtr.integrations.recent_policies import RecentPolicies
from gtr.integrations.rllib import GTR, GTRConfig, GTRTorchLearner
from gtr.objective import batch_stiffness, evaluate
from tests.integrations.conformance import Conformance
from tests.integrations.probes import Reversing
from tests.ray_cluster import local_cluster
from tests.test_docs import ROOT, blocks, execute

pytestmark = [
    # RLlib registers its environments with Gymnasium under one name, again with every env runner.
    pytest.mark.filterwarnings("ignore:.*Overriding environment rllib-single-agent-env"),
    # Ray copies a configuration of its own, with old names, to the workers of several learners.
    pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning:ray.data.context"),
]

MODULE = "default_policy"
EVERY = 1536
BATCH = 256


def environment(config: dict[str, Any]) -> Reversing:
    return Reversing(**config)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with local_cluster(6):
        register_env("reversing", environment)
        yield


def configured(config: PPOConfig, lstm: bool = False) -> Any:
    return (
        config.environment("reversing", env_config={"every": EVERY})
        .env_runners(num_env_runners=0)
        .training(
            train_batch_size_per_learner=BATCH,
            minibatch_size=64,
            num_epochs=4,
            lr=3e-3,
            entropy_coeff=0.01,
            grad_clip=0.5,
        )
        .rl_module(
            model_config={"fcnet_hiddens": [16]}
            | ({"use_lstm": True, "lstm_cell_size": 8, "max_seq_len": 4} if lstm else {})
        )
        .debugging(seed=0)
    )


def gtr(**numbers: Any) -> GTRConfig:
    return configured(GTRConfig()).training(**({"anchors": 3, "every": 1} | numbers))


def ppo() -> PPOConfig:
    return configured(PPOConfig()).training(use_kl_loss=False)


def learner_of(config: PPOConfig) -> Any:
    return config.build_learner(env=environment({}))


@pytest.fixture(scope="module")
def episodes(cluster: None) -> list[list[Any]]:
    """Three train batches of episodes, by a policy that does not learn."""
    runner = SingleAgentEnvRunner(config=gtr())
    return [runner.sample(num_timesteps=BATCH, random_actions=False) for _ in range(3)]


def update(learner: Any, batch: list[Any]) -> Any:
    # minibatches are shuffled by NumPy's generator
    np.random.seed(0)
    return learner.update(
        # connectors change episodes in place
        episodes=copy.deepcopy(batch),
        timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: 0},
        num_epochs=4,
        minibatch_size=64,
        shuffle_batch_per_epoch=True,
    )


def parameters(learner: Any) -> list[Tensor]:
    return [p.detach().clone() for p in learner.module[MODULE].parameters()]


def held(recent: RecentPolicies) -> dict[str, Tensor]:
    """What the module holds now, by name."""
    return {name: tensor.detach().clone() for name, tensor in recent._tensors().items()}


def snapshots(learner: GTRTorchLearner) -> list[Tensor]:
    kept = learner.get_state(components="anchors")["anchors"][MODULE]["snapshots"]
    return [torch.as_tensor(x) for snapshot in kept for x in snapshot.values()]


class TestRLlib(Conformance):
    @pytest.fixture(autouse=True)
    def collected(self, episodes: list[list[Any]]) -> None:
        self.episodes = episodes

    def gradients(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        learner = learner_of(gtr())
        for batch in self.episodes[:2]:
            update(learner, batch)
        module, recent = learner.module[MODULE], learner._policies(MODULE)
        numbers = recent.numbers(10_000)
        anchors = [held(recent)]
        for number in (1, 2):
            with recent.holding(number):
                anchors.append(held(recent))
        batch = learner._learner_connector(
            rl_module=learner.module,
            batch={},
            episodes=copy.deepcopy(self.episodes[2]),
            shared_data={},
            metrics=learner.metrics,
        )
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))

        out = learner.module.forward_train(batch)
        loss = learner.compute_losses(fwd_out=out, batch=batch)[MODULE]
        found = torch.autograd.grad(loss, list(module.parameters()))

        columns = batch[MODULE]
        mask, actions = columns[Columns.LOSS_MASK], columns[Columns.ACTIONS].long()

        def log_probs(tensors: dict[str, Tensor]) -> Tensor:
            fed = {Columns.OBS: columns[Columns.OBS]}
            logits = torch.func.functional_call(module, tensors, (fed,))[Columns.ACTION_DIST_INPUTS]
            return torch.log_softmax(logits, -1)

        own = dict(module.named_parameters())
        each = torch.stack(
            [log_probs(x).gather(-1, actions[:, None])[:, 0].detach() for x in anchors]
        )
        anchor = each.gather(0, numbers[: len(actions)][None])[0]
        # what anchor 0 said is what the policy that collected the samples said
        anchor = torch.where(numbers[: len(actions)] == 0, columns[Columns.ACTION_LOGP], anchor)
        method = learner.config.method
        logs = log_probs(own)
        evaluation = evaluate(
            method,
            log_prob=logs.gather(-1, actions[:, None])[:, 0],
            behaviour_log_prob=columns[Columns.ACTION_LOGP],
            anchor_log_probs=anchor[:, None],
            anchor_weights=np.ones(1),
            advantage=columns["advantages"],
            stiffness=batch_stiffness(method, columns["advantages"], mask=mask),
        )
        values = module.unwrapped().compute_values(columns)
        value_loss = ((values - columns["value_targets"]) ** 2).clamp(0, 10)[mask].mean()
        entropy = -(logs.exp() * logs).sum(-1)[mask].mean()
        straight = (
            evaluation.penalty[mask].mean()
            - evaluation.surrogate[mask].mean()
            + value_loss
            - 0.01 * entropy
        )
        return found, torch.autograd.grad(straight, list(own.values()))

    def trained(self, method: str) -> Sequence[Tensor]:
        learner = learner_of(gtr(stiffness=0.0) if method == "gtr" else ppo())
        for batch in self.episodes:
            update(learner, batch)
        return parameters(learner)

    def uninterrupted_and_resumed(
        self, directory: Path
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        whole = learner_of(gtr())
        for batch in self.episodes[:2]:
            update(whole, batch)
        whole.save_to_path(directory)
        resumed = learner_of(gtr())
        resumed.restore_from_path(directory)
        for learner in (whole, resumed):
            update(learner, self.episodes[2])
        return [[*parameters(learner), *snapshots(learner)] for learner in (whole, resumed)]  # type: ignore

    def build(self, **numbers: Any) -> Any:
        return gtr(**numbers).build_algo()

    def share_that_pays_after_two_changes(self) -> float:
        algorithm = gtr().build_algo()
        for _ in range(3 * EVERY // BATCH):
            algorithm.train()
        seen = torch.tensor([[-1.0], [1.0]])
        out = algorithm.get_module(MODULE).forward_inference({Columns.OBS: seen})
        algorithm.stop()
        # two changes: what paid at first pays again
        paying = torch.tensor([0, 1])
        return float((out[Columns.ACTION_DIST_INPUTS].argmax(-1) == paying).float().mean())


def test_the_measures_are_logged_beside_ppos(episodes: list[list[Any]]) -> None:
    learner = learner_of(gtr())
    for batch in episodes:
        results = update(learner, batch)
    logged = {name: stats.peek() for name, stats in results[MODULE]["gtr"].items()}
    assert logged["stiffness"] == pytest.approx(0.25, rel=0.1)
    assert 0 < logged["kernel_mean"] < 1
    assert logged["anchor_spread"] > 0
    assert "policy_loss" in results[MODULE]


def test_a_number_that_rllib_takes_for_none_is_refused_as_well() -> None:
    with pytest.raises(GTRError, match="stiffness is -1"):
        gtr(stiffness=-1)
    config = gtr()
    config.radius = 0.0
    with pytest.raises(GTRError, match="radius is 0"):
        config.validate()


def test_a_policy_with_a_memory_learns_from_whole_sequences(cluster: None) -> None:
    config = configured(GTRConfig(), lstm=True).training(anchors=3, every=1)
    runner = SingleAgentEnvRunner(config=config)
    learner = learner_of(config)
    for _ in range(3):
        results = update(learner, runner.sample(num_timesteps=BATCH, random_actions=False))
    assert 0 < results[MODULE]["gtr"]["kernel_mean"].peek() < 1


def test_a_batch_without_anchors_is_refused(episodes: list[list[Any]]) -> None:
    learner = learner_of(gtr())
    learner._learner_connector.remove("_AskAnchors")
    with pytest.raises(GTRError, match="lacks its anchors"):
        update(learner, episodes[0])


def test_weights_are_sent_without_the_anchors(episodes: list[list[Any]]) -> None:
    learner = learner_of(gtr())
    update(learner, episodes[0])
    assert "anchors" not in learner.get_state(components="rl_module")
    assert "anchors" not in learner.get_state(not_components="anchors")


def test_anchors_of_another_number_are_refused(episodes: list[list[Any]]) -> None:
    learner = learner_of(gtr())
    update(learner, episodes[0])
    with pytest.raises(GTRError, match="set anchors=3"):
        learner_of(gtr(anchors=5)).set_state(learner.get_state())


def test_the_pages_examples_run(cluster: None) -> None:
    space: dict[str, Any] = {"__name__": "page"}
    for code in blocks(ROOT / "docs/integrations/rllib.md", "python"):
        small = code.replace("4000", "256").replace("num_env_runners=2", "num_env_runners=0")
        execute(small, space)
    assert isinstance(space["algorithm"], GTR)


@pytest.mark.slow
def test_anchors_outlive_learners_that_are_killed(tmp_path: Path) -> None:
    config = gtr().env_runners(num_env_runners=2).learners(num_learners=2)
    algorithm = config.build_algo()
    for _ in range(3):
        algorithm.train()
    two = [x.get() for x in algorithm.learner_group.foreach_learner(snapshots)]
    assert len(two) == 2
    assert all(torch.equal(one, other) for one, other in zip(*two, strict=True))
    algorithm.save_to_path(tmp_path)
    for actor in algorithm.learner_group._workers:
        ray.kill(actor)
    algorithm.stop()

    restarted = Algorithm.from_checkpoint(str(tmp_path))
    assert isinstance(restarted, GTR)
    again = [x.get() for x in restarted.learner_group.foreach_learner(snapshots)]
    for theirs in again:
        assert all(torch.equal(one, other) for one, other in zip(theirs, two[0], strict=True))
    assert "gtr" in restarted.train()["learners"][MODULE]
    restarted.stop()
