"""MuJoCo's physics in JAX: MJX, on the bodies of Gymnasium."""

import contextlib
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Float

from gtr.errors import GTRError


class PhysicsState(NamedTuple):
    """All that the future of a simulation depends on; float32.

    Attributes:
        qpos: positions; metres, radians, unit quaternions.
        qvel: velocities; metres or radians a second.
        qacc_warmstart: accelerations from which the solver sets out.
    """

    qpos: Float[Array, " nq"]
    qvel: Float[Array, " nv"]
    qacc_warmstart: Float[Array, " nv"]


class Advanced(NamedTuple):
    """Where a simulation has come to.

    As in MuJoCo, places and forces are those at the last evaluation of the dynamics, just before
    the final state.

    Attributes:
        state: the state.
        xpos: places of the bodies, metres.
        cfrc_ext: torque and force of the contacts on each body about the robot's centre of mass;
            newton metres, newtons.
    """

    state: PhysicsState
    xpos: Float[Array, "nbody 3"]
    cfrc_ext: Float[Array, "nbody 6"]


@dataclass(frozen=True)
class Physics:
    """A body of Gymnasium's, simulated by MJX (Google DeepMind, mujoco-mjx).

    Solver, integrator and time step are those of the file. A vectorised call runs the copies side
    by side on an accelerator. On a CPU they follow one another: that is faster there, as each stops
    solving when it is done, and jaxlib hangs on batches of decompositions (docs/decisions.md).

    Attributes:
        xml: the file's name in Gymnasium, as in "ant.xml".
        frame_skip: time steps that one action is held for.
        dt: seconds that these take.
        qpos0: positions at rest, (nq,).
        velocities: how many there are.
        friction: each geom's coefficient of sliding friction, (ngeom,).

    Raises:
        GTRError: MJX or Gymnasium is not installed.
    """

    xml: str
    frame_skip: int
    dt: float = field(init=False, compare=False, repr=False)
    qpos0: Float[Array, " nq"] = field(init=False, compare=False, repr=False)
    velocities: int = field(init=False, compare=False, repr=False)
    friction: Float[Array, " ngeom"] = field(init=False, compare=False, repr=False)
    _model: Any = field(init=False, compare=False, repr=False)
    _data: Any = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        mujoco, mjx = _packages(self.xml)
        # Found, not imported: nothing of Gymnasium but the file is needed.
        gymnasium = find_spec("gymnasium")
        if gymnasium is None or gymnasium.origin is None:
            raise _missing(self.xml)
        path = Path(gymnasium.origin).parent / "envs" / "mujoco" / "assets" / self.xml
        model = mujoco.MjModel.from_xml_path(str(path))
        assign = object.__setattr__
        assign(self, "dt", self.frame_skip * float(model.opt.timestep))
        assign(self, "qpos0", jnp.asarray(model.qpos0, jnp.float32))
        assign(self, "velocities", int(model.nv))
        assign(self, "friction", jnp.asarray(model.geom_friction[:, 0], jnp.float32))
        # MJX has other engines, which it prefers where they are installed and asked for.
        assign(self, "_model", mjx.put_model(model, impl="jax"))
        assign(self, "_data", mjx.make_data(model, impl="jax"))

    def advance(
        self, state: PhysicsState, control: Float[Array, " nu"], friction: Float[Array, " ngeom"]
    ) -> Advanced:
        """Holds one action for `frame_skip` time steps.

        Args:
            state: where the simulation stands.
            control: of each motor; MuJoCo clips it to the motor's range.
            friction: each geom's coefficient of sliding friction. It is put into the model.
        """
        simulate = self._simulate
        if jax.default_backend() == "cpu":
            simulate = sequential_vmap(simulate)
        # Tensor cores round matrix products to 10 bits unless told not to.
        with jax.default_matmul_precision("highest"):
            return simulate(state, control, friction)

    def _simulate(self, state: PhysicsState, control: Array, friction: Array) -> Advanced:
        _, mjx = _packages(self.xml)
        own = self._model.geom_friction
        model = self._model.replace(geom_friction=own.at[:, 0].set(friction))
        data = self._data.replace(ctrl=control, **state._asdict())
        data, _ = jax.lax.scan(
            lambda data, _: (mjx.step(model, data), None), data, length=self.frame_skip
        )
        data = mjx.rne_postconstraint(model, data)
        after = PhysicsState(data.qpos, data.qvel, data.qacc_warmstart)
        return Advanced(after, data.xpos, data._impl.cfrc_ext)


def _packages(xml: str) -> tuple[Any, Any]:
    try:
        import mujoco

        # It prints that engines which we do not use are not installed.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            from mujoco import mjx
    except ImportError as error:
        raise _missing(xml) from error
    return mujoco, mjx


def _missing(xml: str) -> GTRError:
    return GTRError(f"{xml} in JAX needs MJX and Gymnasium: pip install 'gtr-rl[mjx]'")
