"""What a column of metrics.csv is called in TensorBoard, Weights & Biases and MLflow alike."""

import math
from collections.abc import Mapping
from typing import Any

# The names that users of the peers watch (Stable-Baselines3); the rest go under "gtr/".
_TAGS = {
    "return": "rollout/ep_rew_mean",
    "length": "rollout/ep_len_mean",
    "entropy": "train/entropy",
    "kl": "train/approx_kl",
    "clip_fraction": "train/clip_fraction",
    "policy_loss": "train/policy_gradient_loss",
    "value_loss": "train/value_loss",
    "explained_variance": "train/explained_variance",
    "learning_rate": "train/learning_rate",
}
# What says where a row belongs, and is no measure.
_PLACE = ("iteration", "seed", "step")


def scalars(row: Mapping[Any, Any]) -> dict[str, float]:
    """Every number of a row that is one, by its tag; the row's step is the axis they stand on."""
    return {
        _TAGS.get(name, f"gtr/{name}"): float(value)
        for name, value in row.items()
        if name not in _PLACE and math.isfinite(value)
    }
