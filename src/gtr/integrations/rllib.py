"""GTR for RLlib's new API stack: a configuration and a learner in place of PPO's."""

from collections.abc import Collection
from functools import partial
from typing import Any

from gtr.errors import GTRError

try:
    import torch
    import tree
    from ray.rllib.algorithms.ppo.ppo import PPO, PPOConfig
    from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
    from ray.rllib.connectors.connector_v2 import ConnectorV2
    from ray.rllib.core.columns import Columns
    from ray.rllib.evaluation.postprocessing import Postprocessing
    from ray.rllib.utils.numpy import convert_to_numpy
    from torch import Tensor
except ImportError as error:
    raise GTRError("RLlib is not installed: pip install 'gtr-rl[rllib]'") from error

from gtr.integrations.minibatch import measures, policy_loss
from gtr.integrations.recent_policies import RecentPolicies
from gtr.objective import (
    Evaluation,
    Method,
    Recent,
    batch_stiffness,
    defaults,
    gaussian_trust_region,
)
from gtr.objective.numerics import Number

ANCHORS = "anchors"
"""The component of a learner's state that holds the anchors."""

ANCHOR_LOGP = "anchor_logp"
"""The column of a train batch that holds what each sample's anchor says of its action, in nats."""


class GTRConfig(PPOConfig):
    """`PPOConfig`, with GTR's numbers, and without the KL term: the trust region takes its place.

    `use_kl_loss=True` brings the term back, beside the trust region.
    """

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or GTR)
        self.use_kl_loss = False
        self.stiffness = defaults.STIFFNESS
        self.radius = defaults.RADIUS
        self.anchors = defaults.COUNT
        self.every = defaults.EVERY
        self.decay = defaults.DECAY

    def training(
        self,
        *,
        stiffness: float | None = None,
        radius: float | None = None,
        anchors: int | None = None,
        every: int | None = None,
        decay: float | None = None,
        **others: Any,
    ) -> "GTRConfig":
        """Sets what PPO has, and the trust region; what is None stays as it is.

        Args:
            stiffness: of the penalty, in units of the batch's root mean square advantage.
            radius: the log-ratio, in nats, at which the pull is strongest.
            anchors: number of recent policies, the one that collected the batch among them.
            every: train batches between two snapshots.
            decay: weight of an anchor relative to the next newer one.
            others: as `PPOConfig.training` takes them; `clip_param` is the clip.

        Returns:
            This configuration.

        Raises:
            GTRError: a number is out of its range.
        """
        super().training(**others)
        given = {
            "stiffness": stiffness,
            "radius": radius,
            "anchors": anchors,
            "every": every,
            "decay": decay,
        }
        for name, value in given.items():
            if value is not None:
                setattr(self, name, value)
        # `validate` comes too late for a -1: RLlib drops it where it copies a configuration.
        assert self.method
        return self

    @property
    def method(self) -> Method:
        """The objective.

        Raises:
            GTRError: a number is out of its range.
        """
        return gaussian_trust_region(
            clip=self.clip_param,
            stiffness=self.stiffness,
            radius=self.radius,
            anchors=self.anchors,
            every=self.every,
            decay=self.decay,
        )

    def validate(self) -> None:
        """As RLlib's, and refuses numbers that cannot be.

        Raises:
            GTRError: a number of GTR is out of its range.
            ValueError: as RLlib's.
        """
        super().validate()
        assert self.method

    def get_default_learner_class(self) -> Any:
        """The learner below; RLlib itself refuses what is not PyTorch."""
        super().get_default_learner_class()
        return GTRTorchLearner


class GTR(PPO):
    """RLlib's PPO under a name of its own, for Tune's tables; what differs is in the learner."""

    @classmethod
    def get_default_config(cls) -> GTRConfig:
        """GTR without tuning."""
        return GTRConfig()


class GTRTorchLearner(PPOTorchLearner):
    """PPO's learner, whose loss has the trust region beside it.

    Anchors are asked once a train batch, before its first gradient step. Each learner of several
    asks about its own samples; their anchors are equal, as their weights are.
    """

    config: GTRConfig

    def build(self) -> None:
        """Puts the anchors behind the advantages, at the end of the connectors."""
        super().build()
        self._recent: dict[str, RecentPolicies] = {}
        self._stiffness: dict[str, Number | None] = {}
        self._seen: dict[str, tuple[Evaluation, Tensor, Tensor]] = {}
        if (
            self._learner_connector is not None
            and self.config.add_default_connectors_to_learner_pipeline
        ):
            self._learner_connector.append(_AskAnchors(self))

    def ask_anchors(self, batch: dict[str, dict[str, Any]]) -> None:
        """Adds the anchors' column to a train batch; then a snapshot is taken, if it is time.

        Args:
            batch: of each module, its columns (b, ...) or (b, t, ...).
        """
        for module_id, columns in batch.items():
            if Postprocessing.ADVANTAGES not in columns:  # nothing that PPO trains
                continue
            recent = self._policies(module_id)
            columns[ANCHOR_LOGP] = recent.ask(
                columns[Columns.ACTION_LOGP], partial(self._said, module_id, columns)
            )
            recent.collected()
            self._stiffness[module_id] = batch_stiffness(
                self.config.get_config_for_module(module_id).method,
                columns[Postprocessing.ADVANTAGES],
                mask=columns.get(Columns.LOSS_MASK),
            )

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Tensor:
        """PPO's loss and the penalty, whose mean is taken apart.

        Raises:
            GTRError: the batch did not go through this learner's connectors.
        """
        loss = super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )
        if ANCHOR_LOGP not in batch:
            raise GTRError(
                "a train batch lacks its anchors: give the learner episodes, and leave "
                "add_default_connectors_to_learner_pipeline=True"
            )
        module: Any = self.module[module_id].unwrapped()
        distribution = module.get_train_action_dist_cls()
        present = distribution.from_logits(fwd_out[Columns.ACTION_DIST_INPUTS])
        advantage = batch[Postprocessing.ADVANTAGES]
        _, evaluation = policy_loss(
            config.method,
            log_prob=present.logp(batch[Columns.ACTIONS]),
            behaviour_log_prob=batch[Columns.ACTION_LOGP],
            anchor_log_prob=batch[ANCHOR_LOGP],
            advantage=advantage,
            stiffness=self._stiffness[module_id],
        )
        mask = batch.get(Columns.LOSS_MASK)
        if mask is None:
            mask = torch.ones_like(advantage, dtype=torch.bool)
        self._seen[module_id] = (evaluation, advantage, mask)
        return loss + evaluation.penalty[mask].sum() / mask.sum()

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Logs the measures of the last minibatch, as RLlib does PPO's own."""
        super().after_gradient_based_update(timesteps=timesteps)
        for module_id, (evaluation, advantage, mask) in self._seen.items():
            found = measures(
                self.config.get_config_for_module(module_id).method,
                evaluation,
                advantage=advantage,
                mask=mask,
                stiffness=self._stiffness[module_id],
            )
            self.metrics.log_dict({"gtr": dict(found)}, key=module_id, window=1)
        self._seen = {}

    def remove_module(self, module_id: str, **options: Any) -> Any:
        """Removes a module and its anchors."""
        spec = super().remove_module(module_id, **options)
        self._recent.pop(module_id, None)
        return spec

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """As RLlib's, with the anchors of each module as NumPy arrays."""
        state = super().get_state(components, not_components=not_components, **options)
        if self._check_component(ANCHORS, components, not_components):
            state[ANCHORS] = {
                module_id: convert_to_numpy(recent.state_dict())
                for module_id, recent in self._recent.items()
            }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """As RLlib's, with the anchors.

        Raises:
            GTRError: they are of another number of anchors, or of another network.
        """
        super().set_state(state)
        for module_id, anchors in state.get(ANCHORS, {}).items():
            if module_id in self.module:
                found: Any = tree.map_structure(self._tensor, anchors)
                self._policies(module_id).load_state_dict(found)

    def _said(self, module_id: str, columns: dict[str, Any], rows: Tensor) -> Tensor:
        """Log-probability of the actions in some rows, (m, ...), under the module's weights."""
        module: Any = self.module[module_id].unwrapped()
        asked = {name: x for name, x in columns.items() if name != Columns.INFOS}
        part: Any = tree.map_structure(lambda x: x[rows], asked)
        inputs = module.forward_train(part)[Columns.ACTION_DIST_INPUTS]
        distribution = module.get_train_action_dist_cls().from_logits(inputs)
        return distribution.logp(part[Columns.ACTIONS])

    def _policies(self, module_id: str) -> RecentPolicies:
        """A module's anchors; of one that was added since, its policy as it is."""
        if module_id not in self._recent:
            anchor = self.config.get_config_for_module(module_id).method.anchor
            assert isinstance(anchor, Recent)
            module: Any = self.module[module_id].unwrapped()
            self._recent[module_id] = RecentPolicies(anchor, module)
        return self._recent[module_id]

    def _tensor(self, x: Any) -> Tensor:
        return torch.as_tensor(x, device=self.device)


class _AskAnchors(ConnectorV2):
    """The last connector of a learner: the train batch is complete."""

    def __init__(self, learner: GTRTorchLearner) -> None:
        super().__init__()
        self._learner = learner

    def __call__(self, *, batch: dict[str, Any], **others: Any) -> dict[str, Any]:
        self._learner.ask_anchors(batch)
        return batch
