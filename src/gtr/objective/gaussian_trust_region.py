"""The method itself, from its numbers alone."""

from gtr.objective import defaults
from gtr.objective.anchors import Recent
from gtr.objective.method import Method, validate
from gtr.objective.numerics import Number
from gtr.objective.penalties import Gaussian
from gtr.objective.surrogates import Clip


def gaussian_trust_region(
    *,
    clip: Number = defaults.CLIP,
    stiffness: Number = defaults.STIFFNESS,
    radius: Number = defaults.RADIUS,
    anchors: int = defaults.COUNT,
    every: int = defaults.EVERY,
    decay: Number = defaults.DECAY,
) -> Method:
    """The method `gtr`: our reading of arXiv:2606.03382.

    Args:
        clip: of PPO's surrogate.
        stiffness: of the penalty, in units of the batch's root mean square advantage.
        radius: the log-ratio, in nats, at which the pull is strongest.
        anchors: number of recent policies, the one that collected the batch among them.
        every: iterations between two snapshots.
        decay: weight of an anchor relative to the next newer one.

    Returns:
        The method, validated.

    Raises:
        GTRError: a number is out of its range.
    """
    method = Method(
        "gtr",
        Clip(clip),
        penalty=Gaussian(stiffness, radius),
        anchor=Recent(anchors, every, decay),
        relative=defaults.RELATIVE,
    )
    validate(method)
    return method
