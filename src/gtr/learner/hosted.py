"""Runs whose environments are outside JAX: the host collects their batches, the devices learn.

`HostProgram` has the methods of `program.Program` and makes the same update.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt32

from gtr.environments.host import HostEnvironment, SimulatorFault, Simulators
from gtr.errors import GTRError
from gtr.learner.anchors import Policy, places
from gtr.learner.appraisal import judge
from gtr.learner.config import Rates
from gtr.learner.host_rollout import Acted, Collector
from gtr.learner.iteration import Remembered, learn
from gtr.learner.layout import Layout
from gtr.learner.parallel import split
from gtr.learner.randomness import draw, key_words, keys_of
from gtr.learner.rollout import Batch, Finished
from gtr.learner.state import Memories, Problem, RunState, begin_all
from gtr.networks.cores import Memory
from gtr.objective import Method


class HostProgram:
    """A problem outside JAX, for a number of runs.

    The simulators are held here and not in the states, so `advance` and `fetch` take the newest
    state alone, or one that `place` has just placed.

    Args:
        problem: what is static; its environment is a `HostEnvironment`.
        method: with each number an array over runs, (runs,).
        rates: likewise.
        seeds: (runs,).
        devices: where to learn; all that JAX sees, if not given.
        devices_per_run: how many of them share a run; chosen, if not given.
    """

    def __init__(
        self,
        problem: Problem,
        method: Method,
        rates: Rates,
        seeds: np.ndarray,
        devices: Sequence[Any] | None = None,
        devices_per_run: int | None = None,
    ) -> None:
        assert isinstance(problem.environment, HostEnvironment)
        self.problem = problem
        self.runs = len(seeds)
        self._environment = problem.environment
        self._seeds = [int(seed) for seed in seeds]
        self._given = (method, rates)
        self._layout = Layout(self.runs, problem.config, devices, devices_per_run)
        self._inputs = self._layout.place(self._given)
        self._draw = self._layout.over_runs(self._draw_once)
        self._act = jax.jit(self._act_once)
        self._learn = self._layout.over_runs(self._learn_once)
        self._simulators: list[Simulators] = []
        self._to_restore: np.ndarray | None = None

    def begin(self, phase: int) -> RunState:
        """The state of all runs before a phase, everything fresh, as host arrays."""
        return begin_all(self.problem, *self._given, np.array(self._seeds), phase)

    def place(self, state: RunState) -> RunState:
        """Host arrays as `advance` takes them; the episodes stay on the host."""
        self._to_restore = state.episodes.state
        if not self._environment.saved_bytes:
            # The episodes cannot go on, so nothing is to be remembered of them.
            state = replace(state, memories=jax.tree.map(np.zeros_like, state.memories))
        return self._apart(state, self._layout.place)

    def fetch(self, state: RunState) -> RunState:
        """The newest state as host arrays with a leading axis of runs."""
        fetched = self._apart(state, self._layout.fetch)
        if not self._simulators:
            return fetched
        saved = np.stack([simulators.save() for simulators in self._simulators])
        return replace(fetched, episodes=fetched.episodes._replace(state=saved))

    def close(self) -> None:
        """Ends the simulators."""
        for simulators in self._simulators:
            simulators.close()
        self._simulators = []

    def advance(
        self, state: RunState, start: int, count: int
    ) -> tuple[RunState, dict[str, np.ndarray]]:
        """Iterations `start` to `start + count`.

        Returns:
            The next state, and each measure as (runs, count).

        Raises:
            GTRError: a simulator failed; it says which and where.
        """
        rows = []
        for iteration in range(start, start + count):
            state, measures = self._iterate(state, iteration)
            rows.append(measures)
        rows = self._layout.fetch(rows)
        return state, {name: np.stack([row[name] for row in rows], 1) for name in rows[0]}

    def _iterate(self, state: RunState, iteration: int) -> tuple[RunState, dict[str, Array]]:
        words = np.stack([key_words(seed, range(iteration, iteration + 1)) for seed in self._seeds])
        words = words[:, 0]
        uniform, order_bits = self._draw(self._layout.place(words))
        collectors = self._collectors(state, words, self._layout.fetch(uniform), iteration)
        for step in range(self.problem.config.rollout_length):
            for run, collector in enumerate(collectors):
                with self._named(run, iteration, step):
                    collector.act(step)
            for run, collector in enumerate(collectors):
                with self._named(run, iteration, step):
                    collector.finish(step)
        collected = [(collector.remembered, *collector.collected()) for collector in collectors]
        actors, episodes, batch, finished = jax.tree.map(
            lambda *leaves: np.stack(leaves), *collected
        )
        learnt, measures = self._learn(
            (
                replace(state, episodes=None),
                *self._inputs,
                *self._layout.place(
                    (batch, episodes.observation, finished, (actors, episodes.memory))
                ),
                order_bits,
            ),
            iteration,
        )
        return replace(learnt, episodes=episodes), measures

    def _collectors(
        self, state: RunState, words: UInt32[np.ndarray, "r 2 2"], uniform: Any, iteration: int
    ) -> list[Collector]:
        """A collector a run, its episodes under way."""
        config = self.problem.config
        phase, into = divmod(iteration, self.problem.phase_iterations)
        worlds = [self.problem.world(seed, phase) for seed in self._seeds]
        if not self._simulators:
            self._simulators = [self._environment.open(config.environments) for _ in self._seeds]
        anew = into == 0
        saved, self._to_restore = self._to_restore, None
        if saved is not None and not anew:
            anew = not self._restored(saved, worlds, iteration)
        trained = self._layout.fetch((state.trained.actor, state.moments))
        collectors = []
        for run, simulators in enumerate(self._simulators):
            actor, moments = jax.tree.map(lambda x, run=run: x[run], trained)
            seeds = np.random.default_rng(words[run, 1]).integers(
                2**32, size=(config.rollout_length + 1, config.environments), dtype=np.uint32
            )
            collector = Collector(
                self._environment,
                simulators,
                jax.device_put(Policy(actor, moments)),
                self._act,
                jax.tree.map(lambda x, run=run: x[run], state.episodes),
                uniform[run],
                seeds,
                worlds[run],
            )
            if anew:
                with self._named(run, iteration, 0):
                    collector.begin()
            collectors.append(collector)
        return collectors

    def _restored(self, saved: np.ndarray, worlds: list[Any], iteration: int) -> bool:
        """Puts the simulators where a checkpoint had them; False where that cannot be."""
        if not self._environment.saved_bytes:
            print(
                f"{self._environment.name} cannot save its state: episodes that were under way at "
                f"iteration {iteration} begin anew, and the run is not that of one without a cut",
                flush=True,
            )
            return False
        for run, simulators in enumerate(self._simulators):
            with self._named(run, iteration, 0):
                simulators.restore(saved[run], worlds[run])
        return True

    @contextmanager
    def _named(self, run: int, iteration: int, step: int) -> Iterator[None]:
        """Has a simulator's fault say where it was met."""
        try:
            yield
        except SimulatorFault as fault:
            raise GTRError(
                f"{self._environment.name}: copy {fault.copy} {fault.what} at iteration "
                f"{iteration}, step {step} of its rollout (environment step "
                f"{iteration * self.problem.batch:,}), seed {self._seeds[run]}; the last good "
                "checkpoint is kept: mend the environment, then run the same command again"
            ) from fault

    def _apart(self, state: RunState, move: Callable[[Any], Any]) -> RunState:
        """`state` moved, but for its episodes."""
        return replace(move(replace(state, episodes=None)), episodes=state.episodes)

    def _draw_once(self, words: UInt32[Array, "2 2"]) -> tuple[Array, Array]:
        random = draw(keys_of(words).iteration, self.problem)
        return random.uniform, random.order

    def _act_once(
        self, policy: Policy, memory: Memory, observation: Array, uniform: Array
    ) -> Acted:
        distribution = self.problem.distribution
        memory, parameters = policy.step(memory, observation)
        action = distribution.sample(parameters, distribution.noise(uniform))
        return Acted(action, distribution.to_environment(action), parameters, memory)

    def _learn_once(
        self,
        run: tuple[RunState, Method, Rates, Batch, Array, Finished, tuple[Memory, Memory], Array],
        iteration: Int[Array, ""],
    ) -> tuple[RunState, dict[str, Array]]:
        state, method, rates, batch, last, finished, actors, order_bits = run
        devices = self._layout.of_a_run
        memories = state.memories.at_start(iteration % self.problem.phase_iterations == 0)
        judged, *after = split(
            devices,
            partial(judge, method, state, iteration),
            in_dims=(0, 1, 1, 0, 0),
            out_dims=(1, 0, 1),
        )(*memories, batch, last, jnp.asarray(places(self.problem.config.environments)))
        return learn(
            self.problem,
            method,
            rates,
            state,
            batch,
            judged,
            Remembered(actors[0], memories.critic, actors[1], Memories(*after)),
            finished,
            order_bits,
            iteration,
            devices,
        )
