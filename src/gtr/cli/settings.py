"""What `--set` and `--settings` say: numbers of methods and of the learner."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtr.errors import GTRError

if TYPE_CHECKING:
    from gtr.learner.run import Setting
    from gtr.suites import Suite

Assigned = Sequence[Sequence[str]]  # what --set was given, each time it was


def settings_of(
    problem: "Suite",
    names: Sequence[str],
    assigned: Assigned,
    file: Path | None = None,
    strict: bool = True,
) -> "list[Setting]":
    """Each method with what was tuned and, before that, what was assigned.

    With `strict`, every assigned number must be one of the learner or of some of the methods, and
    every method must be in the file.
    """
    from gtr.learner.config import configure
    from gtr.learner.run import Setting
    from gtr.methods import method, numbers
    from gtr.study.arms import arm
    from gtr.study.tune import Tuned, read_tuned

    learner, own = assignments(assigned)
    arms = {name: arm(name) for name in names}
    known = {name: numbers(method(one.method)) for name, one in arms.items()}
    if strict:
        for name in own:
            if not any(name in one for one in known.values()):
                raise _unknown(name, known)
    tuned = {} if file is None else read_tuned(file)
    settings = []
    for name in names:
        if strict and file is not None and name not in tuned:
            raise GTRError(f"{file} has no settings for {name!r}; tune it too, or leave it out")
        found = tuned.get(name, Tuned({}, {}))
        mine = {key: value for key, value in own.items() if key in known[name]}
        chosen = method(arms[name].method, **{**found.numbers, **mine})
        cured = arms[name].config(problem.config)
        config = configure(cured, **{**found.learner, **learner})
        settings.append(Setting(chosen, config, name))
    return settings


def shared_config(problem: "Suite", assigned: Assigned, only: bool = False) -> Any:
    """The learner's configuration that all arms begin with; `only` refuses methods' numbers."""
    from gtr.learner.config import configure

    learner, own = assignments(assigned)
    for name in own if only else ():
        raise _unknown(name, {})
    return configure(problem.config, **learner)


def pairs(given: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name and text of each NAME=VALUE.

    Raises:
        GTRError: one is not of this form.
    """
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or not name or not text:
            raise GTRError(f"--set takes NAME=VALUE, not {pair!r}")
        yield name, text


def assignments(assigned: Assigned) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `--set` assigns to the learner, and what to methods."""
    from gtr.learner.config import LearnerConfig

    learner, own = {}, {}
    defaults = LearnerConfig()
    for name, text in pairs(chain.from_iterable(assigned)):
        value = _value(text)
        if name not in _learner_numbers():
            own[name] = value
            continue
        if isinstance(getattr(defaults, name), bool) and not isinstance(value, bool):
            raise GTRError(f"{name} is {text!r}; give true or false")
        # Elsewhere "none" is a choice of its own (of advantage_scale, of regulariser).
        if getattr(defaults, name) is None and text.lower() == "none":
            value = None
        learner[name] = value
    return learner, own


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)


def _learner_numbers() -> list[str]:
    from gtr.learner.config import LearnerConfig

    return [field.name for field in fields(LearnerConfig) if field.name != "network"]


def _unknown(name: str, known: dict[str, dict[str, Any]]) -> GTRError:
    owners = {"the learner": _learner_numbers()} | {key: list(one) for key, one in known.items()}
    close = difflib.get_close_matches(name, [n for one in owners.values() for n in one], 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    listed = "; ".join(f"{owner} has {', '.join(one)}" for owner, one in owners.items())
    return GTRError(f"there is no number {name!r}{hint} ({listed})")
