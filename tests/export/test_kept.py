"""Any kept policy of a directory is written; what cannot be is one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from gtr.errors import GTRError
from gtr.export import export, load
from gtr.export.plan import from_text
from gtr.learner.policies import read
from gtr.learner.run import problem_of, train
from gtr.methods import method
from gtr.watch.policies import blank_policy
from tests.learner.problems import TINY, small_suite

SUITE = small_suite(config=replace(TINY, normalise_observations=True), phase_iterations=2)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    train(SUITE, method("ppo"), seeds=[4, 2], directory=directory)
    return directory


@pytest.mark.parametrize(
    ("asked", "told"), [({}, (1, 4)), ({"phase": 0}, (0, 4)), ({"seed": 2, "phase": 0}, (0, 2))]
)
def test_it_is_the_policy_that_the_phase_left(
    directory: Path, tmp_path: Path, asked: dict[str, int], told: tuple[int, int]
) -> None:
    file = tmp_path / "new" / "policy.safetensors"
    assert export(directory, file, suite=SUITE, **asked) == told
    kept = read(directory, blank_policy(problem_of(SUITE)), phase=told[0], seed=told[1])
    observation = np.eye(6, dtype=np.float32)[:, : SUITE.environment.observation_shape[0]]
    _, parameters = load(file)(torch.from_numpy(observation))
    np.testing.assert_allclose(parameters, kept(observation), atol=1e-5)


def test_an_onnx_file_says_what_it_is(directory: Path, tmp_path: Path) -> None:
    export(directory, tmp_path / "policy.onnx", suite=SUITE)
    model = onnx.load(tmp_path / "policy.onnx")
    onnx.checker.check_model(model, full_check=True)
    [about] = model.metadata_props
    plan = from_text(about.value)
    assert plan.network == TINY.network
    assert plan.normalised
    # weights are in the file, not beside it
    assert [path.name for path in tmp_path.iterdir()] == ["policy.onnx"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"phase": 2}, r"no policy of phase 2 is kept; give one of \[0, 1\]"),
        ({"seed": 3}, r"no policy of seed 3 is kept; give one of \[4, 2\]"),
        ({"method": "gtr"}, "has no method 'gtr'; it has ppo"),
    ],
)
def test_what_is_not_there_is_refused(
    directory: Path, tmp_path: Path, asked: dict, says: str
) -> None:
    with pytest.raises(GTRError, match=says):
        export(directory, tmp_path / "policy.onnx", suite=SUITE, **asked)
    assert not list(tmp_path.iterdir())


def test_other_endings_and_other_files_are_refused(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(GTRError, match=r"ends in none of \.onnx, \.pt2, \.safetensors"):
        export(directory, tmp_path / "policy.pt", suite=SUITE)
    with pytest.raises(GTRError, match="cannot be read"):
        load(tmp_path / "nothing.safetensors")
    with pytest.raises(GTRError, match="holds no policy that gtr exported"):
        load(directory / "policies" / "phase-0.safetensors")
    with pytest.raises(GTRError, match="holds neither"):
        export(tmp_path, tmp_path / "policy.onnx", suite=SUITE)
