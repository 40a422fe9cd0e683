"""How numbers, methods and measurements are written, in every place alike."""

import math
from collections.abc import Sequence

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
    "redescended_advantage": "their share of |advantage|",
    "anchor_spread": "spread of the anchors (nats)",
    "effective_rank": "effective rank of the last layer",
    "dormant_fraction": "share of dormant units",
    "path_length": "path length (Hellinger)",
    "net_displacement": "net displacement (Hellinger)",
    "directional_efficiency": "directional efficiency",
    "step_cosine": "cosine of successive steps",
}

MISSING = "–"


def number(value: float | None, decimals: int | None = None) -> str:
    """A number with about three digits.

    Args:
        value: to be written; a dash where it is not defined.
        decimals: how many; what suits the number's size where None.
    """
    if value is None or not math.isfinite(value):
        return MISSING
    decimals = _decimals([value]) if decimals is None else decimals
    return f"{value:z,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def estimate(value: Estimate | None, signed: bool = False) -> str:
    """An estimate and its interval, such as `0.53 [0.41, 0.66]`.

    Args:
        value: to be written; a dash where there is none.
        signed: whether to write the plus of a positive number.
    """
    if value is None or not value.runs:
        return MISSING
    plus = "+" if signed and value.value > 0 else ""
    if value.low is None or value.high is None:
        return plus + number(value.value)
    decimals = _decimals([value.value, value.low, value.high])
    # An end that is not 0 must not look like 0, or the verdict beside it would seem wrong.
    while decimals < 4 and any(0 < abs(x) < 0.5 * 10**-decimals for x in (value.low, value.high)):
        decimals += 1
    low, high = number(value.low, decimals), number(value.high, decimals)
    return f"{plus}{number(value.value, decimals)} [{low}, {high}]"


def share(value: float | None) -> str:
    """A share in per cent."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{100 * value:.0f}%"


def count(number: int, what: str) -> str:
    """A number of things, such as `1 seed` or `10 seeds`."""
    return f"{number} {what}{'s' * (number != 1)}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, such as `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _decimals(values: list[float]) -> int:
    size = max(map(abs, values))
    return 0 if size >= 100 else 1 if size >= 10 else 2
