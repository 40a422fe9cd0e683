"""The Ant by MJX beside Gymnasium's: how far a step differs, and steps a second of one copy.

Each step of ours begins at the host's state, with the host's action. Random actions; episodes begin
anew where they end.
"""

import time

import gymnasium
import jax
import numpy as np

from gtr.environments.mjx_ant import AntState, SlipperyAnt
from gtr.environments.mjx_physics import PhysicsState
from gtr.environments.mujoco_variations import Slippery

STEPS = 200
# Height at which an episode begins (None: Gymnasium's own), and friction.
CASES = {
    "in the air": (1e3, 1.0),
    "friction 2": (None, 2.0),
    "friction 1": (None, 1.0),
    "friction 0.05": (None, 0.05),
}


def begin(host, height: float | None, seed: int) -> None:
    host.reset(seed=seed)
    if height is not None:
        qpos = host.data.qpos.copy()
        qpos[2] = height
        host.set_state(qpos, host.data.qvel.copy())


def as_ours(host) -> AntState:
    data = host.data
    physics = PhysicsState(*map(np.float32, (data.qpos, data.qvel, data.qacc_warmstart)))
    return AntState(physics, np.float32(data.xpos[1, 0]), np.int32(0))


def main() -> None:
    ant = SlipperyAnt()
    key = jax.random.key(0)
    step = jax.jit(lambda state, action, world: ant.step(key, state, action, world))
    host = gymnasium.make("Ant-v5").unwrapped
    began = time.perf_counter()
    begin(host, None, 0)
    step(as_ours(host), np.zeros(8, np.float32), np.ones(14, np.float32)).reward.block_until_ready()
    print(f"compiled in {time.perf_counter() - began:.0f} s")
    spent = {"ours": 0.0, "host": 0.0}
    for name, (height, friction) in CASES.items():
        rng = np.random.default_rng(0)
        Slippery().enter(host, friction)
        world = np.full(14, friction, np.float32)
        begin(host, height, 0)
        seen = []
        for number in range(STEPS):
            action = rng.uniform(-1, 1, 8).astype(np.float32)
            state = as_ours(host)
            start = time.perf_counter()
            ours = jax.block_until_ready(step(state, action, world))
            middle = time.perf_counter()
            observation, reward, *_ = host.step(action)
            spent["host"] += time.perf_counter() - middle
            spent["ours"] += middle - start
            apart = np.abs(ours.observation - observation)
            # Height does not count in the air, where it is a thousand metres in float32.
            seen.append((apart[1:13].max(), apart[13:27].max(), abs(float(ours.reward) - reward)))
            if height is None and not host.is_healthy:
                begin(host, height, number)
        middles = np.median(seen, axis=0)
        most = np.quantile(seen, 0.9, axis=0)
        largest = np.max(seen, axis=0)
        cells = [
            f"{a:.0e}, {b:.0e}, {c:.0e}" for a, b, c in zip(middles, most, largest, strict=True)
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    rates = {who: STEPS * len(CASES) / seconds for who, seconds in spent.items()}
    print(f"one copy: ours {rates['ours']:.0f}, host {rates['host']:.0f} steps/s")


if __name__ == "__main__":
    main()
