"""Trained policies for other places: ONNX, PyTorch, safetensors (docs/export.md)."""

try:
    import onnx as onnx
    import torch as torch
except ImportError as error:
    from gtr.errors import GTRError

    raise GTRError(f"{error.name} is not installed: pip install 'gtr-rl[export]'") from error

from gtr.export.files import load, save
from gtr.export.kept import export

__all__ = ["export", "load", "save"]
