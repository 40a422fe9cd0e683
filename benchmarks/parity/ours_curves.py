"""Learning curves of this project's PPO, as `gtr.train` measures them."""

from cases import COLUMNS, parse
from settings import GYMNAX_NAMES

import gtr
from gtr.environments.gymnax_adapter import Gymnax
from gtr.networks.architectures import MLP
from gtr.suites import Suite


def main() -> None:
    case = parse(__doc__)
    settings = case.settings
    suite = Suite(
        name=f"{case.environment}-parity",
        size="cpu",
        domain="parity",
        description="A stationary environment at the settings of settings.json.",
        source="gymnax",
        make=lambda: Gymnax(GYMNAX_NAMES[case.environment]),
        phases=1,
        phase_budget=case.steps,
        seeds=case.seeds,
        config=gtr.LearnerConfig(
            environments=settings.environments,
            rollout_length=settings.rollout_length,
            epochs=settings.epochs,
            minibatches=settings.minibatches,
            learning_rate=settings.learning_rate,
            discount=settings.discount,
            gae_lambda=settings.gae_lambda,
            entropy=settings.entropy,
            max_grad_norm=settings.max_grad_norm,
            network=MLP(settings.hidden, settings.activation),
        ),
        changing=False,
    )
    run = gtr.train(suite, gtr.method("ppo", clip=settings.clip), seeds=case.seeds)
    run.metrics[COLUMNS].to_csv(case.output, index=False)


if __name__ == "__main__":
    main()
