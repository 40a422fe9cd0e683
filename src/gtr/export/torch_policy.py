"""A trained policy as a PyTorch module, for robots and other places without JAX."""

import math

import torch
from torch import Tensor, nn

from gtr.environments.protocol import Discrete
from gtr.export.plan import Plan
from gtr.export.torch_layers import ACTIVATIONS, torso
from gtr.export.torch_transformer import TransformerCore
from gtr.networks.architectures import GRU, LSTM, Recurrent, Transformer


class TorchPolicy(nn.Module):
    """From raw observations to the most likely action, and to what others could be drawn from.

    Attributes:
        plan: what it is.
        inputs: names of what `forward` takes, in order.
        outputs: of what it gives back.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, plan: Plan) -> None:
        """Builds the module; its weights are to be loaded.

        Args:
            plan: what to build.
        """
        super().__init__()
        self.plan = plan
        network, shape = plan.network, plan.observation_shape
        body = network.body if isinstance(network, Recurrent) else network
        action = plan.action
        outputs = action.n if isinstance(action, Discrete) else math.prod(action.shape)
        if plan.normalised:
            self.register_buffer("mean", torch.empty(shape))
            self.register_buffer("deviation", torch.empty(shape))
        as_bytes = plan.observation_dtype == "uint8" and not plan.normalised
        self.torso = torso(body, shape, bytes_=as_bytes)
        self._activate = ACTIVATIONS[body.activation]
        width = self.torso(torch.zeros(1, *shape)).shape[1]
        hidden, norms = [], []
        for following in body.widths:
            hidden.append(nn.Linear(width, following))
            norms.append(nn.LayerNorm(following) if body.layer_norm else nn.Identity())
            width = following
        self.hidden, self.norms = nn.ModuleList(hidden), nn.ModuleList(norms)
        memory: tuple[str, ...] = ()
        match network:
            case GRU():
                self.core, memory = nn.GRUCell(width, network.width), ("hidden",)
            case LSTM():
                self.core, memory = nn.LSTMCell(width, network.width), ("hidden", "cell")
            case Transformer():
                self.core, memory = TransformerCore(network, width), ("inputs", "filled")
        if isinstance(network, Recurrent):
            width = network.width
        self.head = nn.Linear(width, outputs)
        free = 0 if isinstance(action, Discrete) else outputs
        self.free = nn.Parameter(torch.empty(free))
        self.inputs = ("observation", *memory)
        self.outputs = ("action", "parameters", *(f"next_{name}" for name in memory))

    def blank(self, copies: int) -> tuple[Tensor, ...]:
        """Zeros of the shapes and types that `forward` takes: the memory of fresh episodes."""
        dtype = getattr(torch, self.plan.observation_dtype)
        observation = torch.zeros(copies, *self.plan.observation_shape, dtype=dtype)
        match self.plan.network:
            case GRU(width=width):
                return observation, torch.zeros(copies, width)
            case LSTM(width=width):
                return observation, torch.zeros(copies, width), torch.zeros(copies, width)
            case Transformer() as network:
                window = torch.zeros(copies, network.layers, network.window, network.width)
                return observation, window, torch.zeros(copies, dtype=torch.int32)
            case _:
                return (observation,)

    def forward(self, observation: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """Acts.

        Args:
            observation: (n, ...), as the environment gives it.
            *memory: what the step before gave back, of a policy with one; zeros where an episode
                begins.

        Returns:
            Actions (n, ...) as the environment takes them; parameters of their distribution (n, p),
            which are logits, or means and then log standard deviations before squashing; and the
            memory after the step.
        """
        x = observation.float()
        if self.plan.normalised:
            x = ((x - self.mean) / self.deviation).clamp(-10.0, 10.0)
        x = self.torso(x)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = self._activate(norm(layer(x)))
        after: tuple[Tensor, ...] = ()
        match self.plan.network:
            case GRU():
                x = self.core(x, memory[0])
                after = (x,)
            case LSTM():
                x, cell = self.core(x, (memory[0], memory[1]))
                after = (x, cell)
            case Transformer():
                x, inputs, filled = self.core(x, *memory)
                after = (inputs, filled)
        outputs = self.head(x)
        parameters = torch.cat([outputs, self.free.expand(outputs.shape[0], -1)], -1)
        return self._action(outputs), parameters, *after

    def _action(self, outputs: Tensor) -> Tensor:
        action = self.plan.action
        if isinstance(action, Discrete):
            return outputs.argmax(-1)
        low, high = action.low, action.high
        if self.plan.squashed:
            outputs = low + (high - low) / 2 * (torch.tanh(outputs) + 1)
        return outputs.clamp(low, high).reshape(-1, *action.shape)
