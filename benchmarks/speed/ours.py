"""The worker for this project's trainer: PPO, or GTR with a number of anchors.

A repeat is the program that `gtr.train` runs, from fresh networks, with its measures brought to the
host after each call; `gtr.train` itself would trace the program anew in each repeat.
"""

import jax
import numpy as np
from protocol import argument_parser, serve
from settings import GYMNAX_NAMES, PPOSettings

import gtr
from gtr.environments.gymnax_adapter import Gymnax
from gtr.learner.config import rates
from gtr.learner.program import CAPACITY, Program
from gtr.learner.state import Problem


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--method", choices=["ppo", "gtr"], default="ppo")
    parser.add_argument("--anchors", type=int, default=8, help="of gtr")
    arguments = parser.parse_args()
    # Compile times are those of a first start, as in the peers.
    jax.config.update("jax_enable_compilation_cache", False)

    settings = PPOSettings()
    config = gtr.LearnerConfig(
        environments=settings.environments,
        rollout_length=settings.rollout_length,
        epochs=settings.epochs,
        minibatches=settings.minibatches,
        learning_rate=settings.learning_rate,
        discount=settings.discount,
        gae_lambda=settings.gae_lambda,
        entropy=settings.entropy,
        max_grad_norm=settings.max_grad_norm,
    )
    numbers = {"anchors": arguments.anchors} if arguments.method == "gtr" else {}
    method = gtr.method(arguments.method, clip=settings.clip, **numbers)
    iterations = arguments.steps // settings.batch
    problem = Problem(
        environment=Gymnax(GYMNAX_NAMES[arguments.environment]),
        changing=False,
        phase_iterations=iterations,
        iterations=iterations,
        config=config,
    )
    program = Program(
        problem,
        *jax.tree.map(
            lambda leaf: np.full(arguments.seeds, leaf, np.float32), (method, rates(config))
        ),
        np.arange(arguments.seeds),
    )

    def repeat() -> None:
        state = program.place(program.begin(0))
        for start in range(0, iterations, CAPACITY):
            state, _ = program.advance(state, start, min(CAPACITY, iterations - start))
        jax.block_until_ready(state)

    name = arguments.method + (f"-{arguments.anchors}" if numbers else "")
    serve(arguments, f"ours-{name}", ["gtr-rl", "jax", "equinox", "optax", "gymnax"], repeat)


if __name__ == "__main__":
    main()
