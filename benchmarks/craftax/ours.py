"""A run of this project's PPO on Craftax-Classic, by `gtr.train`."""

import time

import jax
from settings import (
    CLIP,
    DISCOUNT,
    ENTROPY,
    ENVIRONMENT,
    EPOCHS,
    HIDDEN,
    LAMBDA,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    MINIBATCHES,
    ROLLOUT,
    parse,
)

import gtr
from gtr.environments.craftax_adapter import Craftax
from gtr.learner.run import Status
from gtr.networks.architectures import MLP
from gtr.suites import Suite


def main() -> None:
    case = parse(__doc__)
    jax.config.update("jax_enable_compilation_cache", False)
    suite = Suite(
        name="craftax-beside-peers",
        size="cpu",
        domain="benchmark",
        description="Craftax-Classic at the settings of settings.py.",
        source="Craftax",
        make=lambda: Craftax(ENVIRONMENT),
        phases=1,
        # The first iteration is that of compiling, and not counted.
        phase_budget=(case.updates + 1) * case.batch,
        seeds=1,
        config=gtr.LearnerConfig(
            environments=case.environments,
            rollout_length=ROLLOUT,
            epochs=EPOCHS,
            minibatches=MINIBATCHES,
            learning_rate=LEARNING_RATE,
            discount=DISCOUNT,
            gae_lambda=LAMBDA,
            entropy=ENTROPY,
            max_grad_norm=MAX_GRAD_NORM,
            network=MLP((case.width,) * HIDDEN),
        ),
        changing=False,
    )
    began = time.perf_counter()
    marks: list[tuple[int, float]] = []

    def note(status: Status) -> None:
        marks.append((status.done, time.perf_counter()))

    run = gtr.train(suite, gtr.method("ppo", clip=CLIP), seeds=[case.seed], progress=note)
    (first, at_first), (last, at_last) = marks[0], marks[-1]
    case.report(
        compiling=at_first - began,
        rate=(last - first) / (at_last - at_first),
        returns=run.metrics["return"].dropna().tolist(),
        packages=["gtr-rl", "jax", "craftax"],
    )


if __name__ == "__main__":
    main()
