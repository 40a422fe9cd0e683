"""What `test_verl` runs where verl is: the registered loss beside verl's own, and its launch."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import verl  # loads what VERL_USE_EXTERNAL_MODULES names
from hydra import compose, initialize_config_dir
from torch import Tensor
from verl.trainer.ppo.core_algos import agg_loss, get_policy_loss_fn
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.config import ActorConfig

from gtr.errors import GTRError
from gtr.integrations.verl import GTRPolicyLossConfig
from gtr.objective import Gaussian, kernel

ROOT = Path(__file__).parents[2]
MODES = ["token-mean", "token-sum", "seq-mean-token-sum", "seq-mean-token-mean"]


def actor(**numbers: Any) -> ActorConfig:
    return ActorConfig(
        strategy="fsdp",
        rollout_n=4,
        ppo_micro_batch_size_per_gpu=1,
        policy_loss=GTRPolicyLossConfig(**numbers),
    )


def batch(rows: int = 6, tokens: int = 9) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(scale: float) -> Tensor:
        return scale * torch.randn(rows, tokens, generator=generator, dtype=torch.float64)

    old = normal(1.0) - 3
    lengths = torch.randint(1, tokens + 1, (rows, 1), generator=generator)
    return {
        "old_log_prob": old,
        "log_prob": (old + normal(0.5)).requires_grad_(),
        "advantages": normal(1.0),
        "response_mask": torch.arange(tokens) < lengths,
        "rollout_is_weights": normal(0.3).exp(),
    }


def loss_and_gradient(
    name: str, config: ActorConfig, mode: str, given: dict[str, Tensor]
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    loss, metrics = get_policy_loss_fn(name)(**given, loss_agg_mode=mode, config=config)
    (gradient,) = torch.autograd.grad(loss, given["log_prob"])
    return loss.detach(), gradient, metrics


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_stiffness_of_zero_is_verls_own_to_the_bit(mode: str, weighted: bool) -> None:
    given = batch()
    if not weighted:
        del given["rollout_is_weights"]
    mine = loss_and_gradient("gtr", actor(stiffness=0.0), mode, given)
    own = loss_and_gradient("vanilla", actor(), mode, given)
    assert torch.equal(mine[0], own[0])
    assert torch.equal(mine[1], own[1])
    assert mine[2].items() >= own[2].items()


@pytest.mark.parametrize("mode", MODES)
def test_what_is_added_is_the_mean_of_the_gaussian_over_the_tokens(mode: str) -> None:
    given, config = batch(), actor(stiffness=0.7, radius=0.3)
    mine = loss_and_gradient("gtr", config, mode, given)
    own = loss_and_gradient("vanilla", config, mode, given)
    log_ratio = (given["log_prob"] - given["old_log_prob"]).detach()
    each = 0.7 * 0.3**2 * (1 - torch.exp(-(log_ratio**2) / (2 * 0.3**2)))
    pull = 0.7 * log_ratio * torch.exp(-(log_ratio**2) / (2 * 0.3**2))

    def mean(values: Tensor) -> Tensor:
        weighted = values * given["rollout_is_weights"]
        return agg_loss(weighted, given["response_mask"], mode)

    torch.testing.assert_close(mine[0] - own[0], mean(each))
    # of a mean, the gradient with respect to one token is the mean of its pull alone
    slope = torch.autograd.functional.jacobian(mean, torch.zeros_like(each)) * pull
    torch.testing.assert_close(mine[1] - own[1], slope)
    assert (mine[1] - own[1]).abs().max() > 1e-3


@pytest.mark.parametrize("mode", MODES)
def test_micro_batches_add_up_to_the_batch(mode: str) -> None:
    given, config = batch(), actor()
    config.global_batch_info.update(
        batch_num_tokens=given["response_mask"].sum(), global_batch_size=6
    )
    whole = loss_and_gradient("gtr", config, mode, given)
    parts = []
    for rows in (slice(0, 2), slice(2, 6)):
        part = {name: x.detach()[rows].requires_grad_(x.requires_grad) for name, x in given.items()}
        parts.append(loss_and_gradient("gtr", config, mode, part))
    torch.testing.assert_close(parts[0][0] + parts[1][0], whole[0])
    torch.testing.assert_close(torch.cat([parts[0][1], parts[1][1]]), whole[1])


def test_measures_are_of_the_valid_tokens() -> None:
    given, config = batch(), actor()
    _, _, metrics = loss_and_gradient("gtr", config, "token-mean", given)
    valid = given["response_mask"]
    log_ratio = (given["log_prob"] - given["old_log_prob"]).detach()[valid]
    distance = log_ratio[:, None] ** 2 / 2
    expected = kernel(distance, torch.ones(1), 0.4).mean().item()
    assert metrics["gtr/kernel_mean"] == pytest.approx(expected)
    assert metrics["gtr/ratio_max"] == pytest.approx(log_ratio.exp().max().item())
    share = (log_ratio.abs() > 0.4).double().mean().item()
    assert metrics["gtr/redescended_fraction"] == pytest.approx(share)
    assert metrics["gtr/escape_advantage"] == pytest.approx(Gaussian(0.25, 0.4).strongest_pull)
    assert all(type(number) is float for number in metrics.values())


def test_a_token_of_probability_zero_leaves_everything_finite() -> None:
    given = batch()
    with torch.no_grad():
        given["old_log_prob"][0, 0] = -1e6
        given["log_prob"][1, 0] = -1e6
    loss, gradient, metrics = loss_and_gradient("gtr", actor(), "token-mean", given)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
    assert all(torch.isfinite(torch.tensor(number)) for number in metrics.values())


@pytest.mark.parametrize(("number", "value"), [("stiffness", -1.0), ("radius", 0.0)])
def test_a_number_out_of_its_range_is_refused_before_training(number: str, value: float) -> None:
    with pytest.raises(GTRError, match="must be"):
        actor(**{number: value})


def launch() -> list[str]:
    """The overrides of the documented command."""
    page = (ROOT / "docs/integrations/verl.md").read_text()
    [command] = [
        block
        for block in re.findall(r"^```bash\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        if "EXTERNAL_MODULES" in block
    ]
    export, run = command.replace("\\\n", " ").strip().split("\n\n")
    assert shlex.split(export)[1] == "VERL_USE_EXTERNAL_MODULES=gtr.integrations.verl"
    words = shlex.split(run)
    assert words[:3] == ["python", "-m", "verl.trainer.main_ppo"]
    return words[3:]


def composed(overrides: list[str]) -> Any:
    directory = Path(verl.__file__).parent / "trainer/config"
    with initialize_config_dir(str(directory), version_base=None):
        return compose("ppo_trainer", overrides)


def test_the_documented_command_is_a_configuration_of_verls() -> None:
    config = omega_conf_to_dataclass(composed(launch()).actor_rollout_ref.actor)
    assert type(config.policy_loss) is GTRPolicyLossConfig
    assert (config.policy_loss.stiffness, config.policy_loss.radius) == (0.25, 0.4)
    assert config.policy_loss.loss_mode == "gtr"
    given = batch()
    mine = loss_and_gradient("gtr", config, "token-mean", given)
    straight = loss_and_gradient("gtr", actor(), "token-mean", given)
    assert torch.equal(mine[1], straight[1])


def test_the_loss_mode_alone_takes_the_default_numbers() -> None:
    overrides = [one for one in launch() if "policy_loss" not in one or "loss_mode" in one]
    config = omega_conf_to_dataclass(composed(overrides).actor_rollout_ref.actor)
    assert type(config.policy_loss) is not GTRPolicyLossConfig
    given = batch()
    mine = loss_and_gradient("gtr", config, "token-mean", given)
    assert torch.equal(mine[1], loss_and_gradient("gtr", actor(), "token-mean", given)[1])


def test_a_wrong_number_in_the_command_is_refused_before_training() -> None:
    wrong = [re.sub(r"radius=.*", "radius=-1", one) for one in launch()]
    with pytest.raises(Exception, match="radius is -1"):
        omega_conf_to_dataclass(composed(wrong).actor_rollout_ref.actor)
