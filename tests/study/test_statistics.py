import numpy as np
import pandas as pd
import pytest
from rliable import metrics as rliable
from scipy import stats

from gtr.study import statistics
from gtr.study.statistics import (
    NO_DIFFERENCE,
    Estimate,
    estimate_iqm,
    iqm_curve,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    verdict,
)

X = np.array([0.1, 0.4, 0.35, 0.8, 0.62, 0.55, 0.7, 0.2, 0.91, 0.5])
Y = np.array([0.3, 0.2, 0.1, 0.5, 0.45, 0.4, 0.3, 0.6, 0.15, 0.25])


def test_estimates_are_those_of_rliable():
    assert estimate_iqm(X).value == pytest.approx(rliable.aggregate_iqm(X[:, None]))
    assert estimate_iqm(X).value == pytest.approx(stats.trim_mean(X, 0.25))
    found = probability_of_improvement(X, Y)
    assert found.value == pytest.approx(rliable.probability_of_improvement(X[:, None], Y[:, None]))


def test_plain_intervals_are_those_of_rliable():
    # rliable 1.2 with pandas 2.3: get_interval_estimates, 20,000 resamples, np.random.seed(0).
    found = statistics._bootstrap(statistics.iqm, (X,), 0.95, 20_000)
    assert found == pytest.approx((0.3333, 0.6950), abs=0.01)
    found = statistics._bootstrap(statistics.share_of_wins, (X, Y), 0.95, 5000)
    assert found == pytest.approx((0.475, 0.94), abs=0.015)


def test_intervals_are_widened_as_student_would():
    # With n runs the normal quantile becomes t * sqrt(n / (n - 1)).
    for runs in (5, 10, 30):
        reach = stats.norm.ppf((1 + statistics._level(runs)) / 2)
        assert reach == pytest.approx(stats.t.ppf(0.975, runs - 1) * (runs / (runs - 1)) ** 0.5)
    assert statistics._level(100_000) == pytest.approx(0.95, abs=1e-4)


@pytest.mark.parametrize("runs", [5, 10])
def test_intervals_hold_the_truth_as_often_as_promised(runs):
    rng = np.random.default_rng(3)
    trials = 250
    held = 0
    for _ in range(trials):
        sample = rng.normal(size=runs)
        low, high = statistics._bootstrap(statistics.iqm, (sample,), statistics._level(runs), 1000)
        held += low <= 0 <= high
    # Plain percentile intervals hold it in about .90 of the trials with 5 runs.
    assert held / trials >= 0.915


def test_identical_arms_improve_on_each_other_half_of_the_time():
    found = probability_of_improvement(X, X)
    assert found.value == 0.5
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.5 < found.high
    assert found.low == pytest.approx(1 - found.high, abs=0.05)


def test_always_better_is_1_and_always_worse_0():
    assert probability_of_improvement(X + 10, X).value == 1
    assert probability_of_improvement(X - 10, X).value == 0


def test_the_order_of_runs_changes_nothing():
    shuffled = np.random.default_rng(0).permutation(X)
    assert estimate_iqm(X) == estimate_iqm(shuffled)
    assert probability_of_improvement(X, Y) == probability_of_improvement(shuffled, Y)
    order = np.random.default_rng(1).permutation(10)
    x, y = pd.Series(X), pd.Series(Y)
    assert paired_difference(x, y) == paired_difference(x.iloc[order], y.iloc[order[::-1]])


def test_results_are_reproducible_and_leave_the_global_generator_alone():
    before = np.random.get_state()[1].copy()
    assert estimate_iqm(X) == estimate_iqm(X)
    assert (np.random.get_state()[1] == before).all()


def test_pairing_removes_the_luck_of_the_seed():
    luck = pd.Series(np.linspace(0, 100, 10))
    noise = pd.Series(np.sin(np.arange(10)) / 10)
    better = paired_difference(luck + 1 + noise, luck)
    assert verdict(better) == "better"
    assert better.value == pytest.approx(1, abs=0.1)
    # The very same scores, taken for those of other seeds, show nothing.
    strangers = (luck + 1 + noise).set_axis(np.random.default_rng(0).permutation(10))
    assert verdict(paired_difference(strangers, luck)) == NO_DIFFERENCE


def test_only_common_seeds_are_paired():
    found = paired_difference(
        pd.Series([1.0, 2.0, 3.0], index=[0, 1, 2]), pd.Series([0.0, 1.0], index=[1, 2])
    )
    assert (found.value, found.runs) == (2.0, 2)
    apart = paired_difference(pd.Series([1.0], index=[0]), pd.Series([1.0], index=[5]))
    assert apart.runs == 0
    assert verdict(apart) == "no common seeds"


def test_one_run_has_no_interval():
    found = estimate_iqm(np.array([0.5]))
    assert found == Estimate(0.5, None, None, 1)
    assert probability_of_improvement(X[:1], Y[:1]).low is None
    single = paired_difference(pd.Series([1.0]), pd.Series([0.0]))
    assert verdict(single) == "one seed, no interval"
    _, low, high = performance_profile(np.array([0.5]), np.array([0.0, 1.0]))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_runs_without_a_score_do_not_count():
    assert estimate_iqm(np.array([np.nan, 1.0, 1.0])) == Estimate(1.0, 1.0, 1.0, 2)
    assert estimate_iqm(np.array([np.nan])).runs == 0
    assert probability_of_improvement(np.array([]), X).runs == 0


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.1, 0.2, "better"),
        (-0.2, -0.1, "worse"),
        (-0.1, 0.1, NO_DIFFERENCE),
        (0, 1, NO_DIFFERENCE),
    ],
)
def test_a_difference_whose_interval_holds_0_is_not_shown(low, high, word):
    assert verdict(Estimate((low + high) / 2, low, high, 10)) == word


def test_a_performance_profile_is_the_share_of_runs_above():
    middle, low, high = performance_profile(X, np.array([0.0, 0.5, 2.0]))
    assert middle.tolist() == [1.0, 0.5, 0.0]
    assert (low <= middle).all()
    assert (middle <= high).all()


def test_a_curve_uses_the_runs_that_are_there():
    runs = np.array([[1.0, 1.0, np.nan], [2.0, 3.0, np.nan], [3.0, np.nan, np.nan]])
    middle, low, high = iqm_curve(runs)
    assert middle[:2].tolist() == [2.0, 2.0]
    assert np.isnan(middle[2])
    assert low[0] <= 2 <= high[0]
    bare, low, _ = iqm_curve(runs, band=False)
    assert bare[:2].tolist() == middle[:2].tolist()
    assert np.isnan(low).all()
