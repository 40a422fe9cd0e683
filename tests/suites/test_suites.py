import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtr.errors import GTRError
from gtr.suites import suite, suites
from tests.environments.contract import assert_keeps_promises

KEY = jax.random.key(2)
IN_JAX = (
    "cartpole-offset",
    "acrobot-offset",
    "mountaincar-offset",
    "corner-switch",
    "minatar-permute",
    "minatar-cycle",
    "craftax-goals",
)
OUTSIDE = ("atari-cycle", "halfcheetah-flip", "ant-slippery", "walker-tasks")
NAMES = IN_JAX + OUTSIDE
both = pytest.mark.parametrize("size", ["cpu", "full"])


def equal(a, b) -> bool:
    return all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


@both
def test_listing(size):
    listed = suites(size)
    assert [one.name for one in listed if one.changing] == list(NAMES)
    assert [one.name for one in listed if not one.changing] == [f"{n}-stationary" for n in NAMES]
    assert all(one.size == size and suite(one.name, size) == one for one in listed)


def test_listing_builds_no_environment():
    code = "import sys; from gtr.suites import suites; suites();sys.exit('gymnax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "size"),
    [*((name, size) for name in IN_JAX for size in ("cpu", "full")), ("ant-slippery", "full")],
)
def test_environment_twin_and_schedule(name, size):
    changing = suite(name, size)
    twin = suite(f"{name}-stationary", size)
    assert changing.twin == twin
    assert twin.twin == twin
    assert_keeps_promises(changing.environment, changing.world)
    assert twin.environment == changing.environment
    world, still = jax.jit(changing.world), jax.jit(twin.world)
    first = world(KEY, jnp.int32(0))
    for phase in (1, 2):
        assert not equal(world(KEY, jnp.int32(phase)), first)
        assert equal(still(KEY, jnp.int32(phase)), first)


@pytest.mark.parametrize("name", OUTSIDE)
def test_environment_twin_and_schedule_outside_jax(name):
    changing = suite(name)
    twin = suite(f"{name}-stationary")
    assert changing.twin == twin
    assert twin.twin == twin
    assert twin.environment == changing.environment
    plain = changing.world(3, 0)
    for phase in (1, 2, 4):
        assert changing.world(3, phase) == changing.world(3, phase)
        assert twin.world(3, phase) == plain
    assert changing.world(3, 1) != plain
    copy = changing.environment.open(2)
    seeds = np.array([5, 5], np.uint32)
    first = copy.restart(np.ones(2, bool), seeds, changing.world(3, 1))
    assert first.shape == (2, *changing.environment.observation_shape)
    np.testing.assert_array_equal(first[0], first[1])
    copy.close()
    assert (twin.phases, twin.phase_steps, twin.config) == (
        changing.phases,
        changing.phase_steps,
        changing.config,
    )


@both
def test_budgets_are_the_written_ones_to_half_a_batch(size):
    written = {
        "cartpole-offset": ((10, 160_000), (10, 160_000)),
        "acrobot-offset": ((10, 160_000), (10, 160_000)),
        "mountaincar-offset": ((10, 160_000), (10, 160_000)),
        "corner-switch": ((8, 41_000), (8, 164_000)),
        "minatar-permute": ((6, 250_000), (6, 10_000_000)),
        "minatar-cycle": ((6, 250_000), (6, 10_000_000)),
        "craftax-goals": ((5, 100_000), (8, 25_000_000)),
        "atari-cycle": ((4, 20_000), (6, 10_000_000)),
        "ant-slippery": ((5, 100_000), (10, 20_000_000)),
    }
    for name, budgets in written.items():
        phases, budget = budgets[size == "full"]
        one = suite(name, size)
        batch = one.config.environments * one.config.rollout_length
        assert one.phases == phases
        assert one.phase_steps == one.phase_iterations * batch
        assert abs(one.phase_steps - budget) <= batch / 2
        assert (one.iterations, one.steps) == (
            phases * one.phase_iterations,
            phases * one.phase_steps,
        )
        assert batch % one.config.minibatches == 0


def test_a_batch_beyond_the_budget_still_makes_one_iteration():
    one = suite("corner-switch")
    long = replace(one, config=replace(one.config, rollout_length=100_000))
    assert long.phase_iterations == 1


def test_a_rollout_runs_and_is_a_function_of_its_keys():
    one = suite("cartpole-offset")
    env = one.environment

    @jax.jit
    def rollout(key, phase):
        world = one.world(key, phase)
        state, observation = env.reset(key, world)

        def advance(carry, key):
            state, _ = carry
            step = env.step(key, state, jnp.int32(0), world)
            return (step.state, step.observation), (step.observation, step.reward)

        return jax.lax.scan(advance, (state, observation), jax.random.split(key, 8))[1]

    runs = [rollout(KEY, jnp.int32(phase)) for phase in (1, 1, 2)]
    assert equal(runs[0], runs[1])
    assert not equal(runs[0], runs[2])


def test_mistakes_are_told_in_one_line_with_what_is_close():
    with pytest.raises(GTRError, match="there is cartpole-offset, ") as caught:
        suite("cartpole-ofset")
    assert "\n" not in str(caught.value)
    with pytest.raises(GTRError, match="there is cartpole-offset, acrobot-offset, "):
        suite("zzz")
    with pytest.raises(GTRError, match="there is cpu, full"):
        suite("corner-switch", "huge")
