"""Which task is trained when."""

from dataclasses import dataclass

from gtr.errors import GTRError


@dataclass(frozen=True)
class Schedule:
    """Tasks that follow one another; the learner is never told.

    Attributes:
        tasks: their names, a phase each; one may come again.
        iterations: of each phase.
    """

    tasks: tuple[str, ...]
    iterations: int

    def __post_init__(self) -> None:
        """Checks that there is something to do.

        Raises:
            GTRError: there are no tasks, or no iterations.
        """
        if not self.tasks or self.iterations < 1:
            raise GTRError("a training needs a task and 1 iteration or more")

    @property
    def length(self) -> int:
        """Iterations of all phases."""
        return len(self.tasks) * self.iterations

    @property
    def names(self) -> tuple[str, ...]:
        """Each task once, in the order in which they come."""
        return tuple(dict.fromkeys(self.tasks))

    def phase(self, iteration: int) -> int:
        """The phase's number, from 0."""
        return iteration // self.iterations
