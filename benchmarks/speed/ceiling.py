"""The environment alone: gymnax under vmap and scan with random actions and no learning.

No trainer on the same version of gymnax can be faster than this. It runs under gymnax 0.0.9 and
1.0, whose steps return five and six values.
"""

import gymnax
import jax
import jax.numpy as jnp
from protocol import argument_parser, serve
from settings import GYMNAX_NAMES, PPOSettings


def main() -> None:
    arguments = argument_parser(__doc__).parse_args()
    env, parameters = gymnax.make(GYMNAX_NAMES[arguments.environment])
    copies = PPOSettings().environments * arguments.seeds
    actions = env.action_space(parameters).n

    def step(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        state, seen = carry
        key_action, key_step = jax.random.split(key)
        action = jax.random.randint(key_action, (copies,), 0, actions)
        observation, state, reward, *_ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            jax.random.split(key_step, copies), state, action, parameters
        )
        # Without a use of the observation the compiler would drop the work of making it.
        return (state, seen + jnp.sum(observation)), jnp.sum(reward)

    @jax.jit
    def run(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_reset, key_run = jax.random.split(key)
        _, state = jax.vmap(env.reset, in_axes=(0, None))(
            jax.random.split(key_reset, copies), parameters
        )
        keys = jax.random.split(key_run, arguments.steps // PPOSettings().environments)
        (_, seen), rewards = jax.lax.scan(step, (state, jnp.float32(0)), keys)
        return seen, jnp.sum(rewards)

    key = jax.random.PRNGKey(0)
    serve(
        arguments,
        "environment only",
        ["jax", "gymnax"],
        lambda: jax.block_until_ready(run(key)),
    )


if __name__ == "__main__":
    main()
