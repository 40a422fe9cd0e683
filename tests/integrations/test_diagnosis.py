import math
from dataclasses import replace

import pytest

from gtr.integrations.diagnosis import Stretch, diagnose

LEVEL = tuple(float(i % 2) for i in range(40))
SEEN = Stretch(
    updates=16,
    timesteps=2048,
    path_length=1.6,
    net_displacement=1.2,
    step_cosine=0.5,
    returns=LEVEL,
    observation_scale=None,
    advantage_scales=(0.8, 1.2),
    standardised=True,
    entropy_share=0.5,
    std=None,
)


@pytest.mark.parametrize(
    ("path_length", "net_displacement", "gait"),
    [(0.1, 0.1, "still"), (1.6, 0.3, "wandering"), (1.6, 0.5, "directed"), (0.0, 0.0, "still")],
)
def test_the_gait_is_told_by_the_step_and_by_what_chance_would_leave(
    path_length: float, net_displacement: float, gait: str
):
    # 16 steps at right angles leave a quarter of the path
    text = diagnose(replace(SEEN, path_length=path_length, net_displacement=net_displacement))
    assert f"0.50: {gait}\n" in text
    assert "0.25 is 16 equal steps" in text


def test_returns_are_told_apart_by_two_standard_errors():
    # halves of 20 with a sample variance of 5/19 each: a standard error of .162
    up = tuple(x + 0.33 * (i >= 20) for i, x in enumerate(LEVEL))
    hardly = tuple(x + 0.32 * (i >= 20) for i, x in enumerate(LEVEL))
    assert "(+0.33, standard error 0.16): rising" in diagnose(replace(SEEN, returns=up))
    assert "not stuck" in diagnose(replace(SEEN, returns=up))
    assert "standard error 0.16): level" in diagnose(replace(SEEN, returns=hardly))
    assert "falling" in diagnose(replace(SEEN, returns=up[::-1]))


def test_too_few_episodes_give_no_verdict():
    text = diagnose(replace(SEEN, returns=LEVEL[:15]))
    assert "15 episodes ended, too few to tell" in text
    assert "returns must tell" in text


def test_level_returns_are_not_called_stuck_without_a_question():
    assert "is the level low?" in diagnose(SEEN)


def test_what_is_suspicious_is_named_and_nothing_else_is():
    quiet = diagnose(SEEN)
    for word in ("remembers another world", "noise at full size", "it is certain"):
        assert word not in quiet
    text = diagnose(
        replace(SEEN, observation_scale=0.1, advantage_scales=(0.01, 1.0), entropy_share=0.02)
    )
    for word in ("remembers another world", "noise at full size", "it is certain"):
        assert word in text
    own_scale = replace(SEEN, advantage_scales=(0.01, 1.0), standardised=False)
    assert "noise at full size" not in diagnose(own_scale)
    assert "deviation of actions is 0.7" in diagnose(replace(SEEN, entropy_share=None, std=0.7))
    assert "steps unknown" in diagnose(replace(SEEN, step_cosine=math.nan))
