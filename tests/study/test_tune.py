import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gtr.errors import GTRError
from gtr.learner.config import LearnerConfig
from gtr.learner.run import train
from gtr.methods import method, names, numbers
from gtr.study.arms import CURES, arm
from gtr.study.space import LEARNER, METHOD, Choice, LogUniform
from gtr.study.tune import (
    FIRST_SEED,
    Halving,
    Round,
    Tuned,
    _seed_scores,
    candidates,
    read_tuned,
    rounds,
    train_round,
    tune,
    tuning_iterations,
    tuning_steps,
)
from gtr.suites import suite, suites
from tests.learner.problems import small_suite
from tests.study.small import SMALL

CONFIG = LearnerConfig()


def test_every_method_gets_as_many_and_the_same_draws_of_what_it_shares() -> None:
    drawn = {name: candidates(arm(name), CONFIG, 9, draw=5) for name in names()}
    for name, settings in drawn.items():
        assert len(settings) == 9
        assert settings[0].method == method(name)
        assert settings[0].config == CONFIG
        assert [one.config for one in settings] == [one.config for one in drawn["ppo"]]
        for one, ppo in zip(settings, drawn["gtr"], strict=True):
            if settings.index(one):
                ours, theirs = numbers(one.method), numbers(ppo.method)
                shared = ours.keys() & theirs.keys() & METHOD.keys()
                assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}
    assert len({one.config for one in drawn["ppo"]}) == 9
    assert len({one.method for one in drawn["gtr"]}) == 9


def test_draws_repeat_and_a_larger_budget_only_adds() -> None:
    few, many = (
        candidates(arm("gtr"), CONFIG, 4, draw=1),
        candidates(arm("gtr"), CONFIG, 12, draw=1),
    )
    assert many[:4] == few
    assert candidates(arm("gtr"), CONFIG, 4, draw=2)[1:] != few[1:]


def test_only_epochs_is_static_so_each_method_has_few_programs() -> None:
    settings = candidates(arm("gtr"), CONFIG, 40, draw=0)
    assert {one.config.epochs for one in settings} == {4, 8}
    assert {numbers(one.method)["anchors"] for one in settings} == {8}


def test_draws_stay_in_their_space() -> None:
    random = np.random.default_rng(0)
    drawn = np.array([LogUniform(0.01, 1.0, zero=0.25).draw(random) for _ in range(2000)])
    positive = drawn[drawn > 0]
    assert abs((drawn == 0).mean() - 0.25) < 0.04
    assert positive.min() >= 0.01
    assert positive.max() <= 1.0
    assert abs(np.median(np.log10(positive)) + 1) < 0.1


def test_tuning_sees_a_change_and_at_most_its_share() -> None:
    for one in suites():
        phases = tuning_iterations(one) / one.phase_iterations
        assert phases >= 2
        assert phases == 2 or phases <= 0.3 * one.phases + 0.5
    assert tuning_iterations(suite("cartpole-offset")) == 3 * 78


def test_rounds_keep_a_third_and_triple_the_seeds() -> None:
    found = [(one.configurations, list(one.seeds)) for one in rounds(12, 1)]
    first = FIRST_SEED
    assert found == [
        (12, [first]),
        (4, [first + 1, first + 2]),
        (2, list(range(first + 3, first + 9))),
    ]
    assert [(one.configurations, len(one.seeds)) for one in rounds(1, 3)] == [(1, 3)]
    assert [(one.configurations, len(one.seeds)) for one in rounds(2, 2)] == [(2, 2)]
    assert tuning_steps(SMALL, 12, 1) == 32 * 2 * SMALL.phase_steps


def test_the_best_survive_and_the_last_round_decides(tmp_path: Path) -> None:
    path = tune(small_suite(phases=3), ["ppo"], directory=tmp_path, configurations=4, seeds=1)
    table = pd.read_csv(tmp_path / "configurations.csv")
    first = pd.read_csv(tmp_path / "runs" / "ppo" / "round-1" / "program-1" / "metrics.csv")
    assert sorted(table["seeds"]) == [1, 1, 3, 3]
    programs = [
        pd.read_csv(one) for one in (tmp_path / "runs" / "ppo" / "round-1").glob("*/metrics.csv")
    ]
    # A program of one configuration does not name it.
    named = pd.concat([one for one in programs if "setting" in one])
    [other] = set(range(4)) - set(named["setting"])
    alone = pd.concat([one if "setting" in one else one.assign(setting=other) for one in programs])
    alone = alone[alone["phase"] > 0].groupby("setting")["return"].mean()
    kept = table[table["seeds"] == 3]
    assert set(kept["configuration"]) == set(alone.sort_values().index[-2:])
    chosen = json.loads(path.read_text())["methods"]["ppo"]["configuration"]
    assert chosen == kept.loc[kept["score"].idxmax(), "configuration"]
    assert first["seed"].unique().tolist() == [FIRST_SEED]


def test_one_that_was_dropped_is_not_chosen_for_the_luck_of_its_few_seeds(tmp_path: Path) -> None:
    suite = small_suite(phases=3)
    halving = Halving(suite, "ppo", candidates(arm("ppo"), suite.config, 4, draw=2), tmp_path)
    train_round([halving], Round(4, range(10, 11)))
    survivor = halving.best.label
    train_round([halving], Round(1, range(11, 14)))
    scores = halving.table.set_index("configuration")["score"]
    assert scores.idxmax() != int(survivor)
    assert halving.best.label == survivor


def test_budgets_are_equal_and_the_choice_is_the_best_and_repeats(tmp_path: Path) -> None:
    options = {"configurations": 3, "seeds": 2, "draw": 4}
    path = tune(SMALL, ["ppo", "spo"], directory=tmp_path / "a", **options)
    table = pd.read_csv(tmp_path / "a" / "configurations.csv")
    assert table.groupby("method").size().to_dict() == {"ppo": 3, "spo": 3}
    steps = {}
    for name in ("ppo", "spo"):
        runs = pd.concat(map(pd.read_csv, (tmp_path / "a" / "runs" / name).glob("*/*/metrics.csv")))
        steps[name] = len(runs)
        assert set(runs["seed"]) == {FIRST_SEED, FIRST_SEED + 1}
        assert set(runs["phase"]) == {0, 1}
    assert steps["ppo"] == steps["spo"] == 3 * 2 * tuning_iterations(SMALL)
    document = json.loads(path.read_text())
    # The returns do not depend on what is done: all tie, and the defaults win.
    assert table["score"].nunique() == 1
    assert [one["configuration"] for one in document["methods"].values()] == [0, 0]

    written = path.read_bytes()
    worked = []
    note = lambda *said: worked.append(said)  # noqa: E731
    tune(SMALL, ["ppo", "spo"], directory=tmp_path / "a", **options, progress=note)
    assert path.read_bytes() == written
    assert not worked

    with pytest.raises(GTRError, match=r"what differs: .*configurations"):
        tune(SMALL, ["ppo", "spo"], directory=tmp_path / "a", configurations=4, seeds=2, draw=4)
    setting = read_tuned(path)["ppo"].setting("ppo", SMALL.config)
    assert setting == replace(candidates(arm("ppo"), SMALL.config, 1, 0)[0], label="ppo")


def test_a_configuration_that_blows_up_is_never_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LEARNER, "learning_rate", Choice((1e30,)))
    path = tune(SMALL, ["ppo"], directory=tmp_path / "a", configurations=4, seeds=2)
    table = pd.read_csv(tmp_path / "a" / "configurations.csv")
    assert table["score"].isna().tolist() == [False, True, True, True]
    assert json.loads(path.read_text())["methods"]["ppo"]["configuration"] == 0
    told = capsys.readouterr().out
    assert told.count("given up: ") >= 1
    assert "NaN or Inf in the " in told

    # as many rows as there should be, or no score
    rows = train(SMALL, method("ppo"), seeds=2).metrics
    assert all(map(math.isfinite, _seed_scores(rows, SMALL, 2, SMALL.iterations)))
    assert all(map(math.isnan, _seed_scores(rows[:-1], SMALL, 2, SMALL.iterations)))

    wild = replace(SMALL.config, learning_rate=1e30)
    with pytest.raises(GTRError, match="no configuration of ppo was without a NaN"):
        tune(
            SMALL, ["ppo", "spo"], directory=tmp_path / "b", configurations=1, seeds=2, config=wild
        )
    assert not (tmp_path / "b" / "runs" / "spo").exists()


@pytest.mark.parametrize("cure", CURES)
def test_an_arm_is_tuned_with_its_cure(cure: str) -> None:
    plain = candidates(arm("gtr"), CONFIG, 6, draw=3)
    cured = candidates(arm(f"gtr+{cure}"), CONFIG, 6, draw=3)
    assert [one.method for one in cured] == [one.method for one in plain]
    for one, other in zip(cured, plain, strict=True):
        assert one.config.learning_rate == other.config.learning_rate
        assert one.config.network.layer_norm == (cure == "layer-norm")
        assert one.config.regulariser == (cure if cure in ("l2-init", "c-chain") else "none")
        if cure == "adam":
            assert (one.config.adam_b1, one.config.adam_b2) == (0.99, 0.99)
    strengths = {one.config.regularisation for one in cured}
    assert len(strengths) == (6 if cure in ("l2-init", "c-chain") else 1)


def test_an_arm_that_is_not_to_be_tuned_keeps_its_own_numbers() -> None:
    drawn = candidates(arm("gtr@defaults"), CONFIG, 6, draw=3)
    assert {one.method for one in drawn} == {method("gtr")}
    assert [one.config for one in drawn] == [
        one.config for one in candidates(arm("gtr"), CONFIG, 6, draw=3)
    ]


def test_what_is_behind_a_name_adds_up() -> None:
    both = arm("gtr@defaults+layer-norm")
    assert (both.method, both.cure, both.tuned) == ("gtr", "layer-norm", False)
    assert arm("gtr").tuned


def test_an_arm_that_is_not_there_is_named() -> None:
    with pytest.raises(GTRError, match="no cure 'layernorm'; did you mean 'layer-norm'"):
        arm("gtr+layernorm")
    with pytest.raises(GTRError, match="no method 'grt'"):
        arm("grt+adam")


def test_a_file_that_tune_did_not_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    with pytest.raises(GTRError, match="is missing"):
        read_tuned(path)
    for text in ("{}", '{"methods": [1]}', '{"methods": {"ppo": {"numbers": 3}}}'):
        path.write_text(text)
        with pytest.raises(GTRError, match="not what `gtr tune` writes"):
            read_tuned(path)
    with pytest.raises(GTRError, match="no number 'radius'"):
        Tuned({"radius": 1.0}, {}).setting("ppo", CONFIG)


def test_the_space_covers_the_numbers_of_every_method() -> None:
    static = {"anchors", "every"}
    assert {key for name in names() for key in numbers(method(name))} - static == set(METHOD)
    assert "learning_rate" in LEARNER
