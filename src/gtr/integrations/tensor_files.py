"""Tensors in nested containers as one safetensors file: what a PyTorch trainer keeps, unpickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gtr.errors import GTRError
from gtr.files import whole


def save(path: Path, state: Any) -> None:
    """Writes mappings, lists and tuples of tensors, numbers, texts and None, whole or not at all.

    Tensors that share their memory are written once.

    Args:
        path: the file.
        state: what to write; keys of mappings are texts or whole numbers.

    Raises:
        GTRError: it cannot be written; what was there before is untouched.
        TypeError: something in it is none of these.
    """
    tensors: dict[str, Tensor] = {}
    names: dict[tuple[Any, ...], str] = {}

    def outline(part: Any) -> Any:
        match part:
            case Tensor():
                held = (part.data_ptr(), part.dtype, tuple(part.shape), part.stride())
                # Without elements a tensor has no memory to be told by.
                name = names.get(held) if part.numel() else None
                if name is None:
                    name = names[held] = str(len(tensors))
                    tensors[name] = _alone(part)
                return {"tensor": name}
            case Mapping():
                if not all(isinstance(key, str | int) for key in part):
                    raise TypeError("keys must be texts or whole numbers")
                return {"items": [[key, outline(value)] for key, value in part.items()]}
            case list() | tuple():
                return {type(part).__name__: [outline(value) for value in part]}
            case None | bool() | int() | float() | str():
                return {"value": part}
            case _:
                raise TypeError(f"a {type(part).__name__} cannot be saved")

    metadata = {"state": json.dumps(outline(state))}
    with whole(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load(path: Path) -> Any:
    """What `save` wrote, with its tensors in the host's memory; mappings are dictionaries.

    Raises:
        GTRError: the file is damaged, or was not written by `save`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _rebuilt(described, tensors)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise GTRError(
            f"{path} cannot be read ({reason}): restore it from a copy, or delete it and what it "
            "belongs to and begin anew"
        ) from error


def _alone(tensor: Tensor) -> Tensor:
    """It, or its copy where it is a part of a larger memory, which safetensors refuses."""
    whole_of_it = tensor.detach().contiguous()
    larger = whole_of_it.untyped_storage().nbytes() > whole_of_it.nbytes
    return whole_of_it.clone() if larger else whole_of_it


def _rebuilt(described: dict[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    [(kind, content)] = described.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "items":
            return {key: _rebuilt(value, tensors) for key, value in content}
        case "list":
            return [_rebuilt(value, tensors) for value in content]
        case "tuple":
            return tuple(_rebuilt(value, tensors) for value in content)
        case _:
            return content
