import math
from dataclasses import replace

import pytest
import torch
from trl import GRPOTrainer

from gtr.errors import GTRError
from gtr.integrations.trl import GTRTrainer
from gtr.language.losses import RULES, loss, rule
from tests.integrations.trl_probes import log_probs, loss_and_gradients, minibatch, trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")

# What makes TRL the same; its own settings of a method may aggregate in another way.
IN_TRL = {
    "gtr": {"loss_type": "bnpo"},
    "ppo": {"loss_type": "bnpo"},
    "dapo": {"loss_type": "bnpo", "epsilon_high": 0.28},
    "sapo": {"loss_type": "sapo"},
    "gspo": {
        "loss_type": "grpo",
        "importance_sampling_level": "sequence",
        "epsilon": 3e-4,
        "epsilon_high": 4e-4,
    },
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
}


def tensors(inputs: dict[str, torch.Tensor], now: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "log_prob": now,
        "behaviour_log_prob": inputs["old_per_token_logps"],
        "anchor_log_prob": inputs["anchor_per_token_logps"],
        "advantage": inputs["advantages"],
        "mask": inputs["completion_mask"].bool(),
        "stiffness": inputs["stiffness"],
    }


@pytest.mark.parametrize("name", IN_TRL)
def test_value_and_gradients_are_trls(tmp_path, name):
    own = trainer(tmp_path, GTRTrainer if name == "gtr" else GRPOTrainer, **IN_TRL[name])
    inputs = minibatch(own.model)
    expected, theirs = loss_and_gradients(own, inputs)
    own.model.zero_grad()
    found, _ = loss(rule(name), **tensors(inputs, log_probs(own.model, inputs)))
    found.backward()
    torch.testing.assert_close(found.detach(), expected, rtol=1e-5, atol=1e-5)
    mine = [p.grad for p in own.model.parameters() if p.grad is not None]
    assert any(gradient.abs().max() > 1e-3 for gradient in mine)
    for ours, their in zip(mine, theirs, strict=True):
        torch.testing.assert_close(ours, their, rtol=1e-5, atol=1e-5)


def test_gipo_weighs_each_tokens_gradient_by_its_kernel():
    log_ratio = torch.tensor([[0.0, 0.4, -0.8]])
    log_prob = (log_ratio - 1.0).requires_grad_()
    behaviour = torch.full((1, 3), -1.0)
    found, _ = loss(
        rule("gipo"),
        log_prob=log_prob,
        behaviour_log_prob=behaviour,
        anchor_log_prob=behaviour,
        advantage=torch.tensor([2.0]),
        mask=torch.ones(1, 3, dtype=torch.bool),
    )
    found.backward()
    kernel = torch.exp(-0.5 * (log_ratio / 0.4) ** 2)  # its radius
    assert log_prob.grad is not None
    torch.testing.assert_close(-log_prob.grad * 3, 2.0 * kernel * log_ratio.exp())


@pytest.mark.parametrize("name", RULES)
def test_hostile_tokens_give_finite_values_and_gradients(name):
    log_prob = torch.tensor([[-1.0, -math.inf, -2.0, -1e6], [-1.0, -1.0, -1.0, -1.0]])
    log_prob.requires_grad_()
    behaviour = torch.tensor([[-math.inf, -1.0, -2.0, -1.0], [-1e6, -1.0, -math.inf, -2.0]])
    found, measured = loss(
        rule(name),
        log_prob=log_prob,
        behaviour_log_prob=behaviour,
        anchor_log_prob=behaviour.flip(0),
        advantage=torch.tensor([1.0, -1.0]),
        mask=torch.tensor([[True] * 4, [True, False, True, True]]),
    )
    found.backward()
    assert log_prob.grad is not None
    assert torch.isfinite(found)
    assert torch.isfinite(log_prob.grad).all()
    assert all(math.isfinite(value) for value in measured.values())


@pytest.mark.parametrize("name", RULES)
def test_what_the_mask_leaves_out_has_no_part(name):
    generator = torch.Generator().manual_seed(0)
    now, behaviour, anchor = -torch.rand(3, 4, 5, generator=generator)
    mask = torch.arange(5) < torch.tensor([[5], [2], [0], [4]])
    advantage = torch.tensor([1.0, -1.0, 2.0, -0.5])
    found = []
    for elsewhere in (0.0, -7.0):
        kept = [torch.where(mask, x, elsewhere) for x in (now, behaviour, anchor)]
        value, measured = loss(
            rule(name),
            log_prob=kept[0],
            behaviour_log_prob=kept[1],
            anchor_log_prob=kept[2] * 2,
            advantage=advantage,
            mask=mask,
        )
        found.append((value.item(), dict(measured)))
    assert found[0] == found[1]


def test_numbers_are_gtrs_alone():
    assert rule("gtr", radius=0.7, anchors=2).method == replace(
        rule("gtr", anchors=2).method, penalty=replace(rule("gtr").method.penalty, radius=0.7)
    )
    with pytest.raises(GTRError, match="no number 'radius'"):
        rule("ppo", radius=0.7)
    with pytest.raises(GTRError, match="must be"):
        rule("gtr", radius=-1.0)
    with pytest.raises(GTRError, match="there are gtr"):
        rule("grpo")


def test_without_earlier_anchors_gtr_is_held_to_who_wrote_the_batch():
    numbers = {"stiffness": 0.5, "radius": 0.3, "clip": 0.1}
    own = rule("gtr-behaviour", **numbers)
    assert own.name == "gtr-behaviour"
    assert own.method.anchor.count == 1
    assert rule("gtr").method.anchor.count == 4
    torch.manual_seed(0)
    behaviour = -torch.rand(3, 4)
    given = {
        "log_prob": behaviour + 0.2 * torch.randn(3, 4),
        "behaviour_log_prob": behaviour,
        "anchor_log_prob": behaviour,
        "advantage": torch.randn(3),
        "mask": torch.rand(3, 4) < 0.8,
    }
    expected, _ = loss(rule("gtr", anchors=1, **numbers), **given)
    torch.testing.assert_close(loss(own, **given)[0], expected, rtol=0, atol=0)
    with pytest.raises(GTRError, match="gtr-behaviour has no number 'anchors'"):
        rule("gtr-behaviour", anchors=2)
