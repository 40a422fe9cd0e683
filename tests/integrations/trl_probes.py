"""TRL's trainers on a tiny model, and a minibatch of theirs in which all policies differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from gtr.integrations.trl import GTRConfig, GTRTrainer
from tests import tiny_llama

LOSS_TYPES = ["grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"]
# Enough for one epoch: at its end TRL itself does not resume to the bit.
PROMPTS = Dataset.from_dict({"prompt": [f"{i}+2=" for i in range(16)]})


def count_digits(completions: list[str], **_: Any) -> list[float]:
    return [float(sum(map(str.isdigit, text))) for text in completions]


def settings(directory: Path, **changes: Any) -> dict[str, Any]:
    own = {
        "output_dir": str(directory),
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "save_strategy": "no",
        "logging_steps": 1,
        "max_steps": 4,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "num_iterations": 2,
        "max_completion_length": 4,
        "learning_rate": 1e-2,
    }
    return own | changes


def trainer(
    directory: Path,
    kind: type[GRPOTrainer] = GTRTrainer,
    reward: Callable[..., Any] = count_digits,
    pad: bool = True,
    lora: bool = False,
    rollout_func: Callable[..., Any] | None = None,
    **changes: Any,
) -> GRPOTrainer:
    configuration = GTRConfig if kind is GTRTrainer else GRPOConfig
    return kind(
        tiny_llama.model(),
        reward,
        args=configuration(**settings(directory, **changes)),
        train_dataset=PROMPTS,
        eval_dataset=PROMPTS,
        processing_class=tiny_llama.tokenizer(pad),
        peft_config=LoraConfig(r=2, target_modules=["q_proj", "down_proj"]) if lora else None,
        rollout_func=rollout_func,
    )


def weights(of: GRPOTrainer) -> list[Tensor]:
    return [p.detach().clone() for p in of.model.parameters() if p.requires_grad]


def log_probs(model: torch.nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """Straight from the logits: (B, T)."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
    length = inputs["completion_ids"].size(1)
    logits = model(input_ids=ids, attention_mask=mask).logits[:, -length - 1 : -1]
    return logits.log_softmax(-1).gather(-1, inputs["completion_ids"][..., None])[..., 0]


def minibatch(model: torch.nn.Module) -> dict[str, Tensor]:
    """Four completions of 1 to 5 tokens, to prompts that are padded; policies that differ."""
    generator = torch.Generator().manual_seed(0)
    inputs = {
        "prompt_ids": torch.randint(2, 18, (4, 3), generator=generator),
        "prompt_mask": torch.tensor([[0, 1, 1], [1, 1, 1], [0, 0, 1], [1, 1, 1]]),
        "completion_ids": torch.randint(2, 18, (4, 5), generator=generator),
        "completion_mask": (torch.arange(5) < torch.tensor([[5], [3], [1], [4]])).long(),
        "advantages": torch.tensor([1.0, -0.6, 0.4, -1.2]),
        "num_items_in_batch": torch.tensor(13),
        "stiffness": torch.tensor(0.5),
    }
    with torch.no_grad():
        now = log_probs(model, inputs)
    noise = 0.4 * torch.randn(2, 4, 5, generator=generator)
    return inputs | {
        "old_per_token_logps": now + noise[0],
        "anchor_per_token_logps": now + noise[1],
    }


def loss_and_gradients(of: GRPOTrainer, inputs: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
    of.current_gradient_accumulation_steps = 1
    of.model.train()
    of.model.zero_grad()
    loss = of._compute_loss(of.model, dict(inputs))
    loss.backward()
    return loss.detach(), [p.grad.clone() for p in of.model.parameters() if p.grad is not None]
