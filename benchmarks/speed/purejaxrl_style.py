"""PPO in one file, in the manner of PureJaxRL: the whole run is one jitted function.

Written for this benchmark after the published algorithm; it does the work that PureJaxRL's `ppo.py`
does (one gradient for actor and critic, clipped values, advantages normalised by minibatch, a
reverse scan for the advantages, episodes' returns logged in the loop). Two things differ: it reads
gymnax 1.0, whose steps tell termination from truncation, and it sums the episodes' returns within
each iteration, where the original keeps a record of every step of the whole run in memory.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from settings import GYMNAX_NAMES, PPOSettings

Parameters = dict[str, Any]


class Network(nn.Module):
    """A perceptron: the actor (outputs are logits) or the critic (one output)."""

    outputs: int
    output_gain: float
    settings: PPOSettings

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Outputs for one observation or a batch of them."""
        features = observation
        for width in self.settings.hidden:
            features = nn.Dense(width, kernel_init=self._initialiser(np.sqrt(2)))(features)
            features = getattr(nn, self.settings.activation)(features)
        return nn.Dense(self.outputs, kernel_init=self._initialiser(self.output_gain))(features)

    def _initialiser(self, gain: float) -> nn.initializers.Initializer:
        if self.settings.orthogonal:
            return nn.initializers.orthogonal(gain)
        return nn.initializers.lecun_normal()


class Samples(NamedTuple):
    """What is kept of each step of a rollout."""

    observation: jax.Array
    action: jax.Array
    log_probability: jax.Array
    value: jax.Array
    reward: jax.Array
    done: jax.Array


class Batch(NamedTuple):
    """What the losses need."""

    observation: jax.Array
    action: jax.Array
    log_probability: jax.Array
    value: jax.Array
    advantage: jax.Array
    target: jax.Array


class Returns(NamedTuple):
    """Sum of the undiscounted returns of the episodes that ended, and how many they were."""

    total: jax.Array
    episodes: jax.Array


def make_train(
    environment: str, settings: PPOSettings, steps: int
) -> Callable[[jax.Array], tuple[Parameters, Returns]]:
    """Build the training function of one seed.

    Args:
        environment: a key of `GYMNAX_NAMES`.
        settings: PPO's settings.
        steps: environment steps, rounded down to whole iterations.

    Returns:
        A function from a key to the trained parameters and each iteration's `Returns`.
    """
    env, env_parameters = gymnax.make(GYMNAX_NAMES[environment])
    actor = Network(env.action_space(env_parameters).n, 0.01, settings)
    critic = Network(1, 1.0, settings)
    optimiser = optax.chain(
        _gradient_limit(settings), optax.adam(settings.learning_rate, eps=settings.adam_eps)
    )

    def values(parameters: Parameters, observation: jax.Array) -> jax.Array:
        return critic.apply(parameters["critic"], observation)[..., 0]

    def act(parameters: Parameters, carry: tuple, key: jax.Array) -> tuple[tuple, tuple]:
        env_state, observation, running = carry
        key_action, key_step = jax.random.split(key)
        logits = jax.nn.log_softmax(actor.apply(parameters["actor"], observation))
        action = jax.random.categorical(key_action, logits)
        value = values(parameters, observation)

        step_keys = jax.random.split(key_step, settings.environments)
        successor, env_state, reward, terminated, truncated, info = jax.vmap(
            env.step, in_axes=(0, 0, 0, None)
        )(step_keys, env_state, action, env_parameters)
        done = terminated | truncated

        running = running + reward
        ended = Returns(jnp.sum(running * done), jnp.sum(done))
        if settings.truncation == "bootstrap":
            # An environment may reach its goal in the very step that its time runs out.
            cut = truncated & ~terminated
            last_value = values(parameters, _flatten(info["final_observation"]))
            reward = reward + settings.discount * last_value * cut
        samples = Samples(
            observation, action, _pick(logits, action), value, reward, done.astype(jnp.float32)
        )
        return (env_state, _flatten(successor), running * (1 - done)), (samples, ended)

    def advantages(samples: Samples, last_value: jax.Array) -> jax.Array:
        def backwards(carry: tuple[jax.Array, jax.Array], sample: Samples) -> tuple:
            advantage, next_value = carry
            keep = settings.discount * (1 - sample.done)
            error = sample.reward + keep * next_value - sample.value
            advantage = error + keep * settings.gae_lambda * advantage
            return (advantage, sample.value), advantage

        start = (jnp.zeros_like(last_value), last_value)
        return jax.lax.scan(backwards, start, samples, reverse=True, unroll=16)[1]

    def loss(parameters: Parameters, batch: Batch) -> jax.Array:
        logits = jax.nn.log_softmax(actor.apply(parameters["actor"], batch.observation))
        entropy = -jnp.sum(jnp.exp(logits) * logits, axis=-1).mean()
        ratio = jnp.exp(_pick(logits, batch.action) - batch.log_probability)
        advantage = (batch.advantage - batch.advantage.mean()) / (batch.advantage.std() + 1e-8)
        clipped = jnp.clip(ratio, 1 - settings.clip, 1 + settings.clip)
        surrogate = jnp.minimum(ratio * advantage, clipped * advantage).mean()

        value = values(parameters, batch.observation)
        error = jnp.square(value - batch.target)
        if settings.value_clip is not None:
            near = batch.value + jnp.clip(
                value - batch.value, -settings.value_clip, settings.value_clip
            )
            error = jnp.maximum(error, jnp.square(near - batch.target))
        value_loss = settings.value_coefficient * 0.5 * error.mean()
        return value_loss - surrogate - settings.entropy * entropy

    def descend(carry: tuple, batch: Batch) -> tuple[tuple, jax.Array]:
        parameters, moments = carry
        size, gradient = jax.value_and_grad(loss)(parameters, batch)
        change, moments = optimiser.update(gradient, moments)
        return (optax.apply_updates(parameters, change), moments), size

    def epoch(batch: Batch, carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        order = jax.random.permutation(key, settings.batch)
        minibatches = jax.tree.map(
            lambda x: x[order].reshape(settings.minibatches, -1, *x.shape[1:]), batch
        )
        return jax.lax.scan(descend, carry, minibatches)

    def iteration(carry: tuple, key: jax.Array) -> tuple[tuple, Returns]:
        parameters, moments, world = carry
        key_rollout, key_update = jax.random.split(key)
        world, (samples, ended) = jax.lax.scan(
            partial(act, parameters), world, jax.random.split(key_rollout, settings.rollout_length)
        )
        advantage = advantages(samples, values(parameters, world[1]))
        batch = jax.tree.map(
            lambda x: x.reshape(settings.batch, *x.shape[2:]),
            Batch(
                *samples[: Batch._fields.index("advantage")], advantage, advantage + samples.value
            ),
        )
        (parameters, moments), _ = jax.lax.scan(
            partial(epoch, batch),
            (parameters, moments),
            jax.random.split(key_update, settings.epochs),
        )
        return (parameters, moments, world), jax.tree.map(jnp.sum, ended)

    def train(key: jax.Array) -> tuple[Parameters, Returns]:
        key_actor, key_critic, key_reset, key_run = jax.random.split(key, 4)
        observation, env_state = jax.vmap(env.reset, in_axes=(0, None))(
            jax.random.split(key_reset, settings.environments), env_parameters
        )
        observation = _flatten(observation)
        parameters = {
            "actor": actor.init(key_actor, observation),
            "critic": critic.init(key_critic, observation),
        }
        world = (env_state, observation, jnp.zeros(settings.environments))
        (parameters, _, _), returns = jax.lax.scan(
            iteration,
            (parameters, optimiser.init(parameters), world),
            jax.random.split(key_run, steps // settings.batch),
        )
        return parameters, returns

    return train


def _flatten(observation: jax.Array) -> jax.Array:
    return observation.reshape(observation.shape[0], -1)


def _pick(logits: jax.Array, action: jax.Array) -> jax.Array:
    return jnp.take_along_axis(logits, action[..., None], axis=-1)[..., 0]


def _gradient_limit(settings: PPOSettings) -> optax.GradientTransformation:
    if settings.gradient_limit == "elementwise":
        return optax.clip(settings.max_grad_norm)
    limit = optax.clip_by_global_norm(settings.max_grad_norm)
    if settings.gradient_limit == "joint":
        return limit
    return optax.partition(
        {"actor": limit, "critic": limit}, {"actor": "actor", "critic": "critic"}
    )


def main() -> None:
    from protocol import argument_parser, serve

    arguments = argument_parser(__doc__).parse_args()
    # Vectorised, the orthogonal initialisation's QR decompositions block all of XLA's workers on a
    # machine with two cores, each waiting for work that none is left to do.
    settings = PPOSettings(orthogonal=arguments.seeds == 1)
    train = make_train(arguments.environment, settings, arguments.steps)
    run = jax.jit(train if arguments.seeds == 1 else jax.vmap(train))
    key = jax.random.key(0)
    keys = key if arguments.seeds == 1 else jax.random.split(key, arguments.seeds)
    serve(
        arguments,
        "purejaxrl-style",
        ["jax", "flax", "optax", "gymnax"],
        lambda: jax.block_until_ready(run(keys)),
    )


if __name__ == "__main__":
    main()
