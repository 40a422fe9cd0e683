"""A run of this project's PPO, by `gtr.train`."""

import time

import jax
from settings import parse

import gtr
from gtr.environments.atari import Atari
from gtr.environments.gymnasium_adapter import Gymnasium
from gtr.networks.architectures import MLP, NatureCNN
from gtr.suites import Suite

ENVIRONMENTS = {
    "halfcheetah": (lambda: Gymnasium("HalfCheetah-v5"), MLP((64, 64))),
    "breakout": (lambda: Atari(("breakout",), processes=2), NatureCNN()),
}


def main() -> None:
    case = parse(__doc__)
    settings = case.settings
    # Each run compiles, as a first start does.
    jax.config.update("jax_enable_compilation_cache", False)
    make, network = ENVIRONMENTS[case.environment]
    suite = Suite(
        name=f"{case.environment}-beside-peers",
        size="cpu",
        domain="benchmark",
        description="A stationary environment at the settings of settings.py.",
        source="Gymnasium",
        make=make,
        phases=1,
        phase_budget=case.steps,
        seeds=1,
        config=gtr.LearnerConfig(
            environments=settings.environments,
            rollout_length=settings.rollout_length,
            epochs=settings.epochs,
            minibatches=settings.minibatches,
            learning_rate=settings.learning_rate,
            entropy=settings.entropy,
            normalise_observations=settings.normalise,
            normalise_rewards=settings.normalise,
            network=network,
        ),
        changing=False,
    )
    began = time.perf_counter()
    run = gtr.train(suite, gtr.method("ppo", clip=settings.clip), seeds=[case.seed])
    seconds = time.perf_counter() - began
    curve = run.metrics[["step", "episodes", "return"]].itertuples(index=False)
    case.report(seconds, curve, ["gtr-rl", "jax", "gymnasium", "mujoco", "ale-py"])


if __name__ == "__main__":
    main()
