"""A run of Stable-Baselines3's PPO, with its own wrappers and its default network of the kind."""

import time
from typing import Any

import ale_py
import gymnasium
import numpy as np
from settings import Case, parse
from stable_baselines3 import PPO
from stable_baselines3.common.atari_wrappers import (
    ClipRewardEnv,
    MaxAndSkipEnv,
    NoopResetEnv,
    WarpFrame,
)
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecFrameStack,
    VecNormalize,
)


class Curve(BaseCallback):
    """Collects the returns of the episodes that ended in each rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, int, float | None]] = []
        self._returns: list[float] = []

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        self._returns += [info["episode"]["r"] for info in infos if "episode" in info]
        return True

    def _on_rollout_end(self) -> None:
        mean = float(np.mean(self._returns)) if self._returns else None
        self.rows.append((self.num_timesteps, len(self._returns), mean))
        self._returns = []


def halfcheetah() -> gymnasium.Env:
    return Monitor(gymnasium.make("HalfCheetah-v5"))


def breakout() -> gymnasium.Env:
    """As the project's own: sticky actions, a lost life ends nothing, nobody fires at the start."""
    gymnasium.register_envs(ale_py)
    env = gymnasium.make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=0.25)
    env = Monitor(MaxAndSkipEnv(NoopResetEnv(env, 30), 4))
    return ClipRewardEnv(WarpFrame(env))


def environments(case: Case) -> VecEnv:
    """Copies as SB3's users make them: for games in processes, which is faster there."""
    settings = case.settings
    if case.environment == "breakout":
        copies = SubprocVecEnv([breakout] * settings.environments)
        copies.seed(case.seed)
        return VecFrameStack(copies, 4)
    copies = DummyVecEnv([halfcheetah] * settings.environments)
    copies.seed(case.seed)
    return VecNormalize(copies)


def main() -> None:
    case = parse(__doc__)
    settings = case.settings
    env = environments(case)
    pixels = case.environment == "breakout"
    curve = Curve()
    began = time.perf_counter()
    model = PPO(
        "CnnPolicy" if pixels else "MlpPolicy",
        env,
        learning_rate=settings.learning_rate,
        n_steps=settings.rollout_length,
        batch_size=settings.batch // settings.minibatches,
        n_epochs=settings.epochs,
        clip_range=settings.clip,
        ent_coef=settings.entropy,
        policy_kwargs={"share_features_extractor": False} if pixels else None,
        seed=case.seed,
        device="cpu",
    )
    model.learn(case.steps, callback=curve)
    seconds = time.perf_counter() - began
    env.close()
    case.report(
        seconds, curve.rows, ["stable-baselines3", "torch", "gymnasium", "mujoco", "ale-py"]
    )


if __name__ == "__main__":
    main()
