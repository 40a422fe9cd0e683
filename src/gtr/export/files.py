"""The kinds of files that a policy is written as."""

import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from safetensors import SafetensorError, safe_open
from safetensors import torch as safetensors
from torch import Tensor

from gtr.errors import GTRError
from gtr.export.plan import Plan, from_text
from gtr.export.torch_policy import TorchPolicy
from gtr.export.weights import weights
from gtr.files import write_whole
from gtr.learner.anchors import Policy
from gtr.learner.state import Problem, episode_shapes

# The only entry of a safetensors file's header, and of an ONNX model's properties.
_FORMAT = "gtr-policy-1"
# Any number of copies but one, since PyTorch takes a 1 for a constant.
_COPIES = 2


def save(policy: Policy, problem: Problem, path: Path | str) -> None:
    """Writes a policy.

    Args:
        policy: of one run, without a leading axis.
        problem: what it was trained on (`gtr.learner.run.problem_of` a suite).
        path: ends in `.onnx` for an ONNX model; in `.pt2` for what `torch.export.load` reads; or in
            `.safetensors` for weights, which `load` makes a module of.

    Raises:
        GTRError: the name ends otherwise, or the file cannot be written.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix)
    if writer is None:
        raise GTRError(f"{path} ends in none of {', '.join(_WRITERS)}: rename it")
    write_whole(path, writer(torch_policy(policy, problem)))


def torch_policy(policy: Policy, problem: Problem) -> TorchPolicy:
    """The same policy in PyTorch.

    Args:
        policy: of one run, without a leading axis.
        problem: what it was trained on.
    """
    environment, config = problem.environment, problem.config
    plan = Plan(
        network=config.network,
        observation_shape=tuple(environment.observation_shape),
        observation_dtype=np.dtype(episode_shapes(problem)[1].dtype).name,
        normalised=config.normalise_observations,
        action=environment.action_space,
        squashed=config.squash_actions,
    )
    # arrays of JAX cannot be written to, and a module's own can
    state = {name: torch.tensor(array) for name, array in weights(policy).items()}
    return _loaded(plan, state)


def load(path: Path | str) -> TorchPolicy:
    """The module whose weights `save` wrote to a safetensors file.

    Raises:
        GTRError: there is no such file, or it holds something else.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = (file.metadata() or {}).get(_FORMAT)
        if about is None:
            raise GTRError(f"{path} holds no policy that gtr exported")
        return _loaded(from_text(about), safetensors.load_file(path))
    except (SafetensorError, OSError) as error:
        raise GTRError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


def _loaded(plan: Plan, state: dict[str, Tensor]) -> TorchPolicy:
    module = TorchPolicy(plan)
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


def _safetensors(module: TorchPolicy) -> bytes:
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    return safetensors.save(state, {_FORMAT: module.plan.to_json()})


def _program(module: TorchPolicy) -> bytes:
    file = io.BytesIO()
    torch.export.save(_exported(module), file)
    return file.getvalue()


def _onnx(module: TorchPolicy) -> bytes:
    # says of each operator of torchvision, at every export, that it is not installed
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # the exporter of PyTorch 2.13 calls a part of PyTorch that is to go
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        program = torch.onnx.export(
            _exported(module),
            input_names=module.inputs,
            output_names=module.outputs,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, {_FORMAT: module.plan.to_json()})
    return model.SerializeToString()


def _exported(module: TorchPolicy) -> Any:
    observation, *memory = module.blank(_COPIES)
    copies = {0: torch.export.Dim("copies")}
    shapes: tuple[Any, ...] = (copies, tuple(copies for _ in memory)) if memory else (copies,)
    return torch.export.export(module, (observation, *memory), dynamic_shapes=shapes)


_WRITERS: dict[str, Callable[[TorchPolicy], bytes]] = {
    ".onnx": _onnx,
    ".pt2": _program,
    ".safetensors": _safetensors,
}
