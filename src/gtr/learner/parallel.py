"""One run on several devices, where there are more of them than runs.

The devices lie along a mesh axis and all hold the run's state. What is written here splits a piece
of work between them and gives every one the whole result, so nothing else has to know of it. An
axis of None is one device, and no work is split.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import jaxpr_as_fun
from jaxtyping import Array

_LARGE = 2**14  # elements


def side_by_side(axis: str | None, *tasks: Callable[[], Any]) -> tuple[Any, ...]:
    """The result of each task; each is worked on by one device, in turn along the axis.

    Results differ in shape between devices, so all arrays of a type travel as one, large ones too.
    """
    if axis is None:
        return tuple(task() for task in tasks)
    devices = lax.axis_size(axis)
    # traced once, for the shapes and for the branch
    traced, shapes = zip(
        *(
            jax.make_jaxpr(lambda i=i: [task() for task in tasks[i::devices]], return_shape=True)()
            for i in range(devices)
        ),
        strict=True,
    )
    sizes = [_sizes(shape) for shape in shapes]
    room = {kind: max(size.get(kind, 0) for size in sizes) for size in sizes for kind in size}
    branches = [lambda share=share: _packed(jaxpr_as_fun(share)(), room) for share in traced]
    rows = lax.all_gather(lax.switch(lax.axis_index(axis), branches), axis)
    results = [
        _unpacked(jax.tree.map(lambda row, i=i: row[i], rows), shape)
        for i, shape in enumerate(shapes)
    ]
    return tuple(results[j % devices][j // devices] for j in range(len(tasks)))


def split(
    axis: str | None,
    function: Callable[..., tuple],
    in_dims: tuple[int, ...],
    out_dims: tuple[int, ...],
) -> Callable[..., tuple]:
    """A function that treats the entries of some dimension alike, each device doing a part.

    Where the entries do not divide among the devices, every device does all of them.

    Args:
        axis: the devices.
        function: of as many pytrees as `in_dims` has entries, to as many as `out_dims` has.
        in_dims: which dimension of each argument's arrays is split.
        out_dims: along which dimension the parts of each result are joined.
    """
    if axis is None:
        return function

    def joined(x: Array, dim: int) -> Array:
        return x.reshape(-1, *x.shape[2:]) if dim == 0 else jnp.concatenate(list(x), dim)

    def on_parts(*arguments: Any) -> tuple:
        given = list(zip(arguments, in_dims, strict=True))
        sizes = [x.shape[dim] for argument, dim in given for x in jax.tree.leaves(argument)]
        if any(size % lax.axis_size(axis) for size in sizes):
            return function(*arguments)
        parts = [share(axis, argument, dim) for argument, dim in given]
        return tuple(
            jax.tree.map(lambda x, dim=dim: joined(x, dim), result)
            for result, dim in zip(_gathered(axis, function(*parts)), out_dims, strict=True)
        )

    return on_parts


def share(axis: str | None, tree: Any, dim: int) -> Any:
    """This device's part of the entries of a dimension, which divide among the devices."""
    if axis is None:
        return tree

    def mine(x: Array) -> Array:
        size = x.shape[dim] // lax.axis_size(axis)
        return lax.dynamic_slice_in_dim(x, lax.axis_index(axis) * size, size, dim)

    return jax.tree.map(mine, tree)


def _gathered(axis: str, tree: Any) -> Any:
    """Every device's arrays, along a new leading axis.

    Devices wait for each other in each exchange, so small arrays of a type travel as one. Large
    ones do not: packing them would take longer.
    """
    leaves, structure = jax.tree.flatten(tree)
    small = [leaf for leaf in leaves if leaf.size < _LARGE]
    packed = lax.all_gather(_packed(small, _sizes(small)), axis)
    number = lax.axis_size(axis)
    unpacked = iter(jax.vmap(lambda parcels: _unpacked(parcels, small), axis_size=number)(packed))
    return structure.unflatten(
        [next(unpacked) if leaf.size < _LARGE else lax.all_gather(leaf, axis) for leaf in leaves]
    )


def _sizes(tree: Any) -> dict[str, int]:
    """Elements of each type."""
    sizes = Counter()
    for leaf in jax.tree.leaves(tree):
        sizes[leaf.dtype.name] += leaf.size
    return dict(sizes)


def _packed(leaves: list[Array], room: dict[str, int]) -> dict[str, Array]:
    """All arrays of a type as one vector of the given size, filled up with zeros."""
    parcels = {}
    for kind, size in room.items():
        parts = [leaf.reshape(-1) for leaf in leaves if leaf.dtype.name == kind]
        rest = size - sum(part.size for part in parts)
        parcels[kind] = jnp.concatenate([*parts, jnp.zeros(rest, kind)])
    return parcels


def _unpacked(parcels: dict[str, Array], like: Any) -> Any:
    """What was packed, with the structure and shapes of `like`."""
    leaves, structure = jax.tree.flatten(like)
    taken = Counter()
    unpacked = []
    for leaf in leaves:
        kind = leaf.dtype.name
        part = parcels[kind][taken[kind] : taken[kind] + leaf.size]
        taken[kind] += leaf.size
        unpacked.append(part.reshape(leaf.shape))
    return structure.unflatten(unpacked)
