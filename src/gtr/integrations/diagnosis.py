"""Is this policy stuck? What a stretch of training says about it, in words and numbers."""

import math
from dataclasses import dataclass

# A step of this Hellinger distance is a KL divergence of about 4 h^2 = 0.0004 nats; PPO's target,
# where it is given one, is usually some 0.01.
_STILL = 0.01
# Episodes in a half, and shares, from which on something is said; ours, and no measurement's.
_FEW = 8
_DROWNED = 0.5
_QUIET = 0.1
_CERTAIN = 0.1


@dataclass(frozen=True)
class Stretch:
    """What was seen of a policy over some updates.

    Attributes:
        updates: number of updates, the path's steps.
        timesteps: of the environment, in the rollouts before these updates.
        path_length: sum of the steps' Hellinger distances on probe observations.
        net_displacement: Hellinger distance between the path's ends.
        step_cosine: mean cosine of successive steps; NaN where there are none.
        returns: undiscounted returns of the episodes that ended, in their order.
        observation_scale: median over components of the standard deviation, in the last rollout, of
            observations that a running normaliser should bring to 1; None without one.
        advantage_scales: smallest and largest root mean square of a rollout's advantages.
        standardised: whether advantages are brought to one size in each minibatch.
        entropy_share: mean entropy over the largest possible; None where actions are continuous.
        std: mean standard deviation of continuous actions; None where they are discrete.
    """

    updates: int
    timesteps: int
    path_length: float
    net_displacement: float
    step_cosine: float
    returns: tuple[float, ...]
    observation_scale: float | None
    advantage_scales: tuple[float, float]
    standardised: bool
    entropy_share: float | None
    std: float | None


def diagnose(stretch: Stretch) -> str:
    """The diagnosis: a line on returns, one on movement, one that draws the conclusion, and then
    what to look at first, in the order of docs/is-your-ppo-stuck.md.

    It says what was measured. Whether a level of returns is low it cannot know.
    """  # noqa: D205
    trend, returns = _returns(stretch)
    gait, movement = _movement(stretch)
    lines = [
        f"Is it stuck? The last {stretch.updates} updates ({stretch.timesteps:,} steps):",
        f"- returns: {returns}",
        f"- movement: {movement}",
        f"- so: {_CONCLUSIONS[trend, gait]}",
        "Before the trust region, look at",
        f"1. observations: {_observations(stretch)}",
        f"2. advantages: {_advantages(stretch)}",
        f"3. entropy: {_entropy(stretch)}",
        "4. epochs, network and clip: not seen from here; vary them",
    ]
    return "\n".join(lines)


def _returns(stretch: Stretch) -> tuple[str, str]:
    half = len(stretch.returns) // 2
    if half < _FEW:
        return "unknown", f"{len(stretch.returns)} episodes ended, too few to tell"
    halves = stretch.returns[:half], stretch.returns[half:]
    means = [sum(part) / len(part) for part in halves]
    variances = [
        sum((x - mean) ** 2 for x in part) / (len(part) - 1) / len(part)
        for part, mean in zip(halves, means, strict=True)
    ]
    change, error = means[1] - means[0], math.sqrt(sum(variances))
    trend = "level" if abs(change) <= 2 * error else "rising" if change > 0 else "falling"
    return trend, (
        f"{means[0]:.4g} in the first half of {len(stretch.returns)} episodes, {means[1]:.4g} in "
        f"the second ({change:+.3g}, standard error {error:.2g}): {trend}"
    )


def _movement(stretch: Stretch) -> tuple[str, str]:
    updates, length = stretch.updates, stretch.path_length
    by_chance = 1 / math.sqrt(updates)
    efficiency = stretch.net_displacement / length if length > 0 else 0.0
    if length < _STILL * updates:
        gait = "still"
    elif efficiency <= by_chance:
        gait = "wandering"
    else:
        gait = "directed"
    cosine = "unknown" if math.isnan(stretch.step_cosine) else f"{stretch.step_cosine:.2f}"
    return gait, (
        f"path length {length:.3g}, net displacement {stretch.net_displacement:.3g}, directional "
        f"efficiency {efficiency:.2f} (1 is straight, {by_chance:.2f} is {updates} equal steps at "
        f"right angles), mean cosine of successive steps {cosine}: {gait}"
    )


_LEVEL = "level returns are also those of a policy at its best: is the level low?"
_CONCLUSIONS = {
    ("rising", "still"): "not stuck: it learns, by small steps",
    ("rising", "wandering"): "not stuck: it learns, by a crooked way",
    ("rising", "directed"): "not stuck: it learns, and keeps a direction",
    ("level", "still"): "it hardly moves: learning rate, clip, KL limit or penalty hold it, or "
    f"nothing pushes it; {_LEVEL}",
    ("level", "wandering"): "it moves and gets nowhere: noise drives it; a larger batch, a lower "
    f"learning rate, or a trust region's pull hold small steps; {_LEVEL}",
    ("level", "directed"): "it moves, and gains nothing by it: exploration or reward, not the "
    f"trust region; {_LEVEL}",
    ("falling", "still"): "returns fall though it hardly moves: the world changed, and it is held",
    ("falling", "wandering"): "returns fall and it gets nowhere: it is lost, or the world changed",
    ("falling", "directed"): "returns fall as it moves: it is led astray (too large a step, a "
    "critic that is wrong), or the world changed and it is on its way",
    ("unknown", "still"): "it hardly moves; whether it should, returns must tell",
    ("unknown", "wandering"): "it moves and gets nowhere; whether it should, returns must tell",
    ("unknown", "directed"): "it keeps a direction; whether a good one, returns must tell",
}


def _observations(stretch: Stretch) -> str:
    scale = stretch.observation_scale
    if scale is None:
        return "no running normaliser was seen"
    found = f"normalised, their standard deviation in the last rollout is {scale:.2g}"
    if scale < _DROWNED:
        return f"{found}, far below 1: the normaliser remembers another world, let it forget"
    return found


def _advantages(stretch: Stretch) -> str:
    smallest, largest = stretch.advantage_scales
    found = f"their root mean square was {smallest:.2g} to {largest:.2g} over the rollouts"
    if stretch.standardised and smallest < _QUIET * largest:
        return (
            f"{found}, and each minibatch is brought to 1: quiet rollouts are noise at full size, "
            "try normalize_advantage=False with scaled rewards"
        )
    return found


def _entropy(stretch: Stretch) -> str:
    if stretch.entropy_share is None:
        return f"the mean standard deviation of actions is {stretch.std:.2g}"
    found = f"{stretch.entropy_share:.0%} of the largest possible"
    if stretch.entropy_share < _CERTAIN:
        return f"{found}: it is certain, and slow to try anything new; raise the coefficient"
    return found
