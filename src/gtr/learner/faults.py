"""NaN and Inf: looked for on the device in each iteration, refused on the host after a chunk."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Bool, Int

from gtr.errors import GTRError

# What is looked at for NaN and Inf, in the order in which it is computed: the first is the culprit.
WATCHED = (
    "observation",
    "reward",
    "policy output",
    "value",
    "advantage",
    "policy loss",
    "value loss",
    "policy gradient",
    "value gradient",
    "parameters",
)


def look_for_faults(observation: Array, reward: Array, *later: Any) -> dict[str, Int[Array, ""]]:
    """What is not finite in an iteration.

    Args:
        observation: (t, e, ...).
        reward: (t, e).
        *later: the other parts that are watched, arrays or pytrees of them, in order.

    Returns:
        `faults`, a bit for each entry of `WATCHED` that holds a NaN or Inf, and `fault_step`, the
        first step of the rollout with one in its observation or reward.
    """
    bad_steps = ~_finite(observation, 1) | ~_finite(reward, 1)
    bad = [
        ~jnp.all(jnp.array([_finite(x, 0) for x in jax.tree.leaves(part)]))
        for part in (observation, reward, *later)
    ]
    bits = sum(flag.astype(jnp.int32) << bit for bit, flag in enumerate(bad))
    return {"faults": jnp.asarray(bits), "fault_step": jnp.argmax(bad_steps)}


def refuse_faults(
    measures: dict[str, np.ndarray], labels: pd.DataFrame, start: int, batch: int
) -> None:
    """Stops at the first iteration with a NaN or Inf in it, and names the culprit.

    Args:
        measures: of a chunk, each (runs, iterations).
        labels: a row a run: its seed, and its setting where there are several.
        start: number of the chunk's first iteration.
        batch: environment steps of a run in an iteration.

    Raises:
        GTRError: there is one.
    """
    faults = measures["faults"]
    if not faults.any():
        return
    offset = int(np.argmax(faults.any(0)))
    run = int(np.argmax(faults[:, offset] != 0))
    bits = int(faults[run, offset])
    culprit = WATCHED[(bits & -bits).bit_length() - 1]
    iteration = start + offset
    where = f"iteration {iteration}"
    if culprit in ("observation", "reward"):
        where += f", step {int(measures['fault_step'][run, offset])} of its rollout"
    label = f" ({labels['setting'][run]})" if "setting" in labels else ""
    raise GTRError(
        f"NaN or Inf in the {culprit} at {where} (environment step {iteration * batch:,}), "
        f"seed {labels['seed'][run]}{label}; the last good checkpoint is kept: "
        + (
            "mend the environment, then run the same command again"
            if culprit in ("observation", "reward")
            else "lower learning_rate or max_grad_norm in another directory"
        )
    )


def _finite(x: Array, leading: int) -> Bool[Array, "..."]:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.ones(x.shape[:leading], bool)
    return jnp.all(jnp.isfinite(x), axis=tuple(range(leading, x.ndim)))
