"""Steps a second of EnvPool and of our host copies, in turns, with random actions.

EnvPool is no dependency of this project: `pip install envpool==1.2.5` beside it.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gtr.environments.atari import Atari
from gtr.environments.gymnasium_adapter import Gymnasium
from gtr.environments.host import HostEnvironment
from gtr.environments.protocol import Discrete

ROUNDS, SECONDS, THREADS = 3, 3.0, 2
# As the suites have them: robots in the learner's process, games dealt to processes.
CASES: dict[str, tuple[int, Callable[[], HostEnvironment], dict[str, Any]]] = {
    "HalfCheetah-v5": (16, lambda: Gymnasium("HalfCheetah-v5"), {}),
    "Walker2d-v5": (16, lambda: Gymnasium("Walker2d-v5"), {}),
    "Ant-v5": (16, lambda: Gymnasium("Ant-v5"), {}),
    "Breakout-v5": (
        8,
        lambda: Atari(("breakout",), processes=THREADS),
        {"repeat_action_probability": 0.25},
    ),
}


def rate(step: Callable[[np.ndarray], None], actions: np.ndarray, seconds: float) -> float:
    """Steps a second of all copies together."""
    start = time.perf_counter()
    made = 0
    while (passed := time.perf_counter() - start) < seconds:
        step(actions[made % len(actions)])
        made += 1
    return made * actions.shape[1] / passed


def ours(environment: HostEnvironment, copies: int) -> Callable[[np.ndarray], None]:
    simulators = environment.open(copies)
    world = environment.world(0, 0)
    seeds = np.arange(copies, dtype=np.uint32)
    simulators.restart(np.ones(copies, bool), seeds, world)

    def step(action: np.ndarray) -> None:
        simulators.send(action)
        seen = simulators.receive()
        done = seen.terminated | seen.truncated
        if done.any():
            simulators.restart(done, seeds, world)

    return step


def theirs(name: str, copies: int, options: dict[str, Any]) -> Callable[[np.ndarray], None]:
    import envpool

    pool = envpool.make_gymnasium(name, num_envs=copies, num_threads=THREADS, **options)
    pool.reset()
    return lambda action: pool.step(action)


def main() -> None:
    rng = np.random.default_rng(0)
    for name, (copies, make, options) in CASES.items():
        environment = make()
        space = environment.action_space
        if isinstance(space, Discrete):
            actions = rng.integers(0, space.n, (512, copies)).astype(np.int32)
        else:
            actions = rng.uniform(space.low, space.high, (512, copies, *space.shape))
        steps = {"ours": ours(environment, copies), "envpool": theirs(name, copies, options)}
        for step in steps.values():
            rate(step, actions, 0.5)
        rates = []
        for _ in range(ROUNDS):
            rates.append({who: rate(step, actions, SECONDS) for who, step in steps.items()})
        ratios = [one["envpool"] / one["ours"] for one in rates]
        medians = {who: statistics.median(one[who] for one in rates) for who in steps}
        print(
            f"{name}, {copies} copies: ours {medians['ours']:,.0f}, "
            f"EnvPool {medians['envpool']:,.0f} steps/s, "
            f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
