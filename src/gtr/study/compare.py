"""Comparing methods: every method, the reset oracle and the random policy on the same seeds."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from gtr.errors import GTRError
from gtr.files import read_json
from gtr.learner.config import LearnerConfig, Setting, check
from gtr.learner.run import check_network, describe, seed_list
from gtr.methods import method
from gtr.objective import Method, validate
from gtr.plan import claim
from gtr.study.records import ORACLE, RANDOM
from gtr.study.report import write_report
from gtr.study.workers import ArmProgress, Place, Task, place
from gtr.suites import Suite


def compare(
    suite: Suite,
    methods: Sequence[str | Method | Setting],
    *,
    directory: Path | str,
    seeds: int | Sequence[int] | None = None,
    config: LearnerConfig | None = None,
    oracle: Setting | None = None,
    workers: int | Place = 1,
    command: str = "",
    progress: ArmProgress | None = None,
) -> Path:
    """Trains methods on a suite, paired on seeds, and reports on them.

    Beside the methods two arms are trained: the oracle, PPO that begins anew at every change, and
    random, PPO that never learns; they are the 1 and the 0 of the scores. The same call
    continues a comparison that was cut short, and leaves alone what is finished.

    Args:
        suite: what to train on.
        methods: names, methods, or settings that bring their own learner configuration; a setting
            is called by its label, if it has one.
        directory: where to keep the comparison: comparison.json, runs/<method>/ and the report.
        seeds: seeds, or how many (0, 1, ...); as many as the suite asks for where None.
        config: learner configuration of all that do not bring their own; the suite's where None.
        oracle: PPO's setting for the oracle and random; where None that of `ppo` among the
            methods, else its defaults.
        workers: how many arms to train at a time, each in a process with its share of the cores;
            or another place for them (`gtr.study.on_ray`).
        command: the command line, kept for the report.
        progress: told an arm's name and how far it is.

    Returns:
        The path of report.html.

    Raises:
        GTRError: for settings that cannot be, a directory that holds something else or cannot be
            written, and after all others are through for arms that failed, by name.
        Interrupted: Ctrl-C or SIGTERM; everything is saved.
    """
    where = place(workers)
    directory = Path(directory)
    # The suite counts its phases in batches of its configuration.
    suite = replace(suite, config=config or suite.config)
    chosen = tuple(seed_list(suite.seeds if seeds is None else seeds))
    learners = _learners(methods, suite.config)
    if oracle is None:
        plain = Setting(method("ppo"), suite.config)
        oracle = next((one for one in learners if one.label == "ppo"), plain)
    arms = [
        *learners,
        replace(oracle, label=ORACLE),
        Setting(oracle.method, replace(oracle.config, epochs=0), RANDOM),
    ]
    for arm in arms:
        validate(arm.method)
        check(arm.config)
        # Where processes train, this one builds no environment: it would take a GPU's memory. A
        # process of an arm refuses the network as this one does.
        if workers == 1:
            check_network(suite, arm.config.network)
    described = describe(suite, arms, list(chosen), suite.iterations, False)
    del described["fresh_each_phase"]
    claim(
        directory / "comparison.json",
        described | {"methods": [one.label for one in learners], "command": command},
    )
    page = directory / "report.html"
    # The runs, which are large, need not have come along with what was found.
    alone = page.exists() and not (directory / "runs").exists()
    if alone and read_json(directory / "results.json").get("finished") is True:
        return page
    tasks = [
        Task(
            arm.label,
            suite,
            (arm,),
            chosen,
            directory / "runs" / arm.label,
            fresh_each_phase=arm.label == ORACLE,
        )
        for arm in arms
    ]
    failures = where(tasks, progress)
    if failures:
        with suppress(GTRError):
            write_report(directory)
        raise GTRError(
            "; ".join(f"{name} failed: {error}" for name, error in failures.items())
            + "; what the other arms did is kept, and the same command continues"
        )
    return write_report(directory)


def _learners(methods: Sequence[str | Method | Setting], config: LearnerConfig) -> list[Setting]:
    learners = []
    for one in methods:
        if isinstance(one, str):
            one = method(one)
        if isinstance(one, Method):
            one = Setting(one, config)
        learners.append(replace(one, label=one.label or one.method.name))
    names = [one.label for one in learners]
    if not names:
        raise GTRError("no methods: name at least one")
    for name in names:
        if names.count(name) > 1:
            raise GTRError(f"method {name!r} is named twice; give settings of their own a label")
        if name in (ORACLE, RANDOM):
            raise GTRError(f"{name!r} takes part in every comparison; leave it out")
        if Path(name).name != name:
            raise GTRError(f"{name!r} cannot be a directory's name; choose another label")
    return learners
