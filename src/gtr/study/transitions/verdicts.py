"""An answer, and the numbers and words in which it says what is shown.

`better`, `worse` and the like are verdicts on a paired difference; `SHOWN` spells them out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from gtr.study.aggregate import (
    aggregate_difference,
    aggregate_improvement,
)
from gtr.study.statistics import (
    NO_DIFFERENCE,
    paired_difference,
    probability_of_improvement,
    verdict,
)
from gtr.study.wording import listed


@dataclass(frozen=True)
class Answer:
    """What is known about a question.

    Attributes:
        sentence: the answer in words; empty while nothing is known.
        tables: tidy, by name; cells may be an `Estimate`.
        missing: what is not there, in one line; empty where nothing is missing.
    """

    sentence: str
    tables: Mapping[str, pd.DataFrame]
    missing: str = ""


TOGETHER = "all together"
"""Stands where a suite's name would, for what holds over several."""

ONE_SEED = "one seed, no interval"

SHOWN = {
    "better": "gtr is better",
    "worse": "gtr is worse",
    NO_DIFFERENCE: NO_DIFFERENCE,
    ONE_SEED: "one seed, so nothing is shown",
    "no common seeds": "no seed in common",
}

REFERENCE = {"shown": "reference"}


def apart(own: pd.Series, base: pd.Series) -> dict[str, Any]:
    """Columns of one arm beside another, from their runs' scores by seed."""
    difference = paired_difference(own, base)
    improvement = probability_of_improvement(own, base)
    return {"difference": difference, "shown": verdict(difference), "improvement": improvement}


def apart_together(
    values: pd.DataFrame, arm: str, base: str, suites: tuple[str, ...]
) -> dict[str, Any]:
    """The same over several suites, from normalised scores (columns suite, method, seed, value)."""
    difference = aggregate_difference(values, arm, base, suites)
    improvement = aggregate_improvement(values, arm, base, suites)
    return {"difference": difference, "shown": verdict(difference), "improvement": improvement}


def _by_word(verdicts: Mapping[str, str]) -> dict[str, list[str]]:
    """Whom each verdict was found for; wins first, and no verdict that was not found."""
    groups = {word: [one for one, found in verdicts.items() if found == word] for word in SHOWN}
    return {word: names for word, names in groups.items() if names}


def on_suites(verdicts: Mapping[str, str], words: tuple[str, str]) -> str:
    """What was found on which suites, such as `better on a and b, no difference shown on c`."""
    groups = _by_word(verdicts)
    phrases = SHOWN | dict(zip(("better", "worse"), words, strict=True))
    if len(groups) == 1 and len(verdicts) > 2:
        return f"{phrases[next(iter(groups))]} on all {len(verdicts)} suites"
    return ", ".join(f"{phrases[word]} on {listed(names)}" for word, names in groups.items())


def for_arms(verdicts: Mapping[str, str]) -> str:
    """What was found for which arms, such as `a and b better, no difference shown for c`."""
    return ", ".join(
        f"{listed(names)} {word}"
        if word in ("better", "worse")
        else f"{SHOWN[word]} for {listed(names)}"
        for word, names in _by_word(verdicts).items()
    )


def not_there(*parts: tuple[str, Sequence[str]]) -> str:
    """One line on what is missing and of whom; empty where nobody is named."""
    told = [f"{what} {listed(names)}" for what, names in parts if names]
    return f"Not there yet: {'; '.join(told)}." if told else ""


def as_sentence(parts: Sequence[str], lead: str = "") -> str:
    """The parts in one sentence; empty where there are none."""
    if not parts:
        return ""
    sentence = lead + "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."
