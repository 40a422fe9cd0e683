import numpy as np
import pandas as pd
import pytest

from gtr.study.scores import (
    adaptation,
    adaptation_targets,
    binned,
    last_fifth_returns,
    phase_returns,
    run_scores,
    summaries,
)
from tests.study.synthetic import ITERATION_STEPS, known_arms, step_curve, training


def values(table: pd.DataFrame, metric: str) -> list[float]:
    return table[table["metric"] == metric].sort_values("seed")["value"].tolist()


def test_a_phase_mean_is_over_the_iterations_that_saw_an_episode_end():
    metrics = training(lambda seed, phase, within: float(within), (0,), 1, iterations=4)
    metrics["episodes"] = [1, 0, 30, 2]
    metrics.loc[1, "return"] = np.nan
    assert phase_returns(metrics).loc[0, 0] == pytest.approx((0 + 2 + 3) / 3)


def test_a_phase_without_an_episode_has_no_score():
    metrics = training(lambda *_: 1.0, (0,), 2)
    metrics.loc[metrics["phase"] == 1, ["episodes", "return"]] = [0, np.nan]
    scores = run_scores(metrics)
    assert np.isnan(values(scores, "later_return")[0])
    assert values(scores, "first_return") == [1.0]


def test_scores_of_a_run_that_steps_up_at_a_known_time_are_known():
    arms = known_arms()
    scores = run_scores(arms["ppo"], arms["oracle"], arms["random"])
    # Half of each later phase at 0, half at 1 + seed / 100; the oracle is at 1 throughout.
    high = np.array([1.0, 1.01, 1.02])
    assert values(scores, "return_phase_0") == pytest.approx(high)
    assert values(scores, "later_return") == pytest.approx(high / 2)
    assert values(scores, "normalised") == pytest.approx(high / 2)
    assert values(scores, "last_fifth") == pytest.approx(high)
    assert values(scores, "regret") == pytest.approx((1 - high) + 2 * (1 - high / 2))
    assert values(scores, "adaptation_time") == [11 * ITERATION_STEPS] * 3
    assert values(scores, "adaptation_censored") == [0] * 3


def test_the_oracle_scores_1_and_the_random_policy_0():
    arms = known_arms()
    for name, score in (("oracle", 1.0), ("random", 0.0)):
        scores = run_scores(arms[name], arms["oracle"], arms["random"])
        assert values(scores, "normalised") == pytest.approx([score] * 3)


def test_a_run_that_never_adapts_is_censored_at_the_next_change():
    arms = known_arms()
    scores = run_scores(arms["ppo-kl"], arms["oracle"], arms["random"])
    assert values(scores, "adaptation_censored") == [1.0] * 3
    assert values(scores, "adaptation_time") == [20 * ITERATION_STEPS] * 3


def test_the_restricted_mean_mixes_adapted_and_censored_changes():
    late = training(lambda s, p, w: float(p == 0 or (p == 1 and w >= 4)), (0,))
    arms = known_arms((0,))
    scores = run_scores(late, arms["oracle"], arms["random"])
    assert values(scores, "adaptation_time") == [(500 + 2000) / 2]
    assert values(scores, "adaptation_censored") == [0.5]


def test_targets_lie_between_random_and_oracle_where_returns_are_negative():
    oracle = training(lambda s, p, w: -80.0 if w >= 16 else -200.0, (0,))
    random = training(lambda *_: -500.0, (0,))
    targets = adaptation_targets(oracle, random)
    assert targets.loc[0].tolist() == pytest.approx([-500 + 0.8 * 420] * 3)
    slow = training(lambda s, p, w: -500.0 + 20 * w, (0,), iterations=20)
    found = adaptation(slow, targets)
    # -164 is passed at -160, the 18th iteration.
    assert found["time"].tolist() == [1800, 1800]
    assert not found["censored"].any()


def test_a_world_in_which_the_oracle_learns_nothing_has_no_target():
    flat = training(lambda *_: -200.0, (0,))
    scores = run_scores(flat, flat, flat)
    assert np.isnan(values(scores, "adaptation_time")[0])
    assert np.isnan(values(scores, "normalised")[0])


def test_adaptation_takes_a_full_window_after_the_change():
    # 60 iterations smooth over 3; the first iteration still plays episodes of the old world.
    curve = step_curve(30)
    metrics = training(lambda s, p, w: 1.0 if w == 0 else curve(s, p, w), (0,), 2, iterations=60)
    targets = pd.DataFrame({0: [0.8], 1: [0.8]}, index=[0])
    assert adaptation(metrics, targets)["time"].tolist() == [33 * ITERATION_STEPS]


def test_an_iteration_without_an_episode_says_nothing_of_adaptation():
    # 40 iterations smooth over 2; one of the two that first reach the target saw no episode end.
    metrics = training(lambda s, p, w: float(w >= 10), (0,), 2, iterations=40)
    metrics.loc[metrics.index % 40 == 11, ["episodes", "return"]] = [0, np.nan]
    targets = pd.DataFrame({0: [0.8], 1: [0.8]}, index=[0])
    assert adaptation(metrics, targets)["time"].tolist() == [12 * ITERATION_STEPS]


def test_scores_are_paired_with_the_oracle_of_the_same_seed():
    arms = known_arms()
    easy = training(lambda s, *_: 1.0 + s, (0, 1, 2))
    half = training(lambda s, *_: (1.0 + s) / 2, (0, 1, 2))
    scores = run_scores(half, easy, arms["random"])
    assert values(scores, "normalised") == pytest.approx([0.5] * 3)
    missing = run_scores(half, easy[easy["seed"] < 2], arms["random"])
    assert values(missing, "normalised")[:2] == pytest.approx([0.5] * 2)
    assert np.isnan(values(missing, "normalised")[2])
    assert np.isnan(values(missing, "regret")[2])


def test_the_last_fifth_is_the_last_fifth_of_the_steps():
    metrics = training(lambda s, p, w: float(w >= 16), (0,))
    assert last_fifth_returns(metrics).loc[0].tolist() == [1.0] * 3


def test_summaries_read_before_and_after_the_changes():
    found = summaries(training(lambda *_: 0.0, (0, 1), iterations=20))
    # Entropy falls from 1 by 1/20 an iteration in each phase.
    assert values(found, "entropy_before") == pytest.approx([1 - 17.5 / 20] * 2)
    assert values(found, "entropy_after") == pytest.approx([1 - 1.5 / 20] * 2)
    assert values(found, "effective_rank_before") == pytest.approx([29.5] * 2)
    assert values(found, "effective_rank_after") == pytest.approx([28.5] * 2)
    assert values(found, "path_length_fifth") == pytest.approx([0.4] * 2)
    assert values(found, "path_length_phase") == pytest.approx([2.0] * 2)
    assert np.isnan(values(found, "anchor_spread_after")).all()


def test_bins_never_mix_worlds_and_average_over_iterations():
    metrics = training(lambda s, p, w: float(p), (0, 1), iterations=50)
    table = binned(metrics, "return")
    assert table.shape == (2, 60)
    for phase in range(3):
        assert (table[phase] == phase).all(axis=None)
    assert table.columns.get_level_values("step")[-1] == 3 * 50 * ITERATION_STEPS
