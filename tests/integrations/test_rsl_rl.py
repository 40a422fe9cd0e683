import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rsl_rl.models import MLPModel
from rsl_rl.runners import OnPolicyRunner
from torch import Tensor
from torch.distributions import Normal

from gtr.integrations.rsl_rl import GTR
from gtr.objective import batch_stiffness, evaluate
from tests.integrations.conformance import Conformance
from tests.integrations.vectorised_probe import Reversing

OURS, OWN = "gtr.integrations.rsl_rl:GTR", "PPO"


def configuration(class_name: str, *, memory: bool = False, **algorithm: Any) -> dict[str, Any]:
    network: dict[str, Any] = {"class_name": "MLPModel", "hidden_dims": [16], "activation": "tanh"}
    if memory:
        network |= {"class_name": "RNNModel", "rnn_type": "gru", "rnn_hidden_dim": 8}
    network["obs_normalization"] = True
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
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
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
        found.learn(4)
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
        env = Reversing()
        found = runner(env=env)
        found.learn(60)
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
        {"rnd_cfg": {"num_outputs": 2, "predictor_hidden_dims": [4], "target_hidden_dims": [4]}},
    ],
    ids=["memory", "minibatch", "augmented", "mirror", "rnd"],
)
def test_a_stiffness_of_zero_is_ppo_in_all_that_ppo_can_do(options: dict[str, Any]) -> None:
    losses = []
    for found in (runner(OURS, stiffness=0.0, **options), runner(OWN, **options)):
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
