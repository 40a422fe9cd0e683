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
        `faults`, a bit for each entry of `WATCHED` that holds a NaN or Inf; `fault_step`, the first
        step of the rollout with one in its observation or reward; `fault_copy`, the first copy of
        the environment that had it there.
    """
    where = ~_finite(observation, 2) | ~_finite(reward, 2)
    first = jnp.argmax(jnp.any(where, 1))
    bad = [
        ~jnp.all(jnp.array([_finite(x, 0) for x in jax.tree.leaves(part)]))
        for part in (observation, reward, *later)
    ]
    bits = sum(flag.astype(jnp.int32) << bit for bit, flag in enumerate(bad))
    return {
        "faults": jnp.asarray(bits),
        "fault_step": first,
        "fault_copy": jnp.argmax(where[first]),
    }


class Diverged(GTRError):
    """Every setting that was trained has met a NaN or Inf."""


class FaultWatch:
    """Refuses what is not finite, and names the culprit.

    Runs are independent: as long as one setting is sound in all its seeds the others go on without
    those that are not, whose rows end before their first fault.

    Args:
        labels: a row a run: its seed, and its setting where there are several.
        batch: environment steps of a run in an iteration.
    """

    def __init__(self, labels: pd.DataFrame, batch: int) -> None:
        self._labels, self._batch = labels, batch
        several = "setting" in labels
        self._settings = labels["setting"].to_numpy() if several else np.full(len(labels), "")
        self._lost = np.zeros(len(labels), bool)

    def sound(self, measures: dict[str, np.ndarray], start: int) -> Bool[np.ndarray, "runs n"]:
        """Where a chunk's measures can be recorded; a setting given up is told of once.

        Args:
            measures: of a chunk, each (runs, iterations).
            start: number of the chunk's first iteration.

        Raises:
            Diverged: no setting is left.
        """
        bad = measures["faults"] != 0
        lost_before, self._lost = self._lost, self._lost | bad.any(1)
        given_up = set(self._settings[self._lost])
        if given_up == set(self._settings):
            culprit, fault = self._first(measures, bad, start)
            raise Diverged(
                f"{fault}; the last good checkpoint is kept: "
                + (
                    "mend the environment, then run the same command again"
                    if culprit in ("observation", "reward")
                    else "lower learning_rate or max_grad_norm in another directory"
                )
            )
        for setting in sorted(given_up - set(self._settings[lost_before])):
            theirs = bad & (self._settings == setting)[:, None]
            print(f"given up: {self._first(measures, theirs, start)[1]}", flush=True)
        return ~(lost_before[:, None] | np.logical_or.accumulate(bad, axis=1))

    def _first(
        self, measures: dict[str, np.ndarray], bad: Bool[np.ndarray, "runs n"], start: int
    ) -> tuple[str, str]:
        """The culprit of the first fault among the bad ones, and where it was met."""
        offset = int(np.argmax(bad.any(0)))
        run = int(np.argmax(bad[:, offset]))
        bits = int(measures["faults"][run, offset])
        culprit = WATCHED[(bits & -bits).bit_length() - 1]
        iteration = start + offset
        where = f"iteration {iteration}"
        if culprit in ("observation", "reward"):
            step, copy = (int(measures[k][run, offset]) for k in ("fault_step", "fault_copy"))
            where += f", step {step} of its rollout in copy {copy}"
        label = f" ({self._settings[run]})" if self._settings[run] else ""
        return culprit, (
            f"NaN or Inf in the {culprit} at {where} (environment step "
            f"{iteration * self._batch:,}), seed {self._labels['seed'][run]}{label}"
        )


def _finite(x: Array, leading: int) -> Bool[Array, "..."]:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.ones(x.shape[:leading], bool)
    return jnp.all(jnp.isfinite(x), axis=tuple(range(leading, x.ndim)))
