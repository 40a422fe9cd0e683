"""How numbers, methods and measurements are written, in every place alike."""

import math

from gtr.study.statistics import Estimate

LABELS = {
    "normalised": "normalised score",
    "later_return": "return after the first phase",
    "first_return": "return in the first phase",
    "last_fifth": "return in the last fifth of a phase",
    "adaptation_time": "adaptation time",
    "adaptation_censored": "not adapted",
    "regret": "dynamic regret",
    "entropy": "entropy (nats)",
    "kl": "KL to the behaviour policy (nats)",
    "clip_fraction": "share of samples clipped",
    "redescended_fraction": "share of samples beyond the radius",
    "anchor_spread": "spread of the anchors (nats)",
    "effective_rank": "effective rank of the last layer",
    "dormant_fraction": "share of dormant units",
    "path_length": "path length (Hellinger)",
    "net_displacement": "net displacement (Hellinger)",
    "directional_efficiency": "directional efficiency",
    "step_cosine": "cosine of successive steps",
}

MISSING = "–"


def number(value: float | None, like: float | None = None) -> str:
    """A number with about three digits.

    Args:
        value: to be written; a dash where it is not defined.
        like: take the number of decimals that suits this magnitude instead.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    size = abs(value if like is None else like)
    decimals = 0 if size >= 100 else 1 if size >= 10 else 2
    written = f"{value:,.{decimals}f}"
    return (
        written.replace("-", "\N{MINUS SIGN}")
        if float(written.replace(",", ""))
        else (written.replace("-", ""))
    )


def estimate(value: Estimate | None, signed: bool = False) -> str:
    """An estimate and its interval, such as `0.53 [0.41, 0.66]`.

    Args:
        value: to be written; a dash where there is none.
        signed: whether to write the plus of a positive number.
    """
    if value is None or not value.runs:
        return MISSING
    size = max(abs(x) for x in (value.value, value.low, value.high) if x is not None)
    middle = ("+" if signed and value.value > 0 else "") + number(value.value, size)
    if value.low is None:
        return middle
    return f"{middle} [{number(value.low, size)}, {number(value.high, size)}]"


def share(value: float | None) -> str:
    """A share in per cent."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{100 * value:.0f}%"
