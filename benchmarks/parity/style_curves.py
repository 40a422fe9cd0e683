"""Learning curves of the PureJaxRL-style script, at whatever settings are asked for."""

import jax
from cases import parse
from purejaxrl_style import make_train


def main() -> None:
    case = parse(__doc__)
    train = make_train(case.environment, case.settings, case.steps)
    keys = jax.random.split(jax.random.key(0), case.seeds)
    _, returns = jax.jit(jax.vmap(train))(keys)
    case.write(returns.total.tolist(), returns.episodes.tolist())


if __name__ == "__main__":
    main()
