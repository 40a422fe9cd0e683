"""How much a stale anchor adds to the variance of the gradient estimate, before and after changes.

    python benchmarks/anchors/variance.py

GTR is trained as it always is, and looked at in every iteration before its first gradient step.
There a sample's gradient is a number times g = grad log pi(a|s): its advantage A for the surrogate,
-stiffness l exp(-l^2 / 2 radius^2) for the penalty of an anchor at the log-ratio l. The variance of
an estimate from n samples is the trace of the covariance of these, over n. Given is that of both
together over that of the surrogate alone, for anchors of several ages, for the mixture asked of all
its anchors, and for the one drawn anchor a sample that the learner asks.
"""

import argparse
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from gtr import method, suite
from gtr.learner import anchors, update
from gtr.learner.config import configure, rates
from gtr.learner.program import CAPACITY, Program
from gtr.learner.state import Problem
from gtr.networks.distributions import masked
from gtr.objective import Recent, defaults
from gtr.study.style import INK, STYLE

HERE = Path(__file__).parent
AGES = (1, 4, 16)
SEEDS = range(4_000_000, 4_000_004)
PHASES = 4
BEFORE, AFTER = 8, 40
SUITES = {
    "cartpole-offset": {"learning_rate": 2e-3, "entropy": 0.02, "epochs": 8},
    "corner-switch": {"learning_rate": 5e-3, "entropy": 0.05, "epochs": 8},
}
"""The learner's numbers near what tuning finds there."""


class Watch:
    """Stands where the learner asks its anchors and updates, and measures what passes by."""

    def consult(self, anchor: Any, kept: Any, **given: Any) -> Any:
        """As `gtr.learner.anchors.consult`, and every snapshot's opinion is kept."""
        self._given = given
        return anchors.consult(anchor, kept, **given)

    def update(self, trained: Any, observation: Any, samples: Any, *given: Any, **options: Any):
        """As `gtr.learner.update.update`, with the variances among the measures."""
        done, measures = update.update(trained, observation, samples, *given, **options)
        objective = options["objective"]
        distribution, penalty = objective.distribution, objective.method.penalty
        restore, weights = trained.actor, update.flat(trained.actor)
        unravel = jax.flatten_util.ravel_pytree(restore)[1]

        def log_prob(weights: Any, one: Any, action: Any, mask: Any) -> Any:
            parameters = masked(unravel(weights)(one[None]), None if mask is None else mask[None])
            return distribution.log_prob(parameters, action[None])[0]

        slopes = jax.vmap(jax.grad(log_prob), (None, 0, 0, None if samples.mask is None else 0))(
            weights, observation, samples.action, samples.mask
        )
        square = jnp.sum(slopes**2, -1)

        def variance(*ways: tuple[Any, Any]) -> Any:
            """Of a sample's gradient that is each of some multiples of g, by its probability."""
            second = sum(share * jnp.mean(number**2 * square) for share, number in ways)
            mean = sum(share * (number @ slopes) / len(number) for share, number in ways)
            return second - jnp.sum(mean**2)

        def pull(policy: Any) -> Any:
            parameters = masked(policy(self._given["observation"]), samples.mask)
            apart = samples.behaviour_log_prob - distribution.log_prob(parameters, samples.action)
            return -penalty.stiffness * apart * jnp.exp(-0.5 * (apart / penalty.radius) ** 2)

        # snapshot 0 was just taken of the present policy, so a snapshot's number is its age
        pulls = jax.lax.map(pull, trained.kept.policies)
        advantage = samples.advantage
        alone = variance((1.0, advantage))
        own = Recent().weights()
        older = [pulls[age] for age in range(0, defaults.COUNT * defaults.EVERY, defaults.EVERY)]
        mixed = sum(weight * one for weight, one in zip(own, older, strict=True))
        drawn = [
            (weight / (1 - own[0]), advantage + own[0] * older[0] + (1 - own[0]) * one)
            for weight, one in zip(own[1:], older[1:], strict=True)
        ]
        found = {
            f"one snapshot, age {age}": variance((1.0, advantage + pulls[age])) for age in AGES
        }
        found["mixture of 8, all asked"] = variance((1.0, advantage + mixed))
        found["mixture of 8, one drawn"] = variance(*drawn)
        return done, measures | {name: value / alone for name, value in found.items()}


CHOICES = (
    *(f"one snapshot, age {age}" for age in AGES),
    "mixture of 8, all asked",
    "mixture of 8, one drawn",
)


def measured(name: str) -> pd.DataFrame:
    """A row a seed, iteration and choice of anchor."""
    problem_suite = suite(name)
    config = configure(problem_suite.config, **SUITES[name])
    oldest = defaults.COUNT * defaults.EVERY
    one = method("gtr-absolute", anchors=oldest + 2, every=1)
    problem = Problem(
        environment=problem_suite.environment,
        changing=True,
        phase_iterations=problem_suite.phase_iterations,
        iterations=problem_suite.iterations,
        config=config,
    )
    runs = len(SEEDS)
    stacked = jax.tree.map(lambda x: np.full(runs, x, np.float32), (one, rates(config)))
    watch = Watch()
    with (
        patch("gtr.learner.iteration.consult", watch.consult),
        patch("gtr.learner.iteration.update", watch.update),
    ):
        program = Program(problem, *stacked, np.array(SEEDS))
        state, rows = program.place(program.begin(0)), []
        last = PHASES * problem_suite.phase_iterations
        for start in range(0, last, CAPACITY):
            count = min(CAPACITY, last - start)
            state, measures = program.advance(state, start, count)
            for choice in CHOICES:
                values = pd.DataFrame(measures[choice], index=pd.Index(SEEDS, name="seed"))
                values.columns = range(start, start + count)
                long = values.reset_index().melt("seed", var_name="iteration", value_name="ratio")
                rows.append(long.assign(choice=choice))
    table = pd.concat(rows, ignore_index=True)
    phase = problem_suite.phase_iterations
    table["since"] = (table["iteration"].astype(int) + BEFORE) % phase - BEFORE
    changed = table["iteration"] >= phase - BEFORE
    ahead = table["iteration"] < last - BEFORE
    return table[changed & ahead & (table["since"] < AFTER)].assign(suite=name)


def draw(table: pd.DataFrame) -> Figure:
    """The mean ratio against iterations since the change, a panel a suite."""
    shades = mpl.colormaps["viridis"](np.linspace(0.15, 0.85, len(AGES)))
    looks = [*((shade, "-") for shade in shades), ("#d55e00", "-"), ("#d55e00", (0, (3, 1.5)))]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        panels = figure.subplots(1, len(SUITES), squeeze=False).flat
        for axes, name in zip(panels, SUITES, strict=True):
            here = table[table["suite"] == name]
            for choice, (colour, line) in zip(CHOICES, looks, strict=True):
                own = here[here["choice"] == choice].groupby("since")["ratio"].mean()
                axes.plot(own.index, own, color=colour, ls=line, lw=1.8, label=choice)
            axes.axvline(0, color=INK, lw=1, ls=(0, (4, 2)))
            axes.axhline(1, color=INK, lw=1, ls=(0, (1, 1.5)))
            axes.set_title(name)
            axes.set_xlabel("iterations since the change")
        panels = figure.axes
        panels[0].set_ylabel("variance of the gradient\nover that without a penalty")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
        return figure


def main() -> None:
    """Measures, prints the table and keeps it with its picture beside this script."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    table = pd.concat([measured(name) for name in SUITES], ignore_index=True)
    when = np.where(table["since"] < 0, "before", np.where(table["since"] < 8, "after", "later"))
    mean = table.assign(when=when).groupby(["suite", "choice", "when"], sort=False)["ratio"].mean()
    wide = mean.unstack("when")[["before", "after", "later"]].round(4)
    wide.to_csv(HERE / "variance.csv")
    draw(table).savefig(HERE / "variance.png", dpi=130)
    print(wide.to_string())


if __name__ == "__main__":
    main()
