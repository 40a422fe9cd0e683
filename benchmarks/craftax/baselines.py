"""A run of Craftax_Baselines' PPO (its ppo.py), compiled and called as its `run_ppo` does."""

import math
import sys
import time

import jax
from settings import (
    CLIP,
    DISCOUNT,
    ENTROPY,
    ENVIRONMENT,
    EPOCHS,
    LAMBDA,
    LEARNING_RATE,
    MAX_GRAD_NORM,
    MINIBATCHES,
    ROLLOUT,
    parse,
)


def main() -> None:
    case = parse(__doc__)
    sys.path.insert(0, str(case.baselines))
    import ppo  # pyright: ignore[reportMissingImports]

    returns: list[float] = []

    def note(update: int, log: dict, config: dict) -> None:
        """Stands where the log goes to Weights and Biases."""
        if not math.isnan(log["episode_return"]):
            returns.append(float(log["episode_return"]))

    ppo.batch_log = note
    config = {
        "ENV_NAME": ENVIRONMENT,
        "NUM_ENVS": case.environments,
        "TOTAL_TIMESTEPS": case.updates * case.batch,
        "LR": LEARNING_RATE,
        "NUM_STEPS": ROLLOUT,
        "UPDATE_EPOCHS": EPOCHS,
        "NUM_MINIBATCHES": MINIBATCHES,
        "GAMMA": DISCOUNT,
        "GAE_LAMBDA": LAMBDA,
        "CLIP_EPS": CLIP,
        "ENT_COEF": ENTROPY,
        "VF_COEF": 0.5,
        "MAX_GRAD_NORM": MAX_GRAD_NORM,
        "ANNEAL_LR": False,
        "DEBUG": True,
        "USE_WANDB": True,
        "LAYER_SIZE": case.width,
        "USE_OPTIMISTIC_RESETS": True,
        "OPTIMISTIC_RESET_RATIO": 16,
        "TRAIN_ICM": False,
        "USE_E3B": False,
        "NUM_REPEATS": 1,
    }
    keys = jax.random.split(jax.random.PRNGKey(case.seed), 1)
    began = time.perf_counter()
    train = jax.jit(jax.vmap(jax.jit(ppo.make_train(config)))).lower(keys).compile()
    compiled = time.perf_counter()
    jax.block_until_ready(train(keys))
    seconds = time.perf_counter() - compiled
    jax.effects_barrier()
    case.report(
        compiling=compiled - began,
        rate=config["TOTAL_TIMESTEPS"] / seconds,
        returns=returns,
        packages=["jax", "craftax", "flax", "distrax"],
    )


if __name__ == "__main__":
    main()
