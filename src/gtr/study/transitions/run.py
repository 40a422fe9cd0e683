"""Training what the study plans, in an order that answers each question early."""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from gtr.files import write_whole
from gtr.learner.run import Setting
from gtr.methods import method
from gtr.plan import claim
from gtr.study.arms import Arm
from gtr.study.compare import compare
from gtr.study.grid import train_grid
from gtr.study.records import ORACLE, RANDOM
from gtr.study.scores import run_scores
from gtr.study.transitions.page import write_page
from gtr.study.transitions.plan import GRID_SEED, MAIN, QUESTIONS, Extent, Question, factors_of
from gtr.study.tune import read_tuned, tune, tuning_iterations, tuning_steps
from gtr.study.workers import ArmProgress, Place, place
from gtr.suites import Suite

# A setting without a score stays in the table, so that the page can say that there is none.
_NO_SCORE = pd.DataFrame({"seed": [GRID_SEED], "metric": ["later_return"], "value": [math.nan]})


def study(
    extent: Extent,
    *,
    directory: Path | str,
    workers: int | Place = 1,
    command: str = "",
    progress: ArmProgress | None = None,
) -> Path:
    """Trains and reports the whole study; the same call continues one that was cut short.

    Under the directory each suite has `tuning/<arm>/` (as `gtr tune` leaves it), `main/`, `all/`
    and `stationary/` (comparisons, as `gtr compare` leaves them) and `<question>.csv` (columns
    the question's factors, seed, metric, value). The page is written anew after each part
    that found something, so it shows what is known so far.

    Args:
        extent: how much of everything.
        directory: where to keep it.
        workers: how many arms or programs to train at a time, or where (see `compare`).
        command: the command line, kept in the page.
        progress: told an arm's name and how far it is.

    Returns:
        The path of study.html.

    Raises:
        GTRError: as `gtr compare` and `gtr tune`.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    directory = Path(directory)
    claim(directory / "study.json", {"study": "transitions", "size": extent.name})
    for part in _parts(extent, directory, workers, command, progress):
        if part():
            write_page(extent, directory, command)
    return write_page(extent, directory, command)


def steps(extent: Extent) -> int:
    """Environment steps of the whole study, for its display."""
    total = 0
    plain = Setting(method("ppo"), extent.suite(extent.main[0]).config)
    for name in extent.main:
        suite = extent.suite(name)
        arms = len(extent.arms(name))
        total += arms * tuning_steps(suite, extent.configurations, 1)
        # the arms, and the oracle and random on the suite and on its twin
        total += (arms + 2 + len(MAIN) + 2) * extent.seeds * suite.steps
        for question in QUESTIONS if name in extent.wide else ():
            settings = list(question.settings(plain, plain, extent.steps))
            share = _iterations(suite, question) * suite.steps // suite.iterations
            total += len(settings) * extent.grid_seeds * share
    return total


class _Work:
    """The parts of the study on one suite; each says whether it found anything new."""

    def __init__(
        self,
        extent: Extent,
        name: str,
        directory: Path,
        workers: int | Place,
        command: str,
        progress: ArmProgress | None,
    ) -> None:
        self._extent, self._suite = extent, extent.suite(name)
        self._directory, self._workers = directory / name, workers
        self._command, self._progress = command, progress

    def main(self) -> bool:
        """The arms of the claim, tuned and compared."""
        return self._compare(self._suite, self._extent.arms("")[: len(MAIN)], "main")

    def stationary(self) -> bool:
        """The same with the same numbers where nothing changes."""
        return self._compare(self._suite.twin, self._extent.arms("")[: len(MAIN)], "stationary")

    def all(self) -> bool:
        """Every other arm beside them; what was trained already is not trained again."""
        done, wanted = self._directory / "main" / "runs", self._directory / "all" / "runs"
        for name in (*MAIN, ORACLE, RANDOM):
            if (done / name).exists() and not (wanted / name).exists():
                shutil.copytree(done / name, wanted / name)
        return self._compare(self._suite, self._extent.arms(self._suite.name), "all")

    def question(self, question: Question) -> bool:
        """A grid, and its scores."""
        target = self._directory / f"{question.name}.csv"
        if target.exists():
            return False
        settings = list(
            question.settings(self._tuned("ppo"), self._tuned("gtr"), self._extent.steps)
        )
        metrics = train_grid(
            self._suite,
            settings,
            seeds=range(GRID_SEED, GRID_SEED + self._extent.grid_seeds),
            directory=self._directory / "runs" / question.name,
            iterations=_iterations(self._suite, question),
            title=f"{self._suite.name} {question.name}",
            where=place(self._workers),
            progress=self._progress,
        )
        iterations = _iterations(self._suite, question) * self._extent.grid_seeds
        tables = []
        for one in settings:
            rows = metrics[metrics["setting"] == one.label]
            # one that met a NaN has rows up to it, which are no score
            scores = run_scores(rows) if len(rows) == iterations else _NO_SCORE
            tables.append(scores.assign(**factors_of(one.label)))
        table = pd.concat(tables)[[*question.factors, "seed", "metric", "value"]]
        write_whole(target, table.to_csv(index=False).encode())
        return True

    def _tuned(self, name: str) -> Setting:
        path = self._directory / "tuning" / name / "tuned.json"
        return read_tuned(path)[name].setting(name, self._suite.config)

    def _compare(self, suite: Suite, arms: Sequence[Arm], place: str) -> bool:
        scores = self._directory / place / "scores.csv"
        before = scores.read_bytes() if scores.exists() else None
        for arm in arms:
            tune(
                self._suite,
                [arm],
                directory=self._directory / "tuning" / arm.name,
                configurations=self._extent.configurations,
                workers=self._workers,
                command=self._command,
                progress=self._named(f"{self._suite.name} tuning"),
            )
        compare(
            suite,
            [self._tuned(arm.name) for arm in arms],
            directory=self._directory / place,
            seeds=self._extent.seeds,
            workers=self._workers,
            command=self._command,
            progress=self._named(f"{self._suite.name} {place}"),
        )
        return scores.read_bytes() != before

    def _named(self, place: str) -> ArmProgress | None:
        if self._progress is None:
            return None
        told = self._progress
        return lambda arm, status: told(f"{place} {arm}", status)


def _parts(
    extent: Extent,
    directory: Path,
    workers: int | Place,
    command: str,
    progress: ArmProgress | None,
) -> Iterator[Callable[[], bool]]:
    """The claim first, then its explanation, suite by suite."""
    work = {
        name: _Work(extent, name, directory, workers, command, progress) for name in extent.main
    }
    yield from (one.main for one in work.values())
    yield from (one.stationary for one in work.values())
    for question in QUESTIONS:
        for name in extent.wide:
            yield lambda name=name, question=question: work[name].question(question)
    yield from (work[name].all for name in extent.wide)


def _iterations(suite: Suite, question: Question) -> int:
    return suite.iterations if question.whole else tuning_iterations(suite)
