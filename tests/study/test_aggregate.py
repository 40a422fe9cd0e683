import numpy as np
import pandas as pd
import pytest
from rliable import metrics as rliable
from scipy import stats

from gtr.errors import GTRError
from gtr.study import aggregate, statistics
from gtr.study.aggregate import (
    aggregate_difference,
    aggregate_improvement,
    aggregate_iqm,
    common_suites,
    suite_table,
)
from gtr.study.statistics import (
    NO_DIFFERENCE,
    Estimate,
    estimate_iqm,
    paired_difference,
    probability_of_improvement,
    verdict,
)

SUITES = ("acrobot", "cartpole", "corner")
# Runs by suites, of two methods; written out so that no generator's version moves the records.
X = 0.5 + 0.3 * np.sin(2.3 * np.arange(24)).reshape(8, 3) + np.array([0.0, 0.2, 0.5])
Y = 0.4 + 0.3 * np.cos(1.7 * np.arange(30)).reshape(10, 3) + np.array([0.0, 0.1, 0.6])


def table(**methods):
    """Scores of methods, each given as (runs, suites) or as a dict of suites to runs."""
    rows = [
        {"suite": suite, "method": name, "seed": seed, "value": value}
        for name, scores in methods.items()
        for suite, runs in (
            scores.items() if isinstance(scores, dict) else zip(SUITES, scores.T, strict=False)
        )
        for seed, value in enumerate(runs)
    ]
    return pd.DataFrame(rows)


XY = table(x=X, y=Y)


def scores_of(method, suite, scores=XY):
    rows = scores[(scores["method"] == method) & (scores["suite"] == suite)]
    return rows.set_index("seed")["value"]


# ---------------------------------------------------------------- estimators


@pytest.mark.parametrize("digits", [15, 1], ids=["apart", "ties"])
@pytest.mark.parametrize(("runs", "others"), [(2, 2), (5, 8), (10, 10), (11, 3)])
def test_estimates_are_those_of_rliable(runs, others, digits):
    rng = np.random.default_rng(runs)
    x = rng.normal(0.5, 0.3, (runs, 3)).round(digits)
    y = rng.normal([0.3, 0.5, 0.9], 0.3, (others, 3)).round(digits)
    scores = table(x=x, y=y)
    assert aggregate_iqm(scores, "x").value == pytest.approx(rliable.aggregate_iqm(x))
    assert aggregate_iqm(scores, "y").value == pytest.approx(rliable.aggregate_iqm(y))
    assert aggregate_improvement(scores, "x", "y").value == pytest.approx(
        rliable.probability_of_improvement(x, y)
    )


def test_plain_intervals_are_those_of_rliable():
    # rliable 1.2, pandas 2.3: get_interval_estimates on X with 20,000 resamples, and on [X, Y]
    # with 5000, each after np.random.seed(0).
    found = statistics._bootstrap(aggregate._pooled_iqm, tuple(X.T), 0.95, 20_000)
    assert found == pytest.approx((0.6210, 0.7985), abs=0.005)
    found = statistics._bootstrap(aggregate._mean_share_of_wins, (*X.T, *Y.T), 0.95, 5000)
    assert found == pytest.approx((0.475, 0.779), abs=0.015)


def test_a_difference_is_the_mean_of_the_suites_own():
    found = aggregate_difference(XY, "x", "y")
    own = [
        paired_difference(scores_of("x", suite), scores_of("y", suite)).value for suite in SUITES
    ]
    assert found.value == pytest.approx(np.mean(own))
    assert found.value == pytest.approx(np.mean(stats.trim_mean(X - Y[:8], 0.25, axis=0)))
    assert found.runs == 8


def test_a_suite_that_is_lost_is_in_the_difference():
    """Pooled, its runs would all be outside the middle half."""
    worse = X[:, :1].repeat(4, 1) + 0.1
    worse[:, 3] -= 2
    names = ("a", "b", "c", "d")
    scores = table(
        x=dict(zip(names, X[:, :1].repeat(4, 1).T, strict=True)),
        z=dict(zip(names, worse.T, strict=True)),
    )
    assert aggregate_difference(scores, "z", "x").value == pytest.approx(0.1 - 2 / 4)


def test_one_suite_is_a_study_by_itself():
    one = XY[XY["suite"] == "cartpole"]
    x, y = (scores_of(name, "cartpole") for name in "xy")
    for scores, suites in ((one, None), (XY, ["cartpole"])):
        assert aggregate_iqm(scores, "x", suites) == estimate_iqm(x)
        assert aggregate_improvement(scores, "x", "y", suites) == probability_of_improvement(x, y)
        assert aggregate_difference(scores, "x", "y", suites) == paired_difference(x, y)


def everything(scores):
    return (
        aggregate_iqm(scores, "x"),
        aggregate_improvement(scores, "x", "y"),
        aggregate_difference(scores, "x", "y"),
    )


def test_the_order_of_rows_changes_nothing():
    for seed in range(3):
        shuffled = XY.sample(frac=1, random_state=seed)
        assert everything(shuffled) == everything(XY)
        pd.testing.assert_frame_equal(suite_table(shuffled, "x"), suite_table(XY, "x"))


def test_neither_seeds_nor_suites_matter_by_name():
    other_seeds = XY.assign(seed=(7 * XY["seed"] + 3) % 1009)
    assert everything(other_seeds) == everything(XY)
    names = {"acrobot": "z", "cartpole": "y", "corner": "x"}
    for found, expected in zip(
        everything(XY.assign(suite=XY["suite"].map(names))), everything(XY), strict=True
    ):
        assert found.value == pytest.approx(expected.value)
        # Other suites get other resamples.
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_identical_methods_improve_on_each_other_half_of_the_time():
    twins = table(x=X, y=X)
    found = aggregate_improvement(twins, "x", "y")
    assert found.value == 0.5
    assert found.low == pytest.approx(1 - found.high, abs=0.05)
    assert aggregate_difference(twins, "x", "y") == Estimate(0.0, 0.0, 0.0, 8)
    assert aggregate_iqm(twins, "x") == aggregate_iqm(twins, "y")


def test_always_better_is_1_and_always_worse_0():
    scores = table(x=X + 10, y=X)
    assert aggregate_improvement(scores, "x", "y").value == 1
    assert aggregate_improvement(scores, "y", "x").value == 0
    assert verdict(aggregate_difference(scores, "x", "y")) == "better"
    assert verdict(aggregate_difference(scores, "y", "x")) == "worse"


def test_pairing_removes_the_luck_of_the_seed():
    luck = np.linspace(0, 100, 10)[:, None].repeat(3, 1)
    noise = np.sin(np.arange(30)).reshape(10, 3) / 10
    scores = table(x=luck + 1 + noise, y=luck)
    assert verdict(aggregate_difference(scores, "x", "y")) == "better"
    strangers = scores.assign(
        seed=scores["seed"].where(scores["method"] == "y", 9 - scores["seed"])
    )
    assert verdict(aggregate_difference(strangers, "x", "y")) == NO_DIFFERENCE


# ---------------------------------------------------------------- intervals

ALIKE = (np.zeros(4), np.ones(4))
ONE_NOISY = (np.zeros(4), np.array([1, 0.05, 0.05, 0.05]))
APART = (np.array([0, 0.3, 0.6, 0.9]), np.full(4, 0.1))


@pytest.mark.parametrize("runs", [5, 10])
@pytest.mark.parametrize("case", [ALIKE, ONE_NOISY, APART], ids=["alike", "one-noisy", "apart"])
@pytest.mark.parametrize("statistic", [aggregate._pooled_iqm, aggregate._mean_iqm])
def test_intervals_hold_the_truth_at_least_as_often_as_promised(statistic, case, runs):
    # In 1000 trials from 0.945 (one noisy suite, 5 runs) to 0.99.
    rng = np.random.default_rng(3)
    middle, noise = case
    truth, trials, held = middle.mean(), 150, 0  # symmetric, so the interquartile mean's too
    for _ in range(trials):
        suites = tuple(rng.normal(middle[:, None], noise[:, None], (4, runs)))
        low, high = statistics._bootstrap(statistic, suites, statistics._level(runs), 500)
        held += low <= truth <= high
    assert held / trials >= 0.92


def test_intervals_of_improvement_hold_the_truth_as_often_as_promised():
    rng = np.random.default_rng(4)
    truth, trials, held = stats.norm.cdf(0.3 / np.sqrt(2)), 150, 0
    for _ in range(trials):
        samples = (*rng.normal(0.3, 1, (4, 10)), *rng.normal(0, 1, (4, 10)))
        low, high = statistics._bootstrap(
            aggregate._mean_share_of_wins, samples, statistics._level(10), 500
        )
        held += low <= truth <= high
    assert held / trials >= 0.92


def test_intervals_are_those_of_the_suite_with_the_fewest_runs():
    scores = table(x={"a": X[:, 0], "b": X[:5, 1]})
    samples = (np.sort(X[:, 0]), np.sort(X[:5, 1]))
    found = aggregate_iqm(scores, "x")
    low, high = statistics._bootstrap(
        aggregate._pooled_iqm, samples, statistics._level(5), statistics.RESAMPLES
    )
    assert (found.low, found.high, found.runs) == (low, high, 5)


def test_suites_are_resampled_apart():
    """Runs that agree within each suite leave nothing to chance, far as the suites are apart."""
    steps = table(x=np.tile([0.0, 5.0, 9.0], (6, 1)), y=np.tile([1.0, 4.0, 9.0], (6, 1)))
    middle = stats.trim_mean(6 * [0.0, 5.0, 9.0], 0.25)
    assert aggregate_iqm(steps, "x") == Estimate(middle, middle, middle, 6)
    assert aggregate_improvement(steps, "x", "y") == Estimate(0.5, 0.5, 0.5, 6)
    assert aggregate_difference(steps, "x", "y") == Estimate(0.0, 0.0, 0.0, 6)


def test_one_run_on_a_suite_gives_no_interval():
    scores = table(x={"a": X[:, 0], "b": X[:1, 1]}, y={"a": Y[:, 0], "b": Y[:1, 1]})
    for found in everything(scores):
        assert (found.low, found.high, found.runs) == (None, None, 1)
        assert np.isfinite(found.value)


# ---------------------------------------------------------------- unbalanced tables


def test_a_suite_with_more_runs_counts_for_no_more():
    for sizes in ((4, 6), (3, 5, 4), (10, 7, 2, 9)):
        suites = [np.cos(3.1 * np.arange(n) + n) + n for n in sizes]
        scores = table(x={f"suite {n}": runs for n, runs in zip(sizes, suites, strict=True)})
        copies = 4 * np.lcm.reduce(sizes) // np.array(sizes)
        pooled = np.concatenate(
            [np.repeat(runs, k) for runs, k in zip(suites, copies, strict=True)]
        )
        assert aggregate_iqm(scores, "x").value == pytest.approx(stats.trim_mean(pooled, 0.25))


def test_runs_without_a_score_do_not_count():
    holes = XY.copy()
    holes.loc[holes["seed"] >= 6, "value"] = np.nan
    assert everything(holes) == everything(XY[XY["seed"] < 6])


def test_only_common_seeds_are_paired():
    apart = XY.assign(seed=XY["seed"].where(XY["method"] == "x", XY["seed"] + 3))
    found = aggregate_difference(apart, "x", "y")
    assert found.runs == 5
    assert found.value == pytest.approx(np.mean(stats.trim_mean(X[3:] - Y[:5], 0.25, axis=0)))
    assert aggregate_improvement(apart, "x", "y") == aggregate_improvement(XY, "x", "y")


def test_a_missing_suite_is_an_error_until_it_is_left_out_by_name():
    gap = XY[~((XY["suite"] == "corner") & (XY["method"] == "y"))]
    silent = XY.copy()
    silent.loc[(XY["suite"] == "corner") & (XY["method"] == "y"), "value"] = np.nan
    for scores in (gap, silent):
        for ask in (
            lambda scores=scores: aggregate_iqm(scores, "y"),
            lambda scores=scores: aggregate_improvement(scores, "x", "y"),
            lambda scores=scores: aggregate_difference(scores, "y", "x"),
        ):
            with pytest.raises(GTRError, match=r"^y has no score on corner: .* suites=$"):
                ask()
        assert aggregate_iqm(scores, "x") == aggregate_iqm(XY, "x")
        suites = common_suites(scores, ["x", "y"])
        assert suites == ("acrobot", "cartpole")
        rest = XY[XY["suite"] != "corner"]
        assert aggregate_improvement(scores, "x", "y", suites) == aggregate_improvement(
            rest, "x", "y"
        )
        assert aggregate_difference(scores, "x", "y", suites) == aggregate_difference(
            rest, "x", "y"
        )
    assert common_suites(XY, ["x", "nobody"]) == ()


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: aggregate_iqm(XY, "z"), ["no score of 'z'", "x, y"]),
        (lambda: aggregate_iqm(XY[:0], "x"), ["there are none"]),
        (lambda: aggregate_iqm(XY, "x", ["moon"]), ["x has no score on moon"]),
        (lambda: aggregate_iqm(XY, "x", []), ["no suite is named"]),
        (lambda: aggregate_iqm(XY.drop(columns="seed"), "x"), ["no column seed", "suite, method"]),
        (lambda: suite_table(pd.concat([XY, XY[:1]]), "x"), ["x on acrobot with seed 0 twice"]),
        (lambda: suite_table(XY, "z"), ["no score of 'z'"]),
        (
            lambda: aggregate_difference(
                XY.assign(seed=XY["seed"] + 100 * (XY["method"] == "y")), "x", "y"
            ),
            ["x and y have no seed in common on acrobot"],
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_how_to_mend_it(ask, words):
    with pytest.raises(GTRError) as caught:
        ask()
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


# ---------------------------------------------------------------- the table


def test_the_table_holds_every_suites_own_numbers():
    found = suite_table(XY, "y")
    assert list(zip(found["suite"], found["method"], strict=True)) == [
        (suite, method) for suite in SUITES for method in ("y", "x")
    ]
    assert (found.loc[found["method"] == "y", "verdict"] == "reference").all()
    for row in found[found["method"] == "x"].to_dict("records"):
        x, y = (scores_of(name, row["suite"]) for name in "xy")
        for name, expected in (
            ("iqm", estimate_iqm(x)),
            ("difference", paired_difference(x, y)),
            ("improvement", probability_of_improvement(x, y)),
        ):
            ends = (row[name], row[f"{name}_low"], row[f"{name}_high"])
            assert ends == (expected.value, expected.low, expected.high)
        assert (row["runs"], row["pairs"]) == (8, 8)
        assert row["verdict"] == verdict(paired_difference(x, y))
    assert found["difference"].mean() == pytest.approx(aggregate_difference(XY, "x", "y").value)


def test_the_table_shows_what_is_missing():
    gap = XY[~((XY["suite"] == "corner") & (XY["method"] == "y"))]
    rows = suite_table(gap, "x").set_index(["suite", "method"])
    missing = rows.loc[("corner", "y")]
    assert (missing["runs"], missing["pairs"]) == (0, 0)
    assert missing["verdict"] == "no common seeds"
    assert np.isnan(missing["iqm"])
    assert rows.loc[("corner", "x"), "runs"] == 8
