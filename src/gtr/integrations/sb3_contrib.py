"""GTR for users of sb3-contrib: `MaskablePPO` and `RecurrentPPO` with GTR's policy loss."""

from typing import Any

import numpy as np
from torch import Tensor

from gtr.errors import GTRError

try:
    from sb3_contrib import MaskablePPO, RecurrentPPO
except ImportError as error:
    raise GTRError(
        "sb3-contrib is not installed: pip install 'gtr-rl[stable-baselines3]'"
    ) from error

from gtr.integrations.stable_baselines3.trust_region import TrustRegion


class MaskableGTR(TrustRegion, MaskablePPO):
    """`sb3_contrib.MaskablePPO` with a Gaussian trust region; its numbers are `TrustRegion`'s.

    An anchor is asked under the mask that the behaviour policy had.
    """

    def _evaluate(self, samples: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        return self.policy.evaluate_actions(
            samples.observations, self._actions(samples), action_masks=samples.action_masks
        )


class RecurrentGTR(TrustRegion, RecurrentPPO):
    """`sb3_contrib.RecurrentPPO` with a Gaussian trust region; its numbers are `TrustRegion`'s.

    An anchor is asked about single steps, with the memory that the behaviour policy had there: what
    it would do if it remembered what that policy remembers. It keeps no memory of its own.
    """

    def _samples(self, rows: np.ndarray) -> Any:
        # Every row begins a sequence, so each is read from its own recorded memory.
        buffer: Any = self.rollout_buffer
        begins = np.ones((buffer.buffer_size * self.n_envs, 1), np.float32)
        return buffer._get_samples(rows, begins)

    def _evaluate(self, samples: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        policy: Any = self.policy
        return policy.evaluate_actions(
            samples.observations,
            self._actions(samples),
            samples.lstm_states,
            samples.episode_starts,
        )
