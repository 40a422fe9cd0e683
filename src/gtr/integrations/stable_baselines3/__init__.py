"""GTR for users of Stable-Baselines3: a drop-in for `PPO`, and a callback on movement."""

from gtr.errors import GTRError

try:
    import stable_baselines3  # noqa: F401
except ImportError as error:
    raise GTRError(
        "stable-baselines3 is not installed: pip install 'gtr-rl[stable-baselines3]'"
    ) from error

from gtr.integrations.stable_baselines3.gtr import GTR
from gtr.integrations.stable_baselines3.movement_callback import MovementCallback

__all__ = ["GTR", "MovementCallback"]
