"""The acceptance bar: what must hold before GTR may be called better, and whether it does."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd

from gtr.study.aggregate import aggregate_improvement, aggregate_iqm, common_suites
from gtr.study.statistics import CLAIM_RUNS, Estimate
from gtr.study.transitions.plan import MAIN
from gtr.study.transitions.reading import Study, in_order, lacking, normalised
from gtr.study.wording import count, listed
from gtr.study.wording import estimate as written

_ENOUGH = 0.98
"""Share of PPO's score on the stationary twins that GTR must keep."""

_NOTHING = "no suite has all the runs that it takes"


@dataclass(frozen=True)
class Line:
    """One demand of the acceptance bar.

    Attributes:
        name: for files.
        asks: the demand, in words.
        met: whether it is met; None while that is not known.
        finds: the numbers, in words.
        values: the numbers; some are an `Estimate`.
    """

    name: str
    asks: str
    met: bool | None
    finds: str
    values: Mapping[str, Estimate | float]

    @property
    def word(self) -> str:
        """Whether it is met, in words."""
        return _met(self.met)


@dataclass(frozen=True)
class Bar:
    """The acceptance bar.

    Attributes:
        lines: its demands.
        counted: the changing suites that count.
        missing: those that do not, because a main arm has no score there.
        twins_counted: the suites whose stationary twins count.
        twins_missing: those whose twins do not.
        runs: the smallest number of runs that a demand rests on.
    """

    lines: tuple[Line, ...]
    counted: tuple[str, ...]
    missing: tuple[str, ...]
    twins_counted: tuple[str, ...]
    twins_missing: tuple[str, ...]
    runs: int

    @property
    def met(self) -> bool | None:
        """Whether all demands are met; None while that is not known."""
        return _all(line.met for line in self.lines)

    @property
    def smoke_check(self) -> bool:
        """Whether there are too few runs for a claim."""
        return 0 < self.runs < CLAIM_RUNS

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        words = [line.word for line in self.lines]
        told = [word for word in map(_met, (True, False, None)) if word in words]
        numbers = [(words.count(word), word) for word in told]
        counts = [f"{number} {'is' if number == 1 else 'are'} {word}" for number, word in numbers]
        sentence = (
            f"GTR's acceptance bar is {_met(self.met)}: of its {len(words)} demands "
            f"{listed(counts)}."
        )
        if self.smoke_check:
            sentence = f"Smoke check with {count(self.runs, 'seed')}. {sentence}"
        return sentence


def acceptance(study: Study) -> Bar:
    """The acceptance bar: what must hold before GTR may be called better.

    Args:
        study: finished or not; while a suite is missing no demand counts as known.
    """
    scores, twins = normalised(study.changing), normalised(study.stationary)
    planned = study.extent.main
    counted = in_order(common_suites(scores, MAIN), planned)
    twins_counted = in_order(common_suites(twins, MAIN[:2]), planned)
    lines = [
        _improvement_line(scores, counted, planned),
        *(_interval_line(scores, rival, counted, planned) for rival in MAIN if rival != "gtr"),
        _twin_line(twins, twins_counted, planned),
    ]
    found = [e.runs for line in lines for e in line.values.values() if isinstance(e, Estimate)]
    return Bar(
        lines=tuple(lines),
        counted=counted,
        missing=lacking(planned, counted),
        twins_counted=twins_counted,
        twins_missing=lacking(planned, twins_counted),
        runs=min(found, default=0),
    )


def _improvement_line(
    scores: pd.DataFrame, counted: tuple[str, ...], planned: tuple[str, ...]
) -> Line:
    asks = "GTR beats PPO: the 95% interval of the probability of improvement lies above 0.5"
    if not counted:
        return Line("improvement", asks, None, _NOTHING, {})
    found = aggregate_improvement(scores, "gtr", "ppo", counted)
    met = None if found.low is None else found.low > 0.5
    return _line("improvement", asks, met, written(found), {"improvement": found}, counted, planned)


def _interval_line(
    scores: pd.DataFrame, rival: str, counted: tuple[str, ...], planned: tuple[str, ...]
) -> Line:
    name, asks = f"above-{rival}", f"GTR's aggregate score lies above {rival}'s, intervals apart"
    if not counted:
        return Line(name, asks, None, _NOTHING, {})
    own, other = (aggregate_iqm(scores, one, counted) for one in ("gtr", rival))
    met = None if own.low is None or other.high is None else own.low > other.high
    finds = f"gtr {written(own)}, {rival} {written(other)}"
    return _line(name, asks, met, finds, {"gtr": own, rival: other}, counted, planned)


def _twin_line(twins: pd.DataFrame, counted: tuple[str, ...], planned: tuple[str, ...]) -> Line:
    asks = f"Where nothing changes, GTR's aggregate score is at least {_ENOUGH} of PPO's"
    if not counted:
        return Line("stationary", asks, None, _NOTHING, {})
    own, other = (aggregate_iqm(twins, one, counted) for one in ("gtr", "ppo"))
    values: dict[str, Estimate | float] = {"gtr": own, "ppo": other}
    finds = f"gtr {written(own)}, ppo {written(other)}"
    if other.value <= 0:
        finds += ": ppo is no better than random there, so no share of it can be told"
        return _line("stationary", asks, None, finds, values, counted, planned)
    values["share"] = share = own.value / other.value
    finds += f": a share of {share:.3f}"
    return _line("stationary", asks, share >= _ENOUGH, finds, values, counted, planned)


def _line(
    name: str,
    asks: str,
    met: bool | None,
    finds: str,
    values: Mapping[str, Estimate | float],
    counted: tuple[str, ...],
    planned: tuple[str, ...],
) -> Line:
    if any(isinstance(e, Estimate) and e.low is None for e in values.values()):
        finds += "; one seed, no interval"
    if len(counted) < len(planned):
        finds = f"so far {_met(met)}, on {len(counted)} of {len(planned)} suites: {finds}"
        met = None
    return Line(name, asks, met, finds, values)


def _all(known: Iterable[bool | None]) -> bool | None:
    """Whether all hold; False as soon as one does not, None where that is not known."""
    held = list(known)
    if False in held:
        return False
    return None if None in held else True


def _met(known: bool | None) -> str:
    return "not known yet" if known is None else "met" if known else "not met"
