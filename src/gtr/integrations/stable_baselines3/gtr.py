"""`GTR`, which is Stable-Baselines3's `PPO` with GTR's policy loss."""

from stable_baselines3 import PPO

from gtr.integrations.stable_baselines3.trust_region import TrustRegion


class GTR(TrustRegion, PPO):
    """`stable_baselines3.PPO` with a Gaussian trust region; its numbers are `TrustRegion`'s.

    Everything that `PPO` takes and does is as it was: policies, action spaces, schedules,
    callbacks, `save` and `load`. With a stiffness of 0 it is `PPO`, to the bit.
    """
