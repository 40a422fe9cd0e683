"""The worker for Stable-Baselines3 (`--trainer sb3`) and SBX (`--trainer sbx`), one run at a time.

Both step Gymnasium's environments, written in Python, in one process (`DummyVecEnv`); a repeat goes
on with the same policy, because building one belongs to no step.
"""

import importlib
from collections.abc import Callable

import gymnasium
from minatar.gym import register_envs
from protocol import argument_parser, serve
from settings import PPOSettings
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import DummyVecEnv

LIBRARIES = {
    "sb3": ("stable_baselines3", ["stable-baselines3", "torch", "gymnasium", "minatar"]),
    "sbx": ("sbx", ["sbx-rl", "stable-baselines3", "jax", "flax", "gymnasium", "minatar"]),
}
# The time limits and action sets are gymnax's.
ENVIRONMENTS: dict[str, Callable[[], gymnasium.Env]] = {
    "cartpole": lambda: gymnasium.make("CartPole-v1"),
    "breakout": lambda: gymnasium.make("MinAtar/Breakout-v1", max_episode_steps=1000),
}


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--trainer", required=True, choices=sorted(LIBRARIES))
    arguments = parser.parse_args()
    if arguments.seeds != 1:
        parser.error("these trainers train one seed at a time")
    register_envs()
    settings = PPOSettings()
    module, packages = LIBRARIES[arguments.trainer]
    hidden = list(settings.hidden)
    model = importlib.import_module(module).PPO(
        "MlpPolicy",
        make_vec_env(
            ENVIRONMENTS[arguments.environment],
            n_envs=settings.environments,
            seed=0,
            vec_env_cls=DummyVecEnv,
        ),
        learning_rate=settings.learning_rate,
        n_steps=settings.rollout_length,
        batch_size=settings.batch // settings.minibatches,
        n_epochs=settings.epochs,
        gamma=settings.discount,
        gae_lambda=settings.gae_lambda,
        clip_range=settings.clip,
        ent_coef=settings.entropy,
        vf_coef=settings.value_coefficient,
        max_grad_norm=settings.max_grad_norm,
        # The activation is tanh in both libraries unless another is asked for.
        policy_kwargs={"net_arch": {"pi": hidden, "vf": hidden}},
        seed=0,
        device="cpu",
    )
    serve(
        arguments,
        arguments.trainer,
        packages,
        lambda: model.learn(arguments.steps, reset_num_timesteps=False),
    )


if __name__ == "__main__":
    main()
