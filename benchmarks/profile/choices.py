"""What the trainer's unusual choices are worth: each against the ordinary way, in turns.

    python benchmarks/profile/choices.py            # prints the table and writes README.md's

A row's two ways do the same work on the same data; they are timed alternately, so that the noise of
a shared machine hits both alike, and the ratio is the median over rounds.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np

import gtr
from gtr.learner import layout
from gtr.learner.config import rates
from gtr.learner.program import CAPACITY, Program
from gtr.learner.state import Problem
from gtr.learner.update import shuffles
from gtr.networks.architectures import MLP
from gtr.networks.layers import affine
from gtr.runtime import cpu_cores

ROUNDS = 15
CARTPOLE, BREAKOUT = "cartpole-offset-stationary", "minatar-permute-stationary"
MARKERS = "<!-- measured -->", "<!-- /measured -->"


def seconds(call: Callable[[], Any], repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        result = call()
    jax.block_until_ready(result)
    return (time.perf_counter() - began) / repeats


def compare(
    ordinary: Callable[[], Any], ours: Callable[[], Any], repeats: int
) -> tuple[float, ...]:
    """Median milliseconds of both, and the median ratio ordinary / ours."""
    for call in (ordinary, ours):
        jax.block_until_ready(call())
        jax.block_until_ready(call())
    pairs = [(seconds(ordinary, repeats), seconds(ours, repeats)) for _ in range(ROUNDS)]
    ratio = statistics.median(a / b for a, b in pairs)
    first, second = (1e3 * statistics.median(side) for side in zip(*pairs, strict=True))
    return first, second, ratio


def weight_gradient(rows: int, inputs: int, outputs: int) -> tuple[float, ...]:
    keys = jax.random.split(jax.random.key(0), 3)
    x, w = jax.random.normal(keys[0], (rows, inputs)), jax.random.normal(keys[1], (inputs, outputs))
    dy, b = jax.random.normal(keys[2], (rows, outputs)), jnp.zeros(outputs)
    plain = jax.jit(lambda x, w, dy: jax.vjp(lambda w: x @ w + b, w)[1](dy))
    own = jax.jit(lambda x, w, dy: jax.vjp(lambda w: affine(x, w, b), w)[1](dy))
    return compare(lambda: plain(x, w, dy), lambda: own(x, w, dy), 100)


def shuffle() -> tuple[float, ...]:
    key = jax.random.key(0)
    plain = jax.jit(
        lambda key: jax.vmap(lambda k: jax.random.permutation(k, 2048))(jax.random.split(key, 4))
    )
    own = jax.jit(lambda key: shuffles(jax.random.bits(key, (4, 2048))))
    return compare(lambda: plain(key), lambda: own(key), 100)


def trainer(runs: int, environment: str = CARTPOLE, **options: Any) -> tuple[Program, Any, Any]:
    """A program that has not been compiled yet, a first state, and the runs' numbers."""
    suite = gtr.suite(environment)
    config = replace(suite.config, network=MLP(), environments=16, rollout_length=128)
    problem = Problem(suite.environment, False, 10**6, 10**6, config)
    numbers = jax.tree.map(
        lambda x: np.full(runs, x, np.float32), (gtr.method("ppo"), rates(config))
    )
    program = Program(problem, *numbers, np.arange(runs), **options)
    return program, program.place(program.begin(0)), numbers


def many_seeds(runs: int) -> tuple[float, ...]:
    program, state, (method, settings) = trainer(runs)
    words = np.random.default_rng(0).integers(2**32, size=(runs, CAPACITY, 2, 2), dtype=np.uint32)
    vectorised = jax.jit(
        lambda state: jax.vmap(lambda *run: program._chunk(run, jnp.int32(1), jnp.int32(4)))(
            state, method, settings, words
        )
    )
    one_device = jax.device_put(jax.tree.map(np.asarray, state), jax.devices()[0])
    return compare(lambda: vectorised(one_device), lambda: program.advance(state, 1, 4), 1)


def two_cores(environment: str) -> tuple[float, ...]:
    alone, first, _ = trainer(1, environment, devices=jax.devices()[:1])
    shared, second, _ = trainer(1, environment)
    return compare(lambda: alone.advance(first, 1, 8), lambda: shared.advance(second, 1, 8), 1)


def thread_pool(environment: str) -> tuple[float, ...]:
    """With more XLA workers than cores, and with as many: that is settled when JAX starts."""
    command = [sys.executable, __file__, "--time", environment]
    times: dict[str | None, list[float]] = {"8": [], None: []}
    for _ in range(3):
        for workers, measured in times.items():
            variables = {k: v for k, v in os.environ.items() if k != "NPROC"}
            variables |= {"NPROC": workers} if workers else {}
            done = subprocess.run(
                command, env=variables, capture_output=True, text=True, check=True
            )
            measured.append(float(done.stdout))
    ratio = statistics.median(a / b for a, b in zip(*times.values(), strict=True))
    first, second = (statistics.median(measured) for measured in times.values())
    return first, second, ratio


def usual_level(environment: str, runs: int) -> Program:
    """A program that LLVM works on as much as it does if it is not told."""
    with patch.dict(layout._CPU_OPTIONS, xla_backend_optimization_level=3):
        return trainer(runs, environment)[0]


def compilation(environment: str) -> tuple[float, ...]:
    """A program's first iteration, tracing and compilation in it."""

    def first(program: Program) -> float:
        state = program.place(program.begin(0))
        return 1e3 * seconds(lambda: program.advance(state, 1, 1), 1)

    pairs = [
        (first(usual_level(environment, 1)), first(trainer(1, environment)[0])) for _ in range(5)
    ]
    ratio = statistics.median(a / b for a, b in pairs)
    return *(statistics.median(side) for side in zip(*pairs, strict=True)), ratio


def optimised(environment: str) -> tuple[float, ...]:
    usual = usual_level(environment, 1)
    own, state, _ = trainer(1, environment)
    return compare(lambda: usual.advance(state, 1, 8), lambda: own.advance(state, 1, 8), 1)


def time_of(environment: str) -> float:
    """Milliseconds of 8 iterations of one seed."""
    program, state, _ = trainer(1, environment)
    for _ in range(2):
        program.advance(state, 1, 8)
    return 1e3 * statistics.median(
        seconds(lambda: program.advance(state, 1, 8), 1) for _ in range(ROUNDS)
    )


def main() -> None:
    jax.config.update("jax_enable_compilation_cache", False)
    if sys.argv[1:2] == ["--time"]:
        print(time_of(sys.argv[2]))
        return
    table = [
        ("weight gradient 512 x 64 x 64: autodiff / `affine`", *weight_gradient(512, 64, 64)),
        ("weight gradient 512 x 400 x 64: autodiff / `affine`", *weight_gradient(512, 400, 64)),
        ("4 shuffles of 2,048: `jax.random.permutation` / `shuffles`", *shuffle()),
        ("4 iterations of 8 seeds: vectorised / one a core", *many_seeds(8)),
        ("8 iterations of a seed, CartPole: one core / two", *two_cores(CARTPOLE)),
        ("8 iterations of a seed, Breakout: one core / two", *two_cores(BREAKOUT)),
        ("8 iterations of a seed, Breakout: `NPROC=8` / not set", *thread_pool(BREAKOUT)),
        ("8 iterations of a seed, CartPole: LLVM's usual level / its first", *optimised(CARTPOLE)),
        ("8 iterations of a seed, Breakout: LLVM's usual level / its first", *optimised(BREAKOUT)),
        ("first iteration, CartPole: LLVM's usual level / its first", *compilation(CARTPOLE)),
        ("first iteration, Breakout: LLVM's usual level / its first", *compilation(BREAKOUT)),
    ]
    lines = [
        f"{platform.system()} {platform.machine()}, {cpu_cores()} cores; Python "
        f"{platform.python_version()}, jax {version('jax')}; medians over {ROUNDS} rounds in turns "
        "(of `NPROC`: over 3, of first iterations: over 5).",
        "",
        "| what: ordinary / ours | ordinary, ms | ours, ms | ratio |",
        "|---|---|---|---|",
        *(f"| {name} | {a:.3g} | {b:.3g} | {ratio:.2f} |" for name, a, b, ratio in table),
    ]
    print("\n".join(lines))
    readme = Path(__file__).with_name("README.md")
    text = readme.read_text()
    before, after = text.split(MARKERS[0])[0], text.split(MARKERS[1])[1]
    body = "\n".join(lines)
    readme.write_text(f"{before}{MARKERS[0]}\n{body}\n{MARKERS[1]}{after}")


if __name__ == "__main__":
    main()
