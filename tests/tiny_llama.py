"""A language model of a few hundred weights and its tokenizer, made without any hub."""

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHARACTERS = "0123456789+-=? \n"


def tokenizer(pad: bool = True) -> PreTrainedTokenizerFast:
    """A token for each character of `CHARACTERS`; 0 pads (if `pad`), 1 ends."""
    names = ["<pad>", "<end>", *CHARACTERS]
    built = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, "<pad>"))
    built.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    special = {"eos_token": "<end>"} | ({"pad_token": "<pad>"} if pad else {})
    return PreTrainedTokenizerFast(tokenizer_object=built, padding_side="left", **special)


def model(
    seed: int = 0, hidden: int = 16, layers: int = 2, spread: float = 0.5
) -> LlamaForCausalLM:
    """In training mode, float32; with a small spread of its weights it says everything alike."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(CHARACTERS) + 2,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        initializer_range=spread,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    return LlamaForCausalLM(config).train()
