"""What the `full` sizes ask of one accelerator's memory; nothing is trained and no GPU is needed.

    python benchmarks/memory/full.py

An iteration of all runs of a suite, vectorised as on a GPU, is compiled for shapes alone. XLA then
says what it would allocate: the state before and after, and what it holds in between, the batch
above all. It is compiled for a CPU. A GPU's compiler plans other buffers and its libraries take
workspaces of their own, so these are sizes to plan with and not measurements of a card.
"""

import argparse
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import ShapeDtypeStruct

from gtr import method, suite
from gtr.learner.config import rates
from gtr.learner.iteration import iterate
from gtr.learner.state import Problem, begin, keys_of
from gtr.suites import Suite, suites

METHOD = "gtr"
OUTSIDE_JAX = ("atari-cycle", "halfcheetah-flip", "ant-slippery", "walker-tasks")
NAMES = tuple(one.name for one in suites("full") if one.changing and one.name not in OUTSIDE_JAX)
GIB = 2**30


class Memory(NamedTuple):
    """Bytes of a number of runs: what they carry, and what an iteration takes beside it."""

    state: int
    iteration: int


def memory_of(one: Suite, runs: int) -> Memory:
    """What an iteration of all runs of a suite needs."""
    problem = Problem(
        environment=one.environment,
        changing=one.changing,
        phase_iterations=one.phase_iterations,
        iterations=one.iterations,
        config=one.config,
    )
    chosen, numbers = method(METHOD), rates(one.config)
    state = begin(problem, chosen, numbers, seed=0, phase=0)

    def advance(method, rates, words, state, iteration):
        return iterate(problem, method, rates, keys_of(words), state, iteration)

    def of_all(x):
        return ShapeDtypeStruct((runs, *np.shape(x)), jnp.asarray(x).dtype)

    given = jax.tree.map(of_all, (chosen, numbers, np.zeros((3, 2), np.uint32), state))
    vectorised = jax.vmap(advance, in_axes=(0, 0, 0, 0, None))
    compiled = jax.jit(vectorised).lower(*given, ShapeDtypeStruct((), jnp.int32)).compile()
    allocated = compiled.memory_analysis()
    return Memory(
        allocated.argument_size_in_bytes,
        allocated.output_size_in_bytes + allocated.temp_size_in_bytes,
    )


def main(names: list[str]) -> None:
    print("| suite | runs | copies of each x steps | copies in all | state, GiB | in all, GiB |")
    print("|---|---|---|---|---|---|")
    for one in map(partial(suite, size="full"), names):
        memory = memory_of(one, one.seeds)
        copies, steps = one.config.environments, one.config.rollout_length
        print(
            f"| {one.name} | {one.seeds} | {copies} x {steps} | {copies * one.seeds:,} "
            f"| {memory.state / GIB:.2f} | {sum(memory) / GIB:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", nargs="+", default=NAMES, choices=NAMES)
    main(parser.parse_args().suites)
