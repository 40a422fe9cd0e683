"""A study of which the answers are known: scores, grids and what the plan asks for."""

import json
from dataclasses import replace
from pathlib import Path

from gtr.learner.run import Setting
from gtr.methods import method, numbers
from gtr.study.transitions.plan import QUESTIONS, factors_of
from tests.study.studies import SIZE, luck

FIGURES = {
    *("suites", "drop_in", "reuse", "movement", "capacity", "surface", "shape", "relaxation"),
    *("anchor", "advantage", "cures", "stationary"),
}
COMMAND = "gtr study transitions --size tiny --out <there> & back"
ONE_SEED = replace(SIZE, seeds=1, grid_seeds=1)
NUMBERS = numbers(method("gtr"))

_PLAIN = Setting(method("ppo"), SIZE.suite("corner-switch").config)
SETTINGS = {
    question.name: [factors_of(one.label) for one in question.settings(_PLAIN, _PLAIN, SIZE.steps)]
    for question in QUESTIONS
}
"""What the plan asks for, by question."""

NARROW, OWN = (SETTINGS["capacity"][at] for at in (0, 2))
HIGHEST, LOST = SETTINGS["surface"][5], SETTINGS["surface"][-1]


def scores(gain, cures=()):
    """PPO and GTR share the luck of the seed, GTR gets `gain` more; a cure adds what it is said to.

    The other main arms are far below, all others as PPO, with luck of their own.
    """
    known = {"ppo": 0.5, "gtr": 0.5 + gain, "ppo-kl": 0.2, "ppo-ewma": 0.1, "ppo@defaults": 0.15}

    def score(suite, arm, seed):
        base, _, cure = arm.partition("+")
        own = 0.05 * luck(arm, suite, seed) if arm not in known else 0.0
        return known.get(base, 0.5) + dict(cures).get(cure, 0.0) + 0.02 * luck(suite, seed) + own

    return score


def grids(question, factors, seed):
    """Known effects, and in the stead of one setting a NaN."""
    noise = 0.01 * luck(question, seed)
    match question:
        case "capacity":
            shallow = factors["depth"] == "1"
            return 0.5 + noise + 0.2 * (factors == NARROW) - 0.1 * shallow
        case "clip":
            return 0.5 + noise - 0.3 * (float(factors["clip"]) > 1e5)
        case "surface":
            return float("nan") if factors == LOST else 0.4 + noise + 0.3 * (factors == HIGHEST)
        case "drop_in":
            gain = 0.05 if factors["method"] == "gtr" else 0.01 * float(factors["configuration"])
            return 0.5 + noise + gain
        case "reuse":
            gain = 0.01 * (float(factors["epochs"]) - 5) * (factors["method"] == "gtr")
            return 0.5 + noise + gain - 0.1 * (factors["rate"] == "third")
        case "shape":
            free = factors["clipped"] == "no"
            return 0.5 + noise + (0.3 if free else -0.1) * (factors["shape"] == "gtr-monotone")
        case "anchor":
            return 0.5 + noise + 0.01 * float(factors["count"])
        case _:
            running, gtr = factors["scale"] == "running", factors["method"] == "gtr"
            return 0.4 + noise + 0.1 * running + 0.05 * gtr * (1 if running else -1)


def sentence(directory: Path, name: str) -> str:
    return json.loads((directory / "results.json").read_text())["answers"][name]["sentence"]
