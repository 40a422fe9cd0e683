"""The worker for rejax's PPO: its own training function, without its evaluations."""

import jax
from protocol import argument_parser, serve
from rejax import PPO
from settings import GYMNAX_NAMES, PPOSettings


def make_ppo(environment: object, settings: PPOSettings, steps: int, **options: object) -> PPO:
    """PPO of rejax at `settings`, as far as rejax has them.

    Args:
        environment: a name or an instance of gymnax's environments.
        settings: those of value clipping, initialisation, Adam's epsilon, the gradient's limit and
            truncation are rejax's own whatever is said here.
        steps: environment steps.
        **options: more of rejax's own options.
    """
    return PPO.create(
        env=environment,
        agent_kwargs={
            "activation": settings.activation,
            "hidden_layer_sizes": settings.hidden,
        },
        num_envs=settings.environments,
        num_steps=settings.rollout_length,
        num_epochs=settings.epochs,
        num_minibatches=settings.minibatches,
        learning_rate=settings.learning_rate,
        max_grad_norm=settings.max_grad_norm,
        gamma=settings.discount,
        gae_lambda=settings.gae_lambda,
        clip_eps=settings.clip,
        vf_coef=settings.value_coefficient,
        ent_coef=settings.entropy,
        total_timesteps=steps,
        skip_initial_evaluation=True,
        **options,
    )


def main() -> None:
    arguments = argument_parser(__doc__).parse_args()
    algorithm = make_ppo(
        GYMNAX_NAMES[arguments.environment],
        PPOSettings(),
        arguments.steps,
        eval_freq=arguments.steps,
    ).replace(eval_callback=lambda *_: ())
    train = algorithm.train
    run = jax.jit(train if arguments.seeds == 1 else jax.vmap(train))
    key = jax.random.PRNGKey(0)
    keys = key if arguments.seeds == 1 else jax.random.split(key, arguments.seeds)
    serve(
        arguments,
        "rejax",
        ["rejax", "jax", "flax", "optax", "gymnax"],
        lambda: jax.block_until_ready(run(keys)),
    )


if __name__ == "__main__":
    main()
