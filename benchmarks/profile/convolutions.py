"""What the pixel networks' gradients are worth on a CPU, beside XLA's own, in turns.

    python benchmarks/profile/convolutions.py       # prints the table that README.md has

Each call makes the gradients of two minibatches of 256 screens in a scan, as an update does.
"""

import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from choices import compare
from jax import lax

from gtr.networks import layers
from gtr.networks.architectures import Architecture, NatureCNN, ResNet
from gtr.networks.network import build

SCREEN, MINIBATCH, STEPS = (84, 84, 4), 256, 2


def xla_convolution(x: Any, weight: Any, stride: int, padding: int) -> Any:
    return lax.conv_general_dilated(
        x,
        weight,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def xla_max_pool(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")


def gradients(architecture: Architecture, screens: Any) -> Callable[[], Any]:
    """A compiled call; what the module `layers` has while it is compiled is what it uses."""
    network = build(np.random.default_rng(0), architecture, SCREEN, 6, head_scale=1.0)
    parameters, rest = eqx.partition(network, eqx.is_array)

    def loss(parameters: Any, screens: Any) -> Any:
        return (eqx.combine(parameters, rest)(screens) ** 2).mean()

    def update(parameters: Any, screens: Any) -> Any:
        def step(parameters: Any, minibatch: Any) -> tuple[Any, None]:
            slope = jax.grad(loss)(parameters, minibatch)
            return jax.tree.map(lambda p, g: p - 1e-4 * g, parameters, slope), None

        return lax.scan(step, parameters, screens)[0]

    parameters = jax.device_put(parameters)
    compiled = jax.jit(update).lower(parameters, screens).compile()
    return lambda: compiled(parameters, screens)


def main() -> None:
    jax.config.update("jax_enable_compilation_cache", False)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (STEPS, MINIBATCH, *SCREEN)).astype(np.uint8)
    screens = jax.device_put(pixels)
    narrow = NatureCNN((8, 16, 16), (64,))
    rows = [
        ("NatureCNN, convolutions: XLA's / `convolve`", NatureCNN(), {"convolve": xla_convolution}),
        (
            "8-16-16 NatureCNN, convolutions: XLA's / `convolve`",
            narrow,
            {"convolve": xla_convolution},
        ),
        ("ResNet, convolutions: XLA's / `convolve`", ResNet(), {"convolve": xla_convolution}),
        ("ResNet, pools: `reduce_window` / `max_pool`", ResNet(), {"max_pool": xla_max_pool}),
    ]
    print("| what: ordinary / ours | ordinary, ms | ours, ms | ratio |")
    print("|---|---|---|---|")
    for name, architecture, ordinary in rows:
        with patch.multiple(layers, **ordinary):
            theirs = gradients(architecture, screens)
        first, second, ratio = compare(theirs, gradients(architecture, screens), 1)
        print(f"| {name} | {first:.0f} | {second:.0f} | {ratio:.2f} |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
