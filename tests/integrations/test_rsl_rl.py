import copy
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rsl_rl.models import MLPModel
from rsl_rl.runners import OnPolicyRunner
from torch import Tensor
from torch.distributions import Normal

from gtr.errors import GTRError
from gtr.integrations.rsl_rl import GTR
from gtr.objective import batch_stiffness, evaluate
from tests.integrations.conformance import Conformance
from tests.integrations.vectorised_probe import Reversing
from tests.test_docs import ROOT, blocks, execute

OURS, OWN = "gtr.integrations.rsl_rl:GTR", "PPO"


def configuration(
    class_name: str, *, memory: bool = False, normalise: bool = True, **algorithm: Any
) -> dict[str, Any]:
    network: dict[str, Any] = {"class_name": "MLPModel", "hidden_dims": [16], "activation": "tanh"}
    if memory:
        network |= {"class_name": "RNNModel", "rnn_type": "gru", "rnn_hidden_dim": 8}
    network["obs_normalization"] = normalise
    distribution = {"class_name": "GaussianDistribution", "init_std": 1.0}
    own = {
        "class_name": class_name,
        "num_learning_epochs": 4,
        "num_mini_batches": 2,
        "learning_rate": 1e-2,
        "schedule": "adaptive",
        "desired_kl": 0.02,
        "gamma": 0.0,
    }
    return {
        "num_steps_per_env": 16,
        "save_interval": 1000,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"], "rnd_state": ["policy"]},
        "actor": network | {"distribution_cfg": distribution},
        "critic": dict(network),
        "algorithm": own | algorithm,
    }


def runner(class_name: str = OURS, env: Reversing | None = None, **options: Any) -> OnPolicyRunner:
    torch.manual_seed(0)
    return OnPolicyRunner(env or Reversing(), configuration(class_name, **options))


def collect(algorithm: GTR, env: Reversing, steps: int = 16) -> None:
    """One batch, as `OnPolicyRunner.learn` collects it."""
    with torch.inference_mode():
        for _ in range(steps):
            algorithm.process_env_step(*env.step(algorithm.act(env.get_observations())))
        algorithm.compute_returns(env.get_observations())


def parameters(found: OnPolicyRunner) -> list[Tensor]:
    state = found.alg.save()
    return [*state["actor_state_dict"].values(), *state["critic_state_dict"].values()]


def anchors(found: OnPolicyRunner) -> list[Tensor]:
    kept = found.alg.save()["recent_policies_state_dict"]["snapshots"]
    return [tensor for snapshot in kept for tensor in snapshot.values()]


def saying(actor: MLPModel) -> MLPModel:
    """A copy of an actor as it is."""
    twin = runner(OWN).alg.actor
    twin.load_state_dict(actor.state_dict())
    return twin


def log_prob(actor: MLPModel, observations: Any, actions: Tensor) -> Tensor:
    """In closed form: (n,), nats."""
    mean = actor(observations, stochastic_output=False)
    return Normal(mean, actor.distribution.std_param).log_prob(actions)[:, 0]


def gradients_of(actor: MLPModel) -> list[Tensor]:
    return [parameter.grad for parameter in actor.parameters()]


def doubled(env: Any, obs: Any, actions: Tensor | None) -> tuple[Any, Tensor | None]:
    if obs is not None:
        obs = torch.cat([obs, obs])
    return obs, None if actions is None else torch.cat([actions, actions])


def mirrored(env: Any, obs: Any, actions: Tensor | None) -> tuple[Any, Tensor | None]:
    if obs is not None:
        obs = torch.cat([obs, obs.apply(lambda x: -x)])
    return obs, None if actions is None else torch.cat([actions, -actions])


class TestGTR(Conformance):
    def gradients(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        env = Reversing()
        once = {"num_learning_epochs": 1, "num_mini_batches": 1, "max_grad_norm": 1e9}
        algorithm = runner(env=env, anchors=2, every=1, stiffness=3.0, schedule="fixed", **once).alg
        assert isinstance(algorithm, GTR)
        algorithm.train_mode()
        collect(algorithm, env)
        anchor = saying(algorithm.actor)
        algorithm.update()
        collect(algorithm, env)
        with torch.no_grad():
            for parameter in algorithm.actor.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))

        storage, actor = algorithm.storage, saying(algorithm.actor)
        seen, done = storage.observations.flatten(0, 1), storage.actions.flatten(0, 1)
        behaviour = storage.actions_log_prob.flatten()
        advantage = storage.advantages.flatten().clone()
        assert algorithm.recent is not None
        is_kept = algorithm.recent.numbers(len(behaviour)) == 1
        anchor_log_prob = torch.where(is_kept, log_prob(anchor, seen, done).detach(), behaviour)
        stiffness = batch_stiffness(algorithm.method, advantage)
        evaluation = evaluate(
            algorithm.method,
            log_prob=log_prob(actor, seen, done),
            behaviour_log_prob=behaviour,
            anchor_log_probs=anchor_log_prob[:, None],
            anchor_weights=[1.0],
            advantage=advantage,
            stiffness=stiffness,
        )
        loss = evaluation.penalty.mean() - evaluation.surrogate.mean()
        entropy = Normal(0.0, actor.distribution.std_param).entropy().sum()
        (loss - algorithm.entropy_coef * entropy).backward()
        algorithm.update()
        return [gradients_of(network) for network in (algorithm.actor, actor)]

    def trained(self, method: str) -> Sequence[Tensor]:
        found = runner(OURS, stiffness=0.0) if method == "gtr" else runner(OWN)
        found.learn(3)
        return parameters(found)

    def uninterrupted_and_resumed(
        self, directory: Path
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        first = runner(anchors=3)
        first.learn(5)
        first.save(str(directory / "model.pt"))
        env, state = copy.deepcopy(first.env), torch.get_rng_state()
        first.learn(4)

        second = runner(anchors=3, env=env)
        second.load(str(directory / "model.pt"))
        torch.set_rng_state(state)
        second.learn(4)
        return [parameters(found) + anchors(found) for found in (first, second)]

    def build(self, **numbers: Any) -> Any:
        return runner(**numbers)

    def share_that_pays_after_two_changes(self) -> float:
        env = Reversing(every=160)
        found = runner(env=env)
        found.learn(30)
        assert env.steps == 3 * env.every
        env.steps -= 1  # still in the last phase
        actions = found.get_inference_policy()(env.get_observations())
        return float(((actions - env.wanted(env.shown)).abs() < 0.5).float().mean())


@pytest.mark.parametrize(
    "options",
    [
        {"memory": True},
        {"normalize_advantage_per_mini_batch": True},
        {"symmetry_cfg": {"data_augmentation_func": mirrored, "use_data_augmentation": True}},
        {
            "symmetry_cfg": {
                "data_augmentation_func": mirrored,
                "use_mirror_loss": True,
                "mirror_loss_coeff": 0.3,
            }
        },
        {
            "rnd_cfg": {
                "num_outputs": 2,
                "predictor_hidden_dims": [4],
                "target_hidden_dims": [4],
                "weight": 0.1,
            }
        },
    ],
    ids=["memory", "minibatch", "augmented", "mirror", "rnd"],
)
def test_a_stiffness_of_zero_is_ppo_in_all_that_ppo_can_do(options: dict[str, Any]) -> None:
    losses = []
    for class_name, numbers in ((OURS, {"stiffness": 0.0}), (OWN, {})):
        found = runner(class_name, **numbers, **options)
        found.learn(2)
        found.alg.train_mode()
        collect(found.alg, found.env)
        losses.append(found.alg.update() | {"parameters": parameters(found)})
    ours, own = losses
    for name, loss in own.items():
        torch.testing.assert_close(ours[name], loss, rtol=0, atol=0)
    added = set(ours) - set(own)
    assert {"gtr/kernel_mean", "gtr/stiffness", "gtr/anchor_spread"} <= added
    assert all(name.startswith("gtr/") for name in added)


@pytest.mark.parametrize("memory", [False, True])
def test_where_nothing_is_learnt_all_anchors_say_what_the_behaviour_policy_said(
    memory: bool,
) -> None:
    found = runner(memory=memory, normalise=False, every=1, schedule="fixed", learning_rate=0.0)
    found.learn(3)
    found.alg.train_mode()
    collect(found.alg, found.env)
    losses = found.alg.update()
    assert losses["gtr/kernel_mean"] == pytest.approx(1.0, abs=1e-6)
    assert losses["gtr/ratio_max"] == pytest.approx(1.0, abs=1e-4)
    assert losses["gtr/anchor_spread"] == pytest.approx(0.0, abs=1e-5)
    # rsl_rl divides by the standard deviation of a sample
    assert losses["gtr/stiffness"] == pytest.approx(0.25 * (255 / 256) ** 0.5)


def test_a_batch_of_everything_twice_is_held_as_the_batch_is() -> None:
    symmetry = {"data_augmentation_func": doubled, "use_data_augmentation": True}
    found = []
    for options in ({}, {"symmetry_cfg": symmetry}):
        env = Reversing()
        found.append(runner(env=env, stiffness=3.0, num_mini_batches=1, **options))
        found[-1].alg.train_mode()
        for seed in range(3):
            torch.manual_seed(seed)  # an actor that is shown more draws more
            env.shown = torch.ones(env.num_envs, 1)
            collect(found[-1].alg, env)
            found[-1].alg.update()
    for single, double in zip(*map(parameters, found), strict=True):
        torch.testing.assert_close(double, single, rtol=1e-3, atol=1e-4)


def test_from_a_checkpoint_of_ppo_or_without_its_anchors_it_begins_with_what_was_loaded(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "model.pt")
    own = runner(OWN, normalise=False)
    own.learn(2)
    own.save(path)
    found = runner(normalise=False, anchors=3, schedule="fixed", learning_rate=0.0)
    found.load(path)
    found.learn(1)
    policy = list(own.alg.actor.state_dict().values())
    assert all(torch.equal(x, y) for x, y in zip(anchors(found), policy * 2, strict=True))

    found.save(path)
    for load_cfg, kept in (({"actor": True}, False), ({"recent_policies": True}, True)):
        found.load(path, load_cfg)
        assert ("recent_policies_state_dict" in found.alg.save()) == kept


def test_a_batch_with_nan_is_refused_before_it_spoils_the_weights() -> None:
    found = runner()
    collect(found.alg, found.env)
    before = [parameter.clone() for parameter in parameters(found)]
    found.alg.storage.advantages = torch.full((16, 16, 1), torch.nan)
    with pytest.raises(GTRError, match="not finite"):
        found.alg.update()
    assert all(torch.equal(*pair) for pair in zip(before, parameters(found), strict=True))


def test_without_the_framework_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rsl_rl.algorithms", None)
    monkeypatch.delitem(sys.modules, "gtr.integrations.rsl_rl")
    with pytest.raises(GTRError, match=r"pip install 'gtr-rl\[rsl-rl\]'"):
        importlib.import_module("gtr.integrations.rsl_rl")


def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "snippet", "env": Reversing()}
    for code in blocks(ROOT / "docs/integrations/rsl_rl.md", "python"):
        execute(code, space)
