"""A policy's arrays by the names, and in the layouts, that PyTorch's modules have for them."""

from collections.abc import Mapping
from dataclasses import fields
from functools import singledispatch
from typing import Any

import numpy as np

from gtr.learner.anchors import Policy
from gtr.networks.cores import GRUCore, LSTMCore
from gtr.networks.layers import Conv, Conv3x3, Dense, LayerNorm
from gtr.networks.torsos import Grid, Residual, Strided

Arrays = dict[str, np.ndarray]


def weights(policy: Policy) -> Arrays:
    """What `TorchPolicy.load_state_dict` takes, as NumPy arrays.

    Args:
        policy: of one run, without a leading axis.
    """
    found = _arrays(policy.actor.network) | {"free": np.asarray(policy.actor.free)}
    if policy.moments is not None:
        found["mean"] = np.asarray(policy.moments.mean)
        # the number that `Moments.normalise` adds
        found["deviation"] = np.sqrt(np.asarray(policy.moments.variance) + np.float32(1e-8))
    return found


@singledispatch
def _arrays(part: Any) -> Arrays:
    """Of a part without a layout of its own: those of its fields, by their names."""
    if part is None or isinstance(part, str | int):
        return {}
    if isinstance(part, tuple):
        return _under({str(i): each for i, each in enumerate(part)})
    if hasattr(part, "shape"):
        return {"": np.asarray(part)}
    return _under({field.name: getattr(part, field.name) for field in fields(part)})


def _under(parts: Mapping[str, Any]) -> Arrays:
    return {
        f"{name}.{inner}" if inner else name: array
        for name, part in parts.items()
        for inner, array in _arrays(part).items()
    }


@_arrays.register
def _(part: Dense) -> Arrays:
    return {"weight": np.asarray(part.weight).T, "bias": np.asarray(part.bias)}


@_arrays.register
def _(part: LayerNorm) -> Arrays:
    return {"weight": np.asarray(part.scale), "bias": np.asarray(part.offset)}


@_arrays.register
def _(part: Conv) -> Arrays:
    return {
        "weight": np.asarray(part.weight).transpose(3, 2, 0, 1),
        "bias": np.asarray(part.bias),
    }


@_arrays.register
def _(part: Conv3x3) -> Arrays:
    weight = np.asarray(part.dense.weight)
    kernel = weight.reshape(3, 3, -1, weight.shape[1])
    return {"weight": kernel.transpose(3, 2, 0, 1), "bias": np.asarray(part.dense.bias)}


@_arrays.register(Grid | Strided | Residual)
def _(part: Grid | Strided | Residual) -> Arrays:
    of_layers = {field.name: getattr(part, field.name) for field in fields(part)}
    return {f"layers.{name}": array for name, array in _under(of_layers).items()}


@_arrays.register
def _(part: GRUCore) -> Arrays:
    width = len(np.asarray(part.candidate_bias))
    nothing = np.zeros(2 * width, np.float32)
    return {
        "weight_ih": np.asarray(part.input).T,
        "weight_hh": np.asarray(part.recurrent).T,
        "bias_ih": np.asarray(part.bias),
        "bias_hh": np.concatenate([nothing, np.asarray(part.candidate_bias)]),
    }


@_arrays.register
def _(part: LSTMCore) -> Arrays:
    return {
        "weight_ih": np.asarray(part.input).T,
        "weight_hh": np.asarray(part.recurrent).T,
        "bias_ih": np.asarray(part.bias),
        "bias_hh": np.zeros_like(np.asarray(part.bias)),
    }
