"""Times GTRTrainer beside TRL's own GRPOTrainer on the same work, in turns.

    python benchmarks/integrations/beside_trl.py --turns 3

One thread, processor time: so that what else the machine does matters little.
"""

import argparse
import os
import statistics
import tempfile
import time
from importlib.metadata import version
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, logging
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from gtr.integrations.trl import GTRConfig, GTRTrainer

CHARACTERS = "0123456789+-= "


def tokenizer() -> PreTrainedTokenizerFast:
    names = ["<pad>", "<end>", *CHARACTERS]
    built = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, "<pad>"))
    built.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=built, pad_token="<pad>", eos_token="<end>", padding_side="left"
    )


def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048,
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config)


def seconds(kind: type, steps: int, lora: bool, **numbers: Any) -> float:
    """Processor time of a training after its first generation batch, which warms up."""
    configuration = GTRConfig if kind is GTRTrainer else GRPOConfig
    begun: list[float] = []

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        begun.append(time.process_time())
        return [float(ids[0] % 2) for ids in completion_ids]

    with tempfile.TemporaryDirectory() as directory:
        args = configuration(
            output_dir=directory,
            report_to="none",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
            save_strategy="no",
            logging_steps=steps,
            max_steps=steps + 2,
            per_device_train_batch_size=32,
            num_generations=8,
            num_iterations=2,
            max_completion_length=16,
            **numbers,
        )
        own = kind(
            model(),
            reward,
            args=args,
            train_dataset=Dataset.from_dict({"prompt": [f"{i} + {i + 1} =" for i in range(64)]}),
            processing_class=tokenizer(),
            peft_config=LoraConfig(r=8) if lora else None,
        )
        own.remove_callback(PrinterCallback)
        own.train()
    return time.process_time() - begun[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    named = ("trl", "transformers", "torch", "peft")
    print(", ".join(f"{name} {version(name)}" for name in named))
    for lora in (False, True):
        ratios = []
        for _ in range(chosen.turns):
            grpo = seconds(GRPOTrainer, chosen.steps, lora)
            gtr = seconds(GTRTrainer, chosen.steps, lora, anchors=4)
            ratios.append(gtr / grpo)
        print(
            f"{'LoRA' if lora else 'full'}: GTR with 4 anchors / GRPO "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}), GRPO "
            f"{grpo / chosen.steps:.2f} s a step in the last turn",
            flush=True,
        )


if __name__ == "__main__":
    main()
