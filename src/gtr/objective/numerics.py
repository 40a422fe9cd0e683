"""Keeping floating point honest: bounds that every finite or infinite input passes through.

Two constants decide what is possible and what is not. No quantity of reinforcement learning comes
near them; they exist so that no input, however hostile, makes a loss or a gradient infinite.
"""

from typing import Any

from array_api_compat import array_namespace, is_jax_array, is_torch_array
from array_api_compat import device as device_of

Array = Any
"""An array of NumPy, JAX or PyTorch."""

Number = Any
"""A Python number, or a scalar array of the same library as the data (a JAX leaf, say)."""

LIMIT = 1e9
"""Largest magnitude of a log-probability, an advantage, a stiffness, a radius or a clip range.

Squares and products of such numbers stay below the largest float32 (3.4e38).
"""

LOG_RATIO_CAP = 20.0
"""Largest magnitude of a log-ratio before it is exponentiated, as in verl and TRL.

The ratio lies in [2e-9, 4.9e8]; beyond it the surrogate is constant and has no gradient.
"""

LOG_DENSITY_CAP = 20.0
"""Largest log-probability before it is exponentiated; a density above e^20 counts as e^20.

Squares of such densities (2.4e17) stay within what the penalties take for a divergence.
"""

SMALLEST_CLIP = 1e-6


def widened(x: Array) -> Array:
    """`x` itself, or as float32 where its own type has fewer than 32 bits (bfloat16, float16)."""
    if x.dtype.itemsize >= 4:
        return x
    xp = array_namespace(x)
    return xp.astype(x, xp.float32)


def bounded(x: Array | Number, low: Number, high: Number) -> Any:
    """`x` kept within [low, high], with gradient 1 inside and at the edges, 0 outside; NaN stays.

    Arrays are widened first, since float16 cannot hold the bounds.

    The Array API's own `clip` differs between libraries at the edges (JAX halves the gradient) and
    is written with masked assignment for PyTorch, which `torch.func.vmap` cannot follow.
    """
    if isinstance(x, int | float):
        return min(max(float(x), low), high)
    x = widened(x)
    if is_torch_array(x) and isinstance(low, int | float) and isinstance(high, int | float):
        return x.clamp(low, high)  # the same in one operation, of which an objective has dozens
    xp = array_namespace(x)
    x = xp.where(x < low, low, x)
    return xp.where(x > high, high, x)


def log_difference(log_prob: Array, reference: Array) -> Array:
    """log_prob - reference, finite for every finite or infinite pair.

    Both are bounded by `LIMIT` first, so an action to which one of the two gives probability 0
    (-inf) is at a large, finite distance, and one to which both do is at distance 0.
    """
    return bounded(log_prob, -LIMIT, LIMIT) - bounded(reference, -LIMIT, LIMIT)


def ratio(log_ratio: Array) -> Array:
    """exp(log_ratio), with the log-ratio capped at `LOG_RATIO_CAP` so that it cannot overflow."""
    log_ratio = bounded(log_ratio, -LOG_RATIO_CAP, LOG_RATIO_CAP)
    return array_namespace(log_ratio).exp(log_ratio)


def stop_gradient(x: Array) -> Array:
    """`x` as a constant to automatic differentiation; `x` itself where there is none (NumPy)."""
    if is_torch_array(x):
        return x.detach()
    if is_jax_array(x):
        from jax.lax import stop_gradient as jax_stop_gradient

        return jax_stop_gradient(x)
    return x


def as_like(values: Any, x: Array) -> Array:
    """`values` (an array, or a sequence) with the library, type and device of `x`."""
    xp = array_namespace(x)
    if is_torch_array(x):
        if is_torch_array(values):
            return values.to(device_of(x), x.dtype)
        return xp.asarray(values, dtype=x.dtype, device=device_of(x))
    return xp.asarray(values, dtype=x.dtype)
