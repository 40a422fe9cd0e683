"""GTR for TorchRL: `GTRLoss` in the place of `ClipPPOLoss`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gtr.errors import GTRError
from gtr.integrations.minibatch import diagnose, policy_loss
from gtr.integrations.recent_policies import RecentPolicies
from gtr.objective import Recent, batch_stiffness, defaults, gaussian_trust_region

try:
    from tensordict import TensorDictBase, is_tensor_collection
    from tensordict.nn import ProbabilisticTensorDictSequential, TensorDictModule, dispatch
    from tensordict.utils import NestedKey
    from torchrl.objectives import ClipPPOLoss
except ImportError as error:
    raise GTRError("TorchRL is not installed: pip install 'gtr-rl[torchrl]'") from error

# Not clip_fraction: TorchRL reports its own, of a clip range that may be scheduled.
_MEASURES = (
    "kl",
    "ratio_max",
    "kernel_mean",
    "redescended_fraction",
    "redescended_advantage",
    "escape_advantage",
    "anchor_spread",
    "stiffness",
)


class GTRLoss(ClipPPOLoss):
    """PPO's clipped loss, held near the recent policies by the Gaussian trust region.

    `loss_objective` is `ClipPPOLoss`'s plus the penalty; everything else is as it was. The loss is
    told of each batch once, before the batch's first epoch:

        for data in collector:
            advantage_module(data)
            loss_module.collected(data)

    That writes the entry `anchor_log_prob`, so the batch can be cut, shuffled and kept in a replay
    buffer. Until the first call, networks may be loaded, moved and initialised.

    The output also has `gtr/` and the names of `gtr.objective.diagnostics`: scalars without
    gradient.
    """

    @dataclass
    class _AcceptedKeys(ClipPPOLoss._AcceptedKeys):
        """Those of `ClipPPOLoss`, and where `collected` writes what the anchors say, in nats."""

        anchor_log_prob: NestedKey = "anchor_log_prob"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        actor_network: ProbabilisticTensorDictSequential | None = None,
        critic_network: TensorDictModule | None = None,
        *,
        stiffness: float = defaults.STIFFNESS,
        radius: float = defaults.RADIUS,
        anchors: int = defaults.COUNT,
        every: int = defaults.EVERY,
        decay: float = defaults.DECAY,
        **options: Any,
    ) -> None:
        """Builds the loss.

        Args:
            actor_network: as `ClipPPOLoss` takes it.
            critic_network: as `ClipPPOLoss` takes it.
            stiffness: of the penalty, in units of the batch's root mean square advantage.
            radius: the log-ratio, in nats, at which the pull is strongest.
            anchors: number of recent policies, the one that collected the batch among them.
            every: batches between two snapshots.
            decay: weight of an anchor relative to the next newer one.
            **options: of `ClipPPOLoss`, the clip range `clip_epsilon` among them.

        Raises:
            GTRError: a number is out of its range.
        """
        # Its surrogate is not used: TorchRL's own has options that it does not know.
        method = gaussian_trust_region(
            stiffness=stiffness, radius=radius, anchors=anchors, every=every, decay=decay
        )
        super().__init__(actor_network, critic_network, **options)
        self._method = method
        self._stiffness = float("nan")
        self._recent: RecentPolicies | None = None

    def collected(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Compares a batch with the recent policies, and counts the policy among them.

        Call it once a batch, when the advantages are known and before the first gradient step.

        Args:
            tensordict: the batch; gets the entry `anchor_log_prob`, of the shape that the action's
                log-probability has.

        Returns:
            The batch.

        Raises:
            GTRError: the batch was given before, or has no advantages, or NaN among them.
        """
        key = self.tensor_keys.anchor_log_prob
        if key in tensordict.keys(include_nested=True):
            raise GTRError(
                f"this batch has an entry {key!r} already: call collected() once a batch, "
                "outside the loop over epochs"
            )
        self._stiffness = self._stiffness_of(tensordict)
        if self._recent is None:
            self._recent = self._keep()
        tensordict.set(key, self._ask(self._recent, tensordict))
        self._recent.collected()
        return tensordict

    @dispatch()
    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """The losses of a minibatch, as `ClipPPOLoss` gives them.

        Raises:
            GTRError: the minibatch is of a batch that `collected` was not told of.
        """
        key = self.tensor_keys.anchor_log_prob
        anchor = tensordict.get(key, None)
        if anchor is None:
            raise GTRError(
                f"the minibatch has no entry {key!r}: call collected(data) on this loss "
                "once for each batch, before the loop over epochs"
            )
        losses = super().forward(tensordict)
        log_prob = _summed(self._present, anchor.shape)
        advantage = _over_tokens(self._advantage[..., 0], log_prob)
        mask = self._mask(tensordict, log_prob)
        del self._present, self._advantage  # they hold on to the graph

        _, evaluation = policy_loss(
            self._method,
            log_prob=log_prob,
            behaviour_log_prob=self._behaviour(tensordict, anchor.shape),
            anchor_log_prob=anchor,
            advantage=advantage,
            stiffness=self._stiffness,
        )
        penalty = self._reduce_loss(evaluation.penalty.unsqueeze(-1), tensordict).squeeze(-1)
        losses.set("loss_objective", losses.get("loss_objective") + penalty)
        found = diagnose(
            self._method, evaluation, advantage=advantage, mask=mask, stiffness=self._stiffness
        )
        return losses.update({f"gtr/{name}": found[name] for name in _MEASURES})

    @property
    def out_keys(self) -> list[NestedKey]:
        """Those of `ClipPPOLoss`, then the measures."""
        if self._out_keys is None:
            self._out_keys = [*super().out_keys, *(f"gtr/{name}" for name in _MEASURES)]
        return self._out_keys

    @out_keys.setter
    def out_keys(self, values: list[NestedKey]) -> None:
        self._out_keys = values

    def get_extra_state(self) -> dict[str, Any] | None:
        """The anchors and the batch's stiffness; None before the first batch."""
        if self._recent is None:
            return None
        return {"stiffness": self._stiffness, "recent": self._recent.state_dict()}

    def set_extra_state(self, state: Mapping[str, Any] | None) -> None:
        """Goes on from what `get_extra_state` gave."""
        self._recent = None
        if state is not None:
            recent = self._keep()
            recent.load_state_dict(state["recent"])
            self._recent, self._stiffness = recent, state["stiffness"]

    def _keep(self) -> RecentPolicies:
        assert isinstance(self._method.anchor, Recent)
        # Functional or not, the parameters that are trained are these.
        module: nn.Module = self.actor_network_params if self.functional else self.actor_network
        return RecentPolicies(self._method.anchor, module)

    def _stiffness_of(self, tensordict: TensorDictBase) -> float:
        key = self.tensor_keys.advantage
        advantage = tensordict.get(key, None)
        if advantage is None:
            raise GTRError(
                f"the batch has no entry {key!r}: call the advantage module (GAE, say) on it "
                "before collected()"
            )
        advantage = super()._maybe_normalize_advantage(advantage, tensordict, update_norm=False)
        mask = self._mask(tensordict, advantage)
        stiffness = batch_stiffness(self._method, advantage, mask=mask)
        assert stiffness is not None  # the method is relative
        if stiffness.isnan():
            raise GTRError(
                f"the batch's {key!r} holds NaN: look for it in rewards and observations, or lower "
                "the learning rate"
            )
        return float(stiffness)

    def _ask(self, recent: RecentPolicies, tensordict: TensorDictBase) -> Tensor:
        """What its anchor says of each sample, of the shape of the behaviour policy's answers."""
        behaviour = self._behaviour(tensordict, tensordict.batch_size)
        needed = [*self.actor_network.in_keys, *_several(self.tensor_keys.action)]
        # A network that reads stretches of time is given them whole, and each has one anchor.
        parts = self.actor_network.modules()
        reads = any(getattr(part, "recurrent_mode", False) for part in parts)
        stretch = tensordict.shape[-1:] if reads else ()
        batch = tensordict.select(*needed, strict=False).reshape(-1, *stretch)

        def said(rows: Tensor) -> Tensor:
            samples = batch[rows].to(next(self.parameters()).device)
            log_prob = super(GTRLoss, self)._get_cur_log_prob(samples)[0]
            return _summed(log_prob, samples.batch_size).to(behaviour.device)

        rows = behaviour.reshape(*batch.shape, *behaviour.shape[tensordict.ndim :])
        return recent.ask(rows, said).reshape(behaviour.shape)

    def _behaviour(self, tensordict: TensorDictBase, shape: torch.Size) -> Tensor:
        key = self.tensor_keys.sample_log_prob
        if isinstance(key, list):
            return _summed(tensordict.select(*key), shape)
        assert key is not None  # `ClipPPOLoss` has set it
        return _summed(tensordict.get(key), shape)

    def _mask(self, tensordict: TensorDictBase, like: Tensor) -> Tensor | None:
        """The samples that count, of the shape of `like`; None where all do."""
        mask = None
        for key in self._loss_mask_keys():
            found = tensordict.get(key, None)
            if found is not None:
                found = self._expand_loss_mask(found, like)
                mask = found if mask is None else mask & found
        return mask

    # What `ClipPPOLoss.forward` computes on its way and does not give out.

    def _get_cur_log_prob(self, tensordict: TensorDictBase, params: Any = None) -> Any:
        found = super()._get_cur_log_prob(tensordict, params)
        if params is None:  # else of the target parameters
            self._present = found[0]
        return found

    def _maybe_normalize_advantage(
        self, advantage: Tensor, tensordict: TensorDictBase, *, update_norm: bool
    ) -> Tensor:
        self._advantage = super()._maybe_normalize_advantage(
            advantage, tensordict, update_norm=update_norm
        )
        return self._advantage

    def _set_in_keys(self) -> None:
        super()._set_in_keys()
        assert self._in_keys is not None
        self._in_keys.append(self.tensor_keys.anchor_log_prob)


def _several(keys: NestedKey | list[NestedKey]) -> list[NestedKey]:
    return keys if isinstance(keys, list) else [keys]


def _summed(log_prob: Any, shape: torch.Size) -> Tensor:
    """One log-probability a sample, where an action of several parts has one for each."""
    if not is_tensor_collection(log_prob):
        return log_prob
    if log_prob.batch_size != shape:
        log_prob.batch_size = shape
    return log_prob.sum(dim="feature", reduce=True)


def _over_tokens(advantage: Tensor, log_prob: Tensor) -> Tensor:
    """(...) to (..., tokens), where an action has a log-probability for each of its tokens."""
    missing = log_prob.ndim - advantage.ndim
    return advantage.reshape(*advantage.shape, *(1,) * missing).expand_as(log_prob)
