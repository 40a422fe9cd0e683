"""GTR for TRL: `GTRConfig` and `GTRTrainer` in the place of `GRPOConfig` and `GRPOTrainer`.

The loss is TRL's own, whichever `loss_type` is chosen, plus the Gaussian penalty of each token's
log-ratio, averaged over tokens as TRL averages its loss.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gtr.errors import GTRError
from gtr.integrations import tensor_files
from gtr.integrations.minibatch import measures
from gtr.integrations.recent_policies import RecentPolicies
from gtr.objective import (
    Method,
    Recent,
    batch_stiffness,
    defaults,
    evaluate,
    gaussian_trust_region,
)
from gtr.objective.numerics import LIMIT, LOG_RATIO_CAP, bounded

try:
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
    from trl.models.utils import disable_gradient_checkpointing
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer
except ImportError as error:
    raise GTRError(
        "gtr.integrations.trl needs TRL and Transformers: pip install 'gtr-rl[trl]'"
    ) from error

ANCHORS_FILE = "gtr_anchors.safetensors"
"""The recent policies, beside the weights in each checkpoint: tensors alone, read as such."""


@dataclass
class GTRConfig(GRPOConfig):
    """`GRPOConfig` with the numbers of the trust region; the clip is TRL's own `epsilon`.

    Attributes:
        stiffness: of the pull, in units of the generation batch's root mean square advantage.
        radius: the log-ratio of a token, in nats, at which the pull is strongest.
        anchors: number of recent policies, the one that generated the batch among them.
        every: generation batches between two snapshots.
        decay: weight of an anchor relative to the next newer one.

    Raises:
        GTRError: a number is out of its range, or the policy would never differ from the one that
            generated the batch.
    """

    stiffness: float = field(
        default=defaults.STIFFNESS,
        metadata={"help": "Strength of the trust region, on the scale of a KL coefficient."},
    )
    radius: float = field(
        default=defaults.RADIUS,
        metadata={"help": "Log-ratio of a token, in nats, at which the pull is strongest."},
    )
    anchors: int = field(
        default=defaults.COUNT,
        metadata={"help": "Number of recent policies, the generating one among them."},
    )
    every: int = field(
        default=defaults.EVERY,
        metadata={"help": "Generation batches between two snapshots of the policy."},
    )
    decay: float = field(
        default=defaults.DECAY,
        metadata={"help": "Weight of an anchor relative to the next newer one."},
    )

    def __post_init__(self) -> None:
        """Checks the numbers, TRL's and ours."""
        super().__post_init__()
        self.method()
        assert self.steps_per_generation is not None  # TRL has seen to it
        steps = self.steps_per_generation * self.num_iterations
        if self.gradient_accumulation_steps % steps == 0:
            raise GTRError(
                "each batch of completions is used within one optimizer step, where the ratio to "
                "the policy that generated it is 1 and no trust region does anything: set "
                "num_iterations=2, or steps_per_generation above gradient_accumulation_steps="
                f"{self.gradient_accumulation_steps}"
            )

    def method(self) -> Method:
        """The trust region, validated."""
        return gaussian_trust_region(
            clip=self.epsilon,
            stiffness=self.stiffness,
            radius=self.radius,
            anchors=self.anchors,
            every=self.every,
            decay=self.decay,
        )


class GTRTrainer(GRPOTrainer):
    """`GRPOTrainer` with a Gaussian trust region around recent policies.

    Each completion is compared with one anchor, so that however many there are, asking them costs
    less than one pass without gradient over a generation batch. A snapshot has what is trained
    (with LoRA, the adapters), in main memory.

    Attributes:
        recent: the anchors.
    """

    args: GTRConfig
    model: Any
    _tag_names = ["trl", "grpo", "gtr"]  # noqa: RUF012

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: GTRConfig | None = None,
        train_dataset: Any = None,
        **others: Any,
    ) -> None:
        """As `GRPOTrainer`, but `args` is needed.

        Raises:
            GTRError: `args` is no `GTRConfig`, or the weights would be spread over processes.
        """
        if not isinstance(args, GTRConfig):
            raise GTRError(
                f"GTRTrainer was given args of {type(args).__name__}: give args=GTRConfig(...), "
                "which takes all that GRPOConfig takes"
            )
        super().__init__(model, reward_funcs, args=args, train_dataset=train_dataset, **others)
        plugin = self.accelerator.state.deepspeed_plugin
        if self.is_fsdp_enabled or (plugin is not None and plugin.zero_stage == 3):
            raise GTRError(
                "GTRTrainer keeps snapshots of whole weights, and FSDP and ZeRO-3 spread them over "
                "processes: use DDP or ZeRO-2, or verl (docs/integrations/verl.md)"
            )
        self._method = args.method()
        assert isinstance(self._method.anchor, Recent)
        self.recent = RecentPolicies(self._method.anchor, self.model, device="cpu")
        if self.rollout_func is not None:
            self.rollout_func = _with_tokens(self.rollout_func)
        self._behaviour: Tensor | None = None  # of the minibatch whose loss is being computed
        self._log_probs: Tensor | None = None

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if not self.model.training:
            return output
        if "num_images" in output:
            raise GTRError(
                "GTRTrainer compares text alone with its anchors: leave images out of the prompts"
            )
        output["anchor_per_token_logps"] = self._asked(output)
        self.recent.collected()
        advantages = self.accelerator.gather(output["advantages"])
        output["stiffness"] = torch.as_tensor(batch_stiffness(self._method, advantages))
        return output

    def _asked(self, output: dict[str, Any]) -> Tensor:
        """What its anchor says of each token of each completion: (B, T), nats."""
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)

        def said(rows: Tensor) -> Tensor:
            return self._get_per_token_logps_and_entropies(
                self.model,
                ids[rows],
                mask[rows],
                output["completion_ids"].size(1),
                batch_size=self.args.per_device_train_batch_size,
            )[0]

        checkpointing: Any = self.args.gradient_checkpointing_kwargs
        with disable_gradient_checkpointing(self.model, checkpointing):
            return self.recent.ask(output["old_per_token_logps"], said)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        log_probs, entropies, aux_loss = super()._get_per_token_logps_and_entropies(
            model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
        )
        if self._behaviour is not None:
            # Within these bounds TRL's exponential, and its gradient, are finite.
            low, high = self._behaviour - LOG_RATIO_CAP, self._behaviour + LOG_RATIO_CAP
            log_probs = self._log_probs = bounded(log_probs, low, high)
        return log_probs, entropies, aux_loss

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        if "anchor_per_token_logps" not in inputs:  # an evaluation
            return super()._compute_loss(model, inputs)
        behaviour = bounded(inputs["old_per_token_logps"], -LIMIT, LIMIT)
        try:
            self._behaviour = behaviour
            loss = super()._compute_loss(model, inputs | {"old_per_token_logps": behaviour})
            log_prob = self._log_probs
        finally:
            self._behaviour = self._log_probs = None
        assert log_prob is not None
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        advantage = inputs["advantages"]
        advantage = (advantage if advantage.dim() == 2 else advantage[:, None]).expand_as(log_prob)
        evaluation = evaluate(
            self._method,
            log_prob=log_prob,
            behaviour_log_prob=behaviour,
            anchor_log_probs=inputs["anchor_per_token_logps"][..., None],
            anchor_weights=torch.ones(1, device=log_prob.device),
            advantage=advantage,
            stiffness=inputs["stiffness"],
        )
        found = measures(
            self._method, evaluation, advantage=advantage, mask=mask, stiffness=inputs["stiffness"]
        )
        numbers = torch.tensor([list(found.values())], device=log_prob.device)
        everywhere: Any = self.accelerator.gather(numbers)
        for name, number in zip(found, everywhere.mean(0).tolist(), strict=True):
            self._metrics["train"][f"gtr/{name}"].append(number)
        return loss + self._averaged(evaluation.penalty, mask, inputs["num_items_in_batch"])

    def _averaged(self, values: Tensor, mask: Tensor, items: Tensor) -> Tensor:
        """Values of tokens (B, T) made a loss as TRL makes one under the same `loss_type`.

        Args:
            values: of each token.
            mask: (B, T), 1 for the tokens that count.
            items: (), number of such tokens in the generation batch, over all processes.
        """
        summed = torch.where(mask != 0, values, 0.0).sum(-1)
        accumulated = self.current_gradient_accumulation_steps or 1
        if self.loss_type in ("cispo", "dapo", "vespo"):
            steps = self.args.steps_per_generation or accumulated
            share = accumulated / steps / self.accelerator.num_processes
            return summed.sum() / (items.clamp(min=1.0) * share)
        if self.loss_type == "bnpo":
            mean = summed.sum() / mask.sum().clamp(min=1.0)
        elif self.loss_type == "dr_grpo":
            assert self.max_completion_length is not None
            mean = summed.mean() / self.max_completion_length
        elif self.loss_type == "luspo":
            mean = summed.mean()
        else:
            mean = (summed / mask.sum(-1).clamp(min=1.0)).mean()
        return mean / accumulated

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            path = Path(self._get_output_dir(trial=trial), folder, ANCHORS_FILE)
            tensor_files.save(path, self.recent.state_dict())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint, ANCHORS_FILE)
        if not path.exists():
            raise GTRError(
                f"{checkpoint} has no {ANCHORS_FILE}, so it is no checkpoint of GTRTrainer: give "
                "its weights as the model, and train without resume_from_checkpoint"
            )
        self.recent.load_state_dict(tensor_files.load(path))


def _with_tokens(rollout: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A rollout function that says so where a completion is empty: TRL looks at its last token."""

    def checked(*args: Any) -> dict[str, Any]:
        output = rollout(*args)
        empty = sum(len(ids) == 0 for ids in output.get("completion_ids", ()))
        if empty:
            raise GTRError(
                f"the rollout function returned {empty} completions without a token: end each with "
                "the tokenizer's end, also where nothing was said"
            )
        return output

    return checked
