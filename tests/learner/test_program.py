from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr.learner.config import configure, rates
from gtr.learner.program import CAPACITY, Program
from gtr.learner.randomness import key_words
from gtr.methods import method
from gtr.networks.architectures import MLP
from tests.learner.devices import python_on_devices
from tests.learner.problems import TINY, problem_of, small_suite

PROGRAM = """
import sys
from dataclasses import replace
import gtr, jax
from gtr.learner.config import configure
from gtr.learner.run import train
from gtr.methods import method
from gtr.networks.architectures import GRU, MLP
from tests.learner.problems import TINY, digest, small_suite
cure = {} if sys.argv[3] == "none" else {"regulariser": sys.argv[3], "regularisation": 1e2}
networks = {"mlp": MLP((8,)), "gru": GRU(8, MLP((8,)))}
config = replace(configure(TINY, **cure), network=networks[sys.argv[4]])
run = train(small_suite(config=config), method(sys.argv[1]), seeds=int(sys.argv[2]))
print(len(jax.devices()), digest(run.state))
"""


def program(name, seeds, config=TINY):
    suite = small_suite(config=config)
    numbers = jax.tree.map(
        lambda x: np.full(seeds, x, np.float32), (method(name), rates(suite.config))
    )
    return Program(problem_of(suite), *numbers, np.arange(seeds))


@pytest.mark.parametrize(
    ("name", "seeds", "regulariser", "network"),
    # The copies of the environment, and actor and critic, are shared out where devices are left.
    [
        ("ppo", 1, "none", "mlp"),
        ("gtr", 1, "none", "mlp"),
        ("ppo-ewma", 1, "none", "mlp"),
        ("ppo-kl", 2, "none", "mlp"),
        ("gtr", 3, "none", "mlp"),
        ("ppo", 4, "none", "mlp"),
        ("ppo", 1, "c-chain", "mlp"),
        pytest.param("gtr", 1, "none", "gru", marks=pytest.mark.slow),
    ],
)
def test_results_do_not_depend_on_the_number_of_devices(name, seeds, regulariser, network):
    seen = {}
    for devices in (1, 2, 4):
        told = python_on_devices(devices, PROGRAM, name, str(seeds), regulariser, network)
        count, seen[devices] = told.split()
        assert int(count) == devices
    assert len(set(seen.values())) == 1


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_program_decomposes_matrices_in_batches(seeds):
    """jaxlib spreads a batch over XLA's workers and blocks the one that asks: with two workers, two
    such calls wait for each other for good. A single matrix is done where it is asked for."""
    trainer = program("gtr", seeds)
    words = trainer.place(np.zeros((seeds, 64, 2, 2), np.uint32))
    given = (trainer.place(trainer.begin(0)), *trainer._inputs, words)
    text = trainer._advance.lower(given, jnp.int32(0), jnp.int32(1)).as_text()
    calls = [line for line in text.splitlines() if "lapack" in line]
    assert calls, "the effective rank has always been there"
    assert all('num_batch_dims = "0"' in line for line in calls)


def test_no_loop_is_shared_among_threads_where_each_core_is_a_device():
    large = configure(TINY, environments=16, rollout_length=64)
    own = program("gtr", 1, replace(large, network=MLP((256,))))
    words = np.zeros((1, CAPACITY, *key_words(0, range(1)).shape[1:]), np.uint32)
    runs = (own.place(own.begin(0)), *own._inputs, own.place(words))
    compiled = own._advance.lower(runs, jnp.int32(0), jnp.int32(1)).compile().as_text()
    # what XLA writes beside a loop that it has cut in parts
    assert '"outer_dimension_partitions":["' not in compiled
