"""A picture of one training, straight from Python."""

from importlib.metadata import version
from pathlib import Path

from matplotlib.figure import Figure

from gtr.learner.run import Run
from gtr.study import figures
from gtr.study.records import STEP, Arm, Comparison
from gtr.study.results import evaluate


def plot(run: Run) -> Figure:
    """The learning curves of a training: every seed faint, their interquartile mean bold.

    Args:
        run: what `train` returned, kept in a directory or not.

    Returns:
        A figure to be shown in a notebook or saved: `plot(run).savefig("curves.png")`.
    """
    name, suite = run.method.name, run.suite
    metrics = run.metrics.sort_values(["seed", "iteration"], ignore_index=True)
    comparison = Comparison(
        directory=run.directory or Path(),
        single=True,
        suite=suite.name,
        size=suite.size,
        phases=suite.phases,
        phase_steps=suite.phase_steps,
        step=STEP,
        methods=(name,),
        references=(),
        seeds=tuple(sorted(int(seed) for seed in metrics["seed"].unique())),
        versions={"gtr-rl": version("gtr-rl")},
        command="",
        arms={name: Arm(name, metrics, {})},
    )
    return figures.learning_curves(evaluate(comparison))
