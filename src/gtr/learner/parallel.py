"""One run on several devices, as a CPU's cores when there are fewer runs than cores.

The devices lie along a mesh axis and all hold the run's state. What is written here splits a piece
of work between them and gives every one the whole result, so nothing else has to know of it. An
axis of None is one device, and no work is split.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array

_LARGE = 2**14  # elements


def side_by_side(axis: str | None, *tasks: Callable[[], Any]) -> tuple[Any, ...]:
    """The result of each task; each is worked on by one device, in turn along the axis."""
    if axis is None:
        return tuple(task() for task in tasks)
    devices = lax.axis_size(axis)
    # traced once for the shapes and the branch
    traced, shapes = zip(
        *(jax.make_jaxpr(task, return_shape=True)() for task in tasks), strict=True
    )
    blank = [[jnp.zeros(x.shape, x.dtype) for x in task.out_avals] for task in traced]
    branches = [
        lambda i=i: [
            jaxpr_as_fun(task)() if j % devices == i else blank[j] for j, task in enumerate(traced)
        ]
        for i in range(devices)
    ]
    of_all = _gathered(axis, lax.switch(lax.axis_index(axis), branches))
    return tuple(
        jax.tree.unflatten(jax.tree.structure(shape), [x[j % devices] for x in result])
        for j, (shape, result) in enumerate(zip(shapes, of_all, strict=True))
    )


def split(
    axis: str | None,
    function: Callable[..., tuple],
    in_dims: tuple[int, ...],
    out_dims: tuple[int, ...],
) -> Callable[..., tuple]:
    """A function that treats the entries of some dimension alike, each device doing a part.

    Args:
        axis: the devices; their number divides the size of the dimension.
        function: of as many pytrees as `in_dims` has entries, to as many as `out_dims` has.
        in_dims: which dimension of each argument's arrays is split.
        out_dims: along which dimension the parts of each result are joined.
    """
    if axis is None:
        return function

    def mine(x: Array, dim: int) -> Array:
        size = x.shape[dim] // lax.axis_size(axis)
        return lax.dynamic_slice_in_dim(x, lax.axis_index(axis) * size, size, dim)

    def joined(x: Array, dim: int) -> Array:
        return x.reshape(-1, *x.shape[2:]) if dim == 0 else jnp.concatenate(list(x), dim)

    def on_parts(*arguments: Any) -> tuple:
        parts = [
            jax.tree.map(lambda x, dim=dim: mine(x, dim), argument)
            for argument, dim in zip(arguments, in_dims, strict=True)
        ]
        return tuple(
            jax.tree.map(lambda x, dim=dim: joined(x, dim), result)
            for result, dim in zip(_gathered(axis, function(*parts)), out_dims, strict=True)
        )

    return on_parts


def _gathered(axis: str, tree: Any) -> Any:
    """Every device's arrays, along a new leading axis.

    Devices wait for each other in each exchange, so small arrays of a type travel as one. Large
    ones do not: packing them would take longer.
    """
    leaves, structure = jax.tree.flatten(tree)
    parcels: dict[Any, list[int]] = {}
    for i, leaf in enumerate(leaves):
        parcels.setdefault(leaf.dtype if leaf.size < _LARGE else i, []).append(i)
    gathered: list[Any] = [None] * len(leaves)
    for parcel in parcels.values():
        packed = jnp.concatenate([leaves[i].reshape(-1) for i in parcel])
        rows = lax.all_gather(packed, axis)
        ends = np.cumsum([leaves[i].size for i in parcel])
        for i, row in zip(parcel, jnp.split(rows, ends[:-1], 1), strict=True):
            gathered[i] = row.reshape(len(rows), *leaves[i].shape)
    return structure.unflatten(gathered)
