"""Which task is trained when."""

from collections.abc import Sequence
from dataclasses import dataclass

from gtr.errors import GTRError


@dataclass(frozen=True)
class Schedule:
    """Tasks that follow one another; the learner is never told.

    Attributes:
        phases: a task's name and its number of steps, each.
    """

    phases: tuple[tuple[str, int], ...]

    @property
    def steps(self) -> int:
        """Of all phases."""
        return sum(steps for _, steps in self.phases)

    @property
    def tasks(self) -> list[str]:
        """Each name once, in the order in which they come."""
        return list(dict.fromkeys(name for name, _ in self.phases))

    def phase(self, step: int) -> tuple[int, str]:
        """The phase's number and its task, for a step from 0."""
        begins = 0
        for number, (name, steps) in enumerate(self.phases):
            begins += steps
            if step < begins:
                return number, name
        raise IndexError(step)


def schedule(words: Sequence[str], steps: int) -> Schedule:
    """From words such as "sums" or "sums:20".

    Args:
        words: a task each, with a number of steps of its own after a colon.
        steps: of those without.

    Raises:
        GTRError: a number of steps is none.
    """
    phases = []
    for word in words:
        name, colon, number = word.partition(":")
        if colon and not number.isdecimal():
            raise GTRError(f"--task takes NAME or NAME:STEPS, not {word!r}")
        phases.append((name, int(number) if colon else steps))
    if not phases or any(length < 1 for _, length in phases):
        raise GTRError("a task needs 1 step or more: give --task sums or --task sums:20")
    return Schedule(tuple(phases))
