"""Watches how a policy of Stable-Baselines3 moves, and says whether it is stuck."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from gtr.errors import GTRError
from gtr.integrations.diagnosis import Stretch, diagnose
from gtr.integrations.movement import Answers, Gaussians, Path, answers, entropy_share


class MovementCallback(BaseCallback):
    """Measures a policy's way on probe observations, for `PPO` and all that collects rollouts.

    With each rollout it logs `movement/step_distance` and `movement/step_cosine`, and after every
    `window` updates `movement/path_length`, `movement/net_displacement` and
    `movement/directional_efficiency` of the way since the window began. A window has its own probe
    observations, from its first rollout, so they are such as the policy meets.

    It draws no random numbers and changes no weights: training goes on as it would without it.

    Args:
        window: number of updates.
        probes: number of observations; all of the rollout's where it has fewer.
        verbose: 1 prints the diagnosis when training ends.

    Raises:
        GTRError: window or probes is not a whole number, 1 or more; or, when training begins, the
            algorithm collects no rollouts.
    """

    def __init__(self, window: int = 10, probes: int = 64, verbose: int = 1) -> None:
        super().__init__(verbose)
        for name, number in (("window", window), ("probes", probes)):
            if not isinstance(number, int) or number < 1:
                raise GTRError(f"{name} is {number!r}; it must be a whole number, 1 or more")
        self.window, self.probes = window, probes
        self.stretches: list[Stretch] = []
        self._watched: OnPolicyAlgorithm | None = None
        self._open: _Window | None = None

    def diagnosis(self) -> str:
        """Whether the policy is stuck, in words and numbers.

        Of the last window that was closed, or of what there is of the first.
        """
        if self.stretches:
            return diagnose(self.stretches[-1])
        if self._open is not None and self._open.path.steps:
            return diagnose(self._open.stretch())
        return "Is it stuck? No update was seen yet."

    def _on_training_start(self) -> None:
        algorithm = self.model
        if not isinstance(algorithm, OnPolicyAlgorithm):
            raise GTRError(
                f"MovementCallback looks at rollouts, which {type(algorithm).__name__} has not: "
                "use it with PPO, A2C, GTR or their like"
            )
        if algorithm is not self._watched:
            self._watched, self._open, self.stretches = algorithm, None, []
        self._returns: list[float] = []

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        self._returns += [float(info["episode"]["r"]) for info in infos if "episode" in info]
        return True

    def _on_rollout_end(self) -> None:
        assert self._watched is not None
        self._follow()
        if self._open is None:
            self._open = _Window(self._watched, self.probes)
        self._open.add_rollout(self._returns)
        self._returns = []

    def _on_training_end(self) -> None:
        self._follow()
        if self.verbose:
            print(self.diagnosis())

    def _follow(self) -> None:
        """One step of the path, if the policy was updated; a window that is full is closed."""
        window = self._open
        if window is None or not window.follow():
            return
        measures = window.path.measures()
        full = len(window.path.steps) == self.window
        for name, number in measures.items():
            if full or name in ("step_distance", "step_cosine"):
                self.logger.record(f"movement/{name}", number)
        if full:
            self.stretches.append(window.stretch())
            self._open = None


@dataclass
class _Window:
    """A path on the probe observations of the rollout at hand, and what happens meanwhile."""

    algorithm: OnPolicyAlgorithm
    probes: int
    timesteps: int = 0
    returns: list[float] = field(default_factory=list)
    advantage_scales: list[float] = field(default_factory=list)
    observation_scale: float | None = None

    def __post_init__(self) -> None:
        self._asked = _probes(self.algorithm, self.probes)
        self.path = Path(self._answers())
        self._updates = self.algorithm._n_updates

    def follow(self) -> bool:
        """Adds the present policy to the path; False where there was no update."""
        if self.algorithm._n_updates == self._updates:
            return False
        self._updates = self.algorithm._n_updates
        self.path.add(self._answers())
        return True

    def add_rollout(self, returns: list[float]) -> None:
        """The buffer's, whose episodes had these returns, before it is trained on."""
        buffer = self.algorithm.rollout_buffer
        self.timesteps += buffer.buffer_size * buffer.n_envs
        self.returns += returns
        self.advantage_scales.append(math.sqrt(np.mean(np.square(buffer.advantages))))
        normaliser = self.algorithm.get_vec_normalize_env()
        normalised = normaliser is not None and normaliser.norm_obs
        if normalised and isinstance(buffer.observations, np.ndarray):
            self.observation_scale = float(np.median(buffer.observations.std(axis=(0, 1))))

    def stretch(self) -> Stretch:
        """All of it, for the diagnosis."""
        path, now = self.path, self.path.now
        measures = path.measures()
        cosines = [cosine for cosine in path.cosines if not math.isnan(cosine)]
        return Stretch(
            updates=len(path.steps),
            timesteps=self.timesteps,
            path_length=measures["path_length"],
            net_displacement=measures["net_displacement"],
            step_cosine=float(np.mean(cosines)) if cosines else math.nan,
            returns=tuple(self.returns),
            observation_scale=self.observation_scale,
            advantage_scales=(min(self.advantage_scales), max(self.advantage_scales)),
            standardised=getattr(self.algorithm, "normalize_advantage", False),
            entropy_share=entropy_share(now),
            std=float(np.mean(now.std)) if isinstance(now, Gaussians) else None,
        )

    def _answers(self) -> Answers:
        policy = self.algorithm.policy
        training = policy.training
        policy.set_training_mode(False)
        with torch.no_grad():
            said: Any = policy.get_distribution(**self._asked)
        policy.set_training_mode(training)
        said = said[0] if isinstance(said, tuple) else said  # a memory comes with it
        several = getattr(said, "distributions", None)
        return answers(said.distribution if several is None else several)


def _probes(algorithm: OnPolicyAlgorithm, number: int) -> dict[str, Any]:
    """What `get_distribution` takes, for observations spread evenly over the rollout at hand.

    Masks and memories of sb3-contrib's policies are those that were recorded there.
    """
    buffer = algorithm.rollout_buffer
    size = buffer.buffer_size * buffer.n_envs
    rows = np.linspace(0, size - 1, min(number, size)).astype(int)
    step, copy = np.divmod(rows, buffer.n_envs)

    def tensor(recorded: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(recorded, device=algorithm.device)

    seen: Any = buffer.observations
    if isinstance(seen, dict):
        asked: dict[str, Any] = {"obs": {k: tensor(x[step, copy]) for k, x in seen.items()}}
    else:
        asked = {"obs": tensor(seen[step, copy])}
    if (masks := getattr(buffer, "action_masks", None)) is not None:
        asked["action_masks"] = tensor(masks[step, copy])
    if (hidden := getattr(buffer, "hidden_states_pi", None)) is not None:
        memories = (hidden, getattr(buffer, "cell_states_pi"))  # noqa: B009
        asked["lstm_states"] = tuple(
            tensor(np.ascontiguousarray(x[step, :, copy].swapaxes(0, 1))) for x in memories
        )
        asked["episode_starts"] = tensor(buffer.episode_starts[step, copy])
    return asked
