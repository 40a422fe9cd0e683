"""What one run is worth: scores from its metrics, one value a seed.

All returns are undiscounted returns of episodes, averaged over time: each iteration in which an
episode ended weighs alike, so that a mean is the area under the curve of returns over steps. (With
episodes as weights a policy would count for more while its episodes are short: where long ones are
good its failures, where short ones are good its successes.) A phase is a world; a *change* is the
beginning of any phase but the first. Times are environment steps since the change. Definitions
follow the literature on changing worlds: regret against a reference that is reset at each change
(dynamic regret, Besbes et al. 2015), and a fresh agent at each change as the yardstick of lost
plasticity (Dohare et al. 2024, doi:10.1038/s41586-024-07711-7).
"""

import numpy as np
import pandas as pd

BINS = 20
"""A phase is cut into this many equal parts: the width of smoothing and of a curve's points."""

TARGET = 0.8
"""Adapted means this share of the way from the random policy's return to the oracle's."""

CURVED = (
    "entropy",
    "kl",
    "clip_fraction",
    "redescended_fraction",
    "redescended_advantage",
    "anchor_spread",
    "effective_rank",
    "dormant_fraction",
    "step_cosine",
)
"""Measured afresh at each iteration, so that means over a window say something."""

CUMULATED = ("path_length", "net_displacement", "directional_efficiency")
"""Measured from the phase's beginning on, so that the value at a point in the phase is read."""


def with_positions(metrics: pd.DataFrame) -> pd.DataFrame:
    """Add where in its phase each row lies.

    Args:
        metrics: columns seed, iteration, step, phase, sorted by seed and iteration.

    Returns:
        A copy with `elapsed` (steps from the phase's beginning to the iteration's end), `length`
        (steps of the phase as far as it was run) and `fraction` = elapsed / length, in (0, 1].
    """
    placed = metrics.copy()
    begin = placed.groupby("seed")["step"].shift(fill_value=0)
    phases = placed.assign(begin=begin).groupby(["seed", "phase"])
    first = phases["begin"].transform("min")
    placed["elapsed"] = placed["step"] - first
    placed["length"] = phases["step"].transform("max") - first
    placed["fraction"] = placed["elapsed"] / placed["length"]
    return placed


def phase_returns(metrics: pd.DataFrame) -> pd.DataFrame:
    """Mean online return of each run in each phase.

    Args:
        metrics: one row an iteration and seed.

    Returns:
        Shape (seeds, phases), indexed by seed and phase; NaN where no episode ended.
    """
    return metrics.groupby(["seed", "phase"])["return"].mean().unstack("phase")


def last_fifth_returns(metrics: pd.DataFrame) -> pd.DataFrame:
    """Mean return of each run in the last fifth of each phase's steps.

    Args:
        metrics: one row an iteration and seed.

    Returns:
        Shape (seeds, phases), indexed by seed and phase; NaN where no episode ended.
    """
    placed = with_positions(metrics)
    late = placed.assign(late=placed["return"].where(placed["fraction"] > 0.8 + 1e-9))
    return late.groupby(["seed", "phase"])["late"].mean().unstack("phase")


def adaptation_targets(oracle: pd.DataFrame, random: pd.DataFrame) -> pd.DataFrame:
    """The return that counts as adapted, for each seed and phase.

    `random + 0.8 (oracle - random)`, with the oracle's return in the last fifth of the phase and
    the random policy's mean over the phase, both of the same seed and so of the same world. This
    is 80% of the oracle's return where the random policy earns 0, and it keeps its meaning
    where returns are negative: 80% of -80 would be the unreachable -64.

    Args:
        oracle: metrics of the agent that starts afresh at each change.
        random: metrics of the policy before any training.

    Returns:
        Shape (seeds, phases). NaN where the oracle does no better than the random policy, since
        there is then nothing to adapt to.
    """
    best = last_fifth_returns(oracle)
    floor = phase_returns(random).reindex(index=best.index, columns=best.columns)
    return (floor + TARGET * (best - floor)).where(best > floor)


def adaptation(metrics: pd.DataFrame, targets: pd.DataFrame) -> pd.DataFrame:
    """How long each run takes after each change to reach the target.

    The return is smoothed over a trailing window of a twentieth of the phase's iterations (at
    least one). Windows never reach back over the change, and the first that is looked at is
    the first full one, so that one lucky episode, or one that began in the world before, is not
    taken for adaptation.

    Args:
        metrics: one row an iteration and seed.
        targets: returns to be reached, shape (seeds, phases).

    Returns:
        One row a seed and change with a target, with columns seed, phase, time (steps since the
        change; the phase's length where censored) and censored (the target was not reached).
    """
    placed = with_positions(metrics)
    rows = []
    known = targets.unstack().dropna().to_dict()
    for (phase, seed), world in placed[placed["phase"] > 0].groupby(["phase", "seed"]):
        target = known.get((phase, seed))
        if target is None:
            continue
        window = np.ones(max(1, round(len(world) / BINS)))
        earned = np.convolve(world["return"].fillna(0).to_numpy(), window, "valid")
        ended = np.convolve(world["return"].notna().to_numpy(float), window, "valid")
        # Sums over windows differ from their exact value by rounding.
        reached = (ended > 0) & (earned >= ended * target - 1e-9 * ended * abs(target))
        elapsed = world["elapsed"].to_numpy()[len(window) - 1 :]
        hits = elapsed[reached]
        rows.append(
            {
                "seed": seed,
                "phase": phase,
                "time": hits[0] if hits.size else float(world["length"].iloc[0]),
                "censored": not hits.size,
            }
        )
    return pd.DataFrame(rows, columns=pd.Index(["seed", "phase", "time", "censored"]))


def run_scores(
    metrics: pd.DataFrame, oracle: pd.DataFrame | None = None, random: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Scores of finished runs, paired on seeds with the oracle's and the random policy's.

    | metric | meaning |
    |---|---|
    | return_phase_0, ... | mean online return in that phase |
    | first_return | the same as return_phase_0 |
    | later_return | mean of the phases' mean returns, over all phases after the first |
    | last_fifth | mean over the same phases of the return in their last fifth |
    | normalised | later_return on a scale where random is 0 and the oracle 1 |
    | regret | sum over all phases of (oracle's mean return - mean return) |
    | adaptation_time | restricted mean over changes of the time to adapt, in steps |
    | adaptation_censored | share of changes not adapted to before the next one |

    With a single phase, which has no change, `later_return` and `last_fifth` are of that phase.

    Args:
        metrics: one row an iteration and seed, of runs that went through all phases.
        oracle: the oracle's metrics; without them the scores relative to it are left out.
        random: the random policy's metrics; likewise.

    Returns:
        Columns seed, metric, value. A score that is not defined for a seed is NaN: no episode
        ended in a phase, the oracle lacks the seed, or is no better than random.
    """
    means = phase_returns(metrics)
    columns = {f"return_phase_{phase:.0f}": means[phase] for phase in means}
    columns["first_return"] = means.iloc[:, 0]
    columns["later_return"] = _later(means)
    columns["last_fifth"] = _later(last_fifth_returns(metrics))
    if oracle is not None:
        best = phase_returns(oracle).reindex(index=means.index, columns=means.columns)
        columns["regret"] = (best - means).sum(axis=1, skipna=False)
    if oracle is not None and random is not None:
        top = _later(phase_returns(oracle)).reindex(means.index)
        floor = _later(phase_returns(random)).reindex(means.index)
        columns["normalised"] = ((columns["later_return"] - floor) / (top - floor)).where(
            top > floor
        )
        times = adaptation(metrics, adaptation_targets(oracle, random)).groupby("seed")
        columns["adaptation_time"] = times["time"].mean().reindex(means.index)
        columns["adaptation_censored"] = times["censored"].mean().reindex(means.index).astype(float)
    return _tidy(pd.DataFrame(columns))


def summaries(metrics: pd.DataFrame) -> pd.DataFrame:
    """Health and movement around the changes.

    For what each iteration measures afresh (`CURVED`): `<name>_before`, the mean over the last
    fifths of the phases that a change ends, and `<name>_after`, the mean over the first fifths of
    the phases that a change begins. For what accumulates from the change on (`CUMULATED`):
    `<name>_fifth` and `<name>_phase`, the mean over changes of the value a fifth into the phase
    and at its end.

    Args:
        metrics: one row an iteration and seed, of runs that went through all phases.

    Returns:
        Columns seed, metric, value; what was not measured is NaN.
    """
    placed = with_positions(metrics)
    late = placed["fraction"] > 0.8 + 1e-9
    early = placed["fraction"] <= 0.2 + 1e-9
    changed = placed["phase"] > 0
    doomed = placed["phase"] < placed["phase"].max()
    seeds = pd.Index(placed["seed"].unique(), name="seed")
    columns = {}
    for name in CURVED:
        columns[f"{name}_before"] = placed[late & doomed].groupby("seed")[name].mean()
        columns[f"{name}_after"] = placed[early & changed].groupby("seed")[name].mean()
    for name in CUMULATED:
        for suffix, rows in (("fifth", early & changed), ("phase", changed)):
            ends = placed[rows].groupby(["seed", "phase"])[name].last()
            columns[f"{name}_{suffix}"] = ends.groupby("seed").mean()
    return _tidy(pd.DataFrame(columns, index=seeds))


def binned(metrics: pd.DataFrame, column: str) -> pd.DataFrame:
    """A measurement over a run, averaged over twentieths of each phase.

    Args:
        metrics: one row an iteration and seed; runs may be unfinished.
        column: of the metrics.

    Returns:
        Shape (seeds, points), indexed by seed and by (phase, step), where `step` is the last
        environment step of the bin. Phases with fewer iterations have as many points.
    """
    placed = with_positions(metrics)
    iterations = placed.groupby(["seed", "phase"]).size().max()
    width = placed["elapsed"].max() / min(BINS, iterations)
    begin = (placed["step"] - placed["elapsed"]).groupby(placed["phase"]).transform("min")
    point = begin + np.ceil(placed["elapsed"] / width - 1e-9) * width
    labelled = placed.assign(point=point)
    means = labelled.groupby(["seed", "phase", "point"])[column].mean()
    table = means.unstack(["phase", "point"]).sort_index(axis=1)
    table.columns = table.columns.set_names(["phase", "step"])
    return table


def _later(returns: pd.DataFrame) -> pd.Series:
    later = returns.iloc[:, 1:] if returns.shape[1] > 1 else returns
    return later.mean(axis=1, skipna=False)


def _tidy(wide: pd.DataFrame) -> pd.DataFrame:
    wide.index.name = "seed"
    return wide.reset_index().melt(id_vars="seed", var_name="metric", value_name="value")
