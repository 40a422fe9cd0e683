"""What `gtr.runtime` sets before JAX starts, and the hang on small machines that it is against."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TELL = """
import os, jax, {module}
from gtr.runtime import cpu_cores
print(cpu_cores(), len(jax.devices("cpu")))
print(jax.config.jax_compilation_cache_dir)
"""
OURS = ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES", "JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME")


def python(code, **environment):
    """Runs code where nothing but `environment` is set of what the runtime looks at."""
    clean = {name: value for name, value in os.environ.items() if name not in OURS}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def tell(module="gtr.learner.run", **environment):
    return python(TELL.format(module=module), **environment)


@pytest.mark.parametrize("module", ["gtr.learner.run", "gtr.methods"])
def test_a_device_a_core_and_a_cache(module, tmp_path):
    cores, devices, cache = tell(module, XDG_CACHE_HOME=str(tmp_path))
    assert devices == cores
    assert Path(cache) == tmp_path / "gtr-rl" / "jax"


def test_what_the_user_set_is_left_alone(tmp_path):
    _, devices, cache = tell(
        XLA_FLAGS="--xla_force_host_platform_device_count=3",
        JAX_COMPILATION_CACHE_DIR=str(tmp_path),
    )
    assert (devices, Path(cache)) == ("3", tmp_path)
    assert tell(JAX_NUM_CPU_DEVICES="4")[1] == "4"


def test_after_jax_has_started_nothing_is_forced_and_nothing_is_said(tmp_path):
    code = """
import jax
before = len(jax.devices())
import gtr.learner.run
print(before, len(jax.devices()), jax.config.jax_compilation_cache_dir)
"""
    assert python(code, XDG_CACHE_HOME=str(tmp_path)) == ["1", "1", "None"]


def test_importing_the_mathematics_starts_no_jax():
    code = "import sys, gtr, gtr.objective; print('jax' in sys.modules)"
    assert python(code) == ["False"]


@pytest.mark.parametrize("times", [1, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seeds", ["1", "3"])
def test_a_training_of_nested_loops_does_not_hang(times, seeds, tmp_path):
    """On two cores, trainers that vectorise JAX's orthogonal initialisation do so in half their
    runs. One seed is shared by two devices, which wait for each other."""
    for number in range(times):
        directory = str(tmp_path / str(number))
        subprocess.run(
            [sys.executable, "-m", "tests.learner.short_training", directory, "20", seeds],
            check=True,
            capture_output=True,
            cwd=ROOT,
            timeout=180,
        )
