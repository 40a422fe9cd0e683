"""A comparison on a suite of each domain, cut down to seconds."""

import json
from dataclasses import replace

import numpy as np
import pytest

import gtr
from gtr.environments.atari import Atari
from gtr.environments.host import HostEnvironment
from gtr.environments.protocol import Environment
from gtr.learner.config import LearnerConfig
from gtr.networks.architectures import CNN, MLP, Architecture, NatureCNN
from gtr.suites import Suite

SMALL: dict[str, tuple[int, int, Architecture]] = {
    # copies, steps of each in a rollout (MuJoCo's episodes take 1000), network
    "halfcheetah-flip": (2, 512, MLP((8,))),
    "ant-slippery": (2, 128, MLP((8,))),
    "minatar-cycle": (2, 128, CNN((4,), (8,))),
    "atari-cycle": (2, 32, NatureCNN((2, 2, 2), (8,))),
    # long enough for somebody to die of not eating or of zombies
    "craftax-goals": (8, 128, MLP((8,))),
}


def environment_of(suite: Suite) -> Environment | HostEnvironment:
    """The suite's; its games end after 20 of a copy's steps, and are played in this process."""
    if isinstance(suite.environment, Atari):
        return replace(suite.environment, longest=80, processes=0)
    return suite.environment


# Each arm compiles a world of Craftax.
SLOW = ("craftax-goals",)


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow if one in SLOW else ()) for one in SMALL]
)
def test_a_comparison_runs_and_reports(name, tmp_path):
    copies, steps, network = SMALL[name]
    suite = gtr.suite(name)
    environment = environment_of(suite)
    config = LearnerConfig(
        environments=copies,
        rollout_length=steps,
        epochs=1,
        minibatches=2,
        normalise_observations=suite.config.normalise_observations,
        network=network,
    )
    suite = replace(
        suite,
        make=lambda: environment,
        phases=2,
        phase_budget=2 * copies * steps,
        config=config,
    )
    page = gtr.compare(suite, ["ppo", "gtr"], directory=tmp_path, seeds=2)
    assert page.exists()
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["finished"] is True
    assert set(results["methods"]) == {"ppo", "gtr", "oracle", "random"}
    rows = gtr.train(suite, gtr.method("gtr"), seeds=2, directory=tmp_path / "runs/gtr").metrics
    assert rows["return"].notna().any()
    assert np.isfinite(rows["policy_loss"]).all()
