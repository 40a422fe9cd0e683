import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from torch import Tensor
from trl import GRPOConfig, GRPOTrainer

from gtr.errors import GTRError
from gtr.integrations.trl import ANCHORS_FILE, GTRConfig, GTRTrainer
from gtr.objective import evaluate
from tests import tiny_llama
from tests.integrations.conformance import Conformance
from tests.integrations.trl_probes import (
    LOSS_TYPES,
    PROMPTS,
    count_digits,
    log_probs,
    loss_and_gradients,
    minibatch,
    settings,
    trainer,
    weights,
)

pytestmark = [
    # TRL asks for checkpointing under the name that Transformers is about to retire.
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning"),
]


@pytest.fixture(autouse=True)
def _one_thread_offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with a model this small, threads wait for each other
    yield
    torch.set_num_threads(threads)


class TestTRL(Conformance):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    def gradients(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        own = trainer(self.directory, loss_type="bnpo")
        inputs = minibatch(own.model)
        _, found = loss_and_gradients(own, inputs)

        model = tiny_llama.model()
        evaluation = evaluate(
            GTRConfig(**settings(self.directory)).method(),
            log_prob=log_probs(model, inputs),
            behaviour_log_prob=inputs["old_per_token_logps"],
            anchor_log_probs=inputs["anchor_per_token_logps"][..., None],
            anchor_weights=[1.0],
            advantage=inputs["advantages"][:, None].expand(4, 5),
            stiffness=0.5,
        )
        keep = inputs["completion_mask"].bool()
        (evaluation.penalty[keep].mean() - evaluation.surrogate[keep].mean()).backward()
        return found, [p.grad for p in model.parameters() if p.grad is not None]

    def trained(self, method: str) -> Sequence[Tensor]:
        if method == "gtr":
            own = trainer(self.directory, stiffness=0.0, anchors=3, every=1)
        else:
            own = trainer(self.directory, GRPOTrainer)
        own.train()
        return weights(own)

    def uninterrupted_and_resumed(
        self, directory: Path
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        numbers = {"anchors": 3, "every": 1, "max_steps": 6, "save_steps": 4}
        whole = trainer(directory, save_strategy="steps", **numbers)
        whole.train()
        resumed = trainer(directory, **numbers)
        resumed.train(resume_from_checkpoint=str(directory / "checkpoint-4"))
        found = []
        for one in (whole, resumed):
            assert isinstance(one, GTRTrainer)
            state = one.recent.state_dict()
            kept = [tensor for snapshot in state["snapshots"] for tensor in snapshot.values()]
            found.append([*weights(one), *kept, state["iteration"]])
        return found[0], found[1]

    def build(self, **numbers: Any) -> GTRConfig:
        return GTRConfig(**settings(self.directory, **numbers))

    def share_that_pays_after_two_changes(self) -> float:
        """Of two answers to "+" and "-", which are exchanged every 20 generation batches."""
        answers = [{"+": "1", "-": "2"}, {"+": "2", "-": "1"}, {"+": "1", "-": "2"}]

        def pays(prompts: list[str], completions: list[str], trainer_state: Any, **_: Any) -> list:
            now = answers[min(trainer_state.global_step // 80, 2)]
            return [float(now[p] == c) for p, c in zip(prompts, completions, strict=True)]

        args = GTRConfig(
            **settings(
                self.directory,
                max_steps=240,
                max_completion_length=1,
                per_device_train_batch_size=64,
                num_generations=32,
                num_iterations=4,
                learning_rate=5e-3,
                lr_scheduler_type="constant",
                entropy_coef=0.2,
                logging_steps=240,
            )
        )
        own = GTRTrainer(
            tiny_llama.model(layers=1),
            pays,
            args,
            Dataset.from_dict({"prompt": ["+", "-"]}),
            processing_class=tiny_llama.tokenizer(),
        )
        own.train()
        tokens = tiny_llama.tokenizer()
        prompts = tokens(["+", "-"], return_tensors="pt")
        said = own.model(**prompts).logits[:, -1].argmax(-1)
        wanted = tokens(list(answers[2].values()), return_tensors="pt").input_ids[:, 0]
        return (said == wanted).float().mean().item()


@pytest.mark.parametrize("level", ["token", "sequence"])
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_of_every_loss_a_stiffness_of_zero_leaves_grpos_own(tmp_path, loss_type, level):
    changes = {"loss_type": loss_type, "importance_sampling_level": level, "beta": 0.0}
    ours = trainer(tmp_path, **changes)
    inputs = minibatch(ours.model) | {"stiffness": torch.tensor(0.0)}
    loss, gradients = loss_and_gradients(ours, inputs)
    expected, theirs = loss_and_gradients(trainer(tmp_path, GRPOTrainer, **changes), inputs)
    assert torch.equal(loss, expected)
    for mine, other in zip(gradients, theirs, strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_a_penalty_is_averaged_as_trl_averages_its_loss(tmp_path, loss_type):
    own = trainer(tmp_path, loss_type=loss_type, steps_per_generation=2, epsilon_high=5.0)
    inputs = minibatch(own.model)
    with torch.no_grad():
        now = log_probs(own.model, inputs)
    # At the behaviour policy every loss but two is an advantage times a ratio of 1, and those two
    # have the log-probability itself in place of the ratio.
    inputs["old_per_token_logps"] = now
    inputs["advantages"] = torch.full((4,), -1.0)
    values = now if loss_type in ("cispo", "vespo") else torch.ones(4, 5)
    if loss_type == "sapo":
        values = values * 2 / own.args.sapo_temperature_neg  # its sigmoid at a ratio of 1
    loss, _ = loss_and_gradients(own, inputs | {"anchor_per_token_logps": now})
    averaged = own._averaged(values, inputs["completion_mask"], inputs["num_items_in_batch"])
    torch.testing.assert_close(averaged, loss)


@pytest.mark.parametrize(
    ("accumulation", "iterations", "generation"), [(1, 1, 1), (4, 1, 4), (4, 2, 2), (4, 1, 2)]
)
def test_settings_under_which_the_ratio_is_1_are_refused(
    tmp_path, accumulation, iterations, generation
):
    with pytest.raises(GTRError, match="num_iterations=2"):
        GTRConfig(
            **settings(
                tmp_path,
                gradient_accumulation_steps=accumulation,
                num_iterations=iterations,
                steps_per_generation=generation,
            )
        )


def test_arguments_of_grpo_are_refused(tmp_path):
    with pytest.raises(GTRError, match="GTRConfig"):
        GTRTrainer(
            tiny_llama.model(),
            count_digits,
            args=GRPOConfig(**settings(tmp_path)),
            train_dataset=PROMPTS,
        )


@pytest.mark.parametrize(
    ("lora", "bf16", "checkpointing"), [(False, False, True), (True, True, False)]
)
def test_each_completion_is_answered_by_its_anchor(tmp_path, lora, bf16, checkpointing):
    own = trainer(
        tmp_path, lora=lora, bf16=bf16, gradient_checkpointing=checkpointing, anchors=3, every=1
    )
    assert isinstance(own, GTRTrainer)
    own.train()
    kept = own.recent.state_dict()["snapshots"]
    assert all("lora" in name for name in kept[0] if "inv_freq" not in name) == lora
    assert any(not torch.equal(kept[0][name], kept[1][name]) for name in kept[0])

    inputs = minibatch(own.model)
    numbers = own.recent.numbers(4).tolist()
    answers = own._asked(inputs)
    assert len(set(numbers)) > 1
    seen = inputs["completion_mask"].bool()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for row, number in enumerate(numbers):
            if number == 0:
                expected = inputs["old_per_token_logps"][row]
            else:
                with own.recent.holding(number):
                    expected = log_probs(own.model, inputs)[row]
            near = 0.05 if bf16 else 1e-5
            torch.testing.assert_close(
                answers[row][seen[row]], expected[seen[row]], rtol=near, atol=near
            )


def test_accumulated_gradients_are_those_of_one_large_batch(tmp_path):
    found = []
    for size, accumulation in ((16, 1), (8, 2), (4, 4)):
        own = trainer(
            tmp_path,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
            optim="sgd",
            learning_rate=0.5,
            stiffness=1.0,
            anchors=2,
            every=1,
        )
        own.train()
        found.append(weights(own))
    for other in found[1:]:
        for mine, its in zip(found[0], other, strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-5)


def test_what_is_logged(tmp_path):
    own = trainer(tmp_path)
    own.train()
    first, second = own.state.log_history[:2]
    for name in ("kl", "ratio_max", "kernel_mean", "redescended_fraction", "anchor_spread"):
        assert math.isfinite(second[f"gtr/{name}"]), name
    assert {"reward", "entropy", "clip_ratio/region_mean", "grad_norm"} <= set(first)
    assert first["gtr/ratio_max"] == pytest.approx(1.0, abs=1e-5)
    assert second["gtr/ratio_max"] > 1.001  # the same batch, after a step


def test_an_evaluation_is_grpos_and_takes_no_snapshot(tmp_path):
    ours, theirs = trainer(tmp_path), trainer(tmp_path, GRPOTrainer)
    found = []
    for own in (ours, theirs):
        torch.manual_seed(1)
        found.append(own.evaluate()["eval_loss"])
    assert isinstance(ours, GTRTrainer)
    assert ours.recent.iteration == 0
    assert found[0] == found[1]


def test_a_checkpoint_without_anchors_is_refused(tmp_path):
    trainer(tmp_path, GRPOTrainer, save_strategy="steps", save_steps=2, max_steps=2).train()
    own = trainer(tmp_path)
    with pytest.raises(GTRError, match=ANCHORS_FILE):
        own.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


def test_the_pages_script_runs_before_and_after_its_change(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "integrations" / "trl.md"
    tiny_llama.model().save_pretrained(tmp_path / "tiny")
    tiny_llama.tokenizer().save_pretrained(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"model": str(tmp_path / "tiny")}
    code = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    assert len(code) == 2
    for block in code:
        block = block.replace('output_dir="out"', 'output_dir="out", use_cpu=True')
        exec(compile(block, page.name, "exec"), space)


# Hostile inputs.


def test_rewards_that_are_all_equal_move_nothing(tmp_path):
    own = trainer(tmp_path, reward=lambda completions, **_: [1.0] * len(completions))
    before = weights(own)
    own.train()
    for mine, other in zip(weights(own), before, strict=True):
        assert torch.equal(mine, other)


def test_without_any_token_that_counts_the_loss_is_zero(tmp_path):
    own = trainer(tmp_path)
    inputs = minibatch(own.model)
    inputs["completion_mask"] = torch.zeros_like(inputs["completion_mask"])
    inputs["num_items_in_batch"] = torch.tensor(0)
    loss, gradients = loss_and_gradients(own, inputs)
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients)


@pytest.mark.filterwarnings("ignore:.*rollout_func.*experimental:UserWarning")
@pytest.mark.parametrize("said", [[[1], [5, 6, 1], [5]], [[], [5, 1], [6]]])
def test_completions_in_which_nothing_is_said(tmp_path, said):
    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        ids = trainer.processing_class(prompts).input_ids
        completions = [said[i % len(said)] for i in range(len(prompts))]
        return {"prompt_ids": ids, "completion_ids": completions, "logprobs": None}

    own = trainer(tmp_path, rollout_func=rollout)
    if all(said):  # only the end
        own.train()
        assert all(torch.isfinite(weight).all() for weight in weights(own))
        return
    with pytest.raises(GTRError, match="3 completions without a token"):
        own.train()


@pytest.mark.parametrize("whose", ["old_per_token_logps", "anchor_per_token_logps", "both"])
def test_a_log_probability_of_minus_infinity_gives_finite_gradients(tmp_path, whose):
    own = trainer(tmp_path)
    inputs = minibatch(own.model)
    names = ["old_per_token_logps", "anchor_per_token_logps"] if whose == "both" else [whose]
    for name in names:
        inputs[name][0, 0] = inputs[name][1, 1] = -math.inf
    loss, gradients = loss_and_gradients(own, inputs)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


def test_a_policy_that_gives_its_own_token_probability_zero(tmp_path):
    own = trainer(tmp_path)
    inputs = minibatch(own.model)
    with torch.no_grad():
        own.model.lm_head.weight[inputs["completion_ids"][0, 0]] *= 1e30
    loss, gradients = loss_and_gradients(own, inputs)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_a_reward_function_that_raises_stops_the_training_with_its_own_error(tmp_path):
    def broken(**_: Any) -> list[float]:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        trainer(tmp_path, reward=broken).train()


def test_a_reward_of_nan_counts_as_none(tmp_path):
    def sometimes(completions: list[str], **_: Any) -> list[float]:
        return [math.nan if i % 3 == 0 else float(i % 2) for i in range(len(completions))]

    own = trainer(tmp_path, reward=sometimes)
    before = weights(own)
    own.train()
    after = weights(own)
    assert all(torch.isfinite(weight).all() for weight in after)
    assert any(not torch.equal(mine, other) for mine, other in zip(after, before, strict=True))


def test_rewards_of_the_wrong_number_are_refused(tmp_path):
    with pytest.raises(ValueError, match="returned 1 rewards, but 8 were expected"):
        trainer(tmp_path, reward=lambda **_: [1.0]).train()


def test_a_tokenizer_without_a_pad_token_pads_with_its_end(tmp_path):
    own = trainer(tmp_path, pad=False, anchors=2, every=1)
    own.train()
    assert own.processing_class.pad_token == "<end>"
    assert all(torch.isfinite(weight).all() for weight in weights(own))
