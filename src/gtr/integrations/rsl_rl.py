"""GTR for rsl_rl: `GTR` in the place of `PPO`."""

from copy import copy
from typing import Any

import torch
from torch import Tensor

from gtr.errors import GTRError
from gtr.integrations.minibatch import measures, penalty, policy_loss
from gtr.integrations.recent_policies import RecentPolicies
from gtr.objective import (
    Method,
    Recent,
    batch_stiffness,
    defaults,
    gaussian_trust_region,
)
from gtr.objective.numerics import Number

try:
    from rsl_rl.algorithms import PPO
    from rsl_rl.extensions import Symmetry
    from rsl_rl.models import MLPModel
    from rsl_rl.storage import RolloutStorage
except ImportError as error:
    raise GTRError("rsl_rl is not installed: pip install 'gtr-rl[rsl-rl]'") from error


class GTR(PPO):
    """PPO, held near the recent policies by the Gaussian trust region.

    Named in a configuration by `algorithm.class_name = "gtr.integrations.rsl_rl:GTR"`. Everything
    of `PPO` is kept: its options, the learning rate's schedule, networks with a memory, random
    network distillation, symmetry.

    A snapshot is of the actor with its normaliser, so each anchor sees through its own statistics.
    The first update begins with the policy as it is, loaded or not. Of a network with a memory each
    anchor is asked about all steps of its share of the environments, and reads on from the memory
    that the behaviour policy had where a trajectory begins.
    """

    def __init__(
        self,
        actor: MLPModel,
        critic: MLPModel,
        storage: RolloutStorage,
        *,
        stiffness: float = defaults.STIFFNESS,
        radius: float = defaults.RADIUS,
        anchors: int = defaults.COUNT,
        every: int = defaults.EVERY,
        decay: float = defaults.DECAY,
        **options: Any,
    ) -> None:
        """Builds the algorithm.

        Args:
            actor: as `PPO` takes it.
            critic: as `PPO` takes it.
            storage: as `PPO` takes it.
            stiffness: of the penalty, in units of the batch's root mean square advantage.
            radius: the log-ratio, in nats, at which the pull is strongest.
            anchors: number of recent policies, the one that collected the batch among them.
            every: iterations between two snapshots.
            decay: weight of an anchor relative to the next newer one.
            **options: of `PPO`, the clip range `clip_param` among them.

        Raises:
            GTRError: a number is out of its range.
        """
        super().__init__(actor, critic, storage, **options)
        self.method = gaussian_trust_region(
            clip=self.clip_param,
            stiffness=stiffness,
            radius=radius,
            anchors=anchors,
            every=every,
            decay=decay,
        )
        self.recent: RecentPolicies | None = None

    def update(self) -> dict[str, float]:
        """PPO's update with the penalty in the loss, and what it finds on its last minibatch.

        Raises:
            GTRError: the batch's advantages are not finite; the weights are as they were.
        """
        if not self.storage.advantages.isfinite().all():
            raise GTRError(
                "the batch has advantages that are not finite: look for NaN or infinity in rewards "
                "and observations, or lower learning_rate"
            )
        if self.recent is None:
            self.recent = self._keep()
        anchor_log_prob = self._ask(self.recent)
        self.recent.collected()

        held = _Penalty(self.method, self.symmetry, self._stiffness())
        symmetry, parameters = self.symmetry, self.storage.distribution_params
        assert parameters is not None
        # `PPO` asks its symmetry for one more loss of each minibatch, and cuts the distribution's
        # parameters into minibatches with the rest: so both the penalty and what it needs arrive.
        self.symmetry = held
        self.storage.distribution_params = (*parameters, anchor_log_prob)
        try:
            losses = super().update()
        finally:
            self.symmetry, self.storage.distribution_params = symmetry, parameters
        del losses["symmetry"]
        return losses | held.found()

    def save(self) -> dict[str, Any]:
        """What `PPO` saves, and the anchors."""
        saved = super().save()
        if self.recent is not None:
            saved["recent_policies_state_dict"] = self.recent.state_dict()
        return saved

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict | None, strict: bool) -> bool:
        """Loads what `PPO` loads, and the anchors.

        Where there are none, or `load_cfg` does not say `"recent_policies": True`, the next update
        begins with the policy that was loaded.

        Raises:
            GTRError: the anchors are of another number, or of another network.
        """
        load_iteration = super().load(loaded_dict, load_cfg, strict)
        state = loaded_dict.get("recent_policies_state_dict")
        self.recent = None
        if state is not None and (load_cfg is None or load_cfg.get("recent_policies")):
            recent = self._keep()
            recent.load_state_dict(state)
            self.recent = recent
        return load_iteration

    def _keep(self) -> RecentPolicies:
        assert isinstance(self.method.anchor, Recent)
        return RecentPolicies(self.method.anchor, self._raw_actor)

    def _stiffness(self) -> Number | None:
        # Advantages standardised in each minibatch have a root mean square of 1 there.
        if self.normalize_advantage_per_mini_batch:
            return None
        return batch_stiffness(self.method, self.storage.advantages)

    def _ask(self, recent: RecentPolicies) -> Tensor:
        """What its anchor says of each sample: (steps, environments, 1), nats."""
        storage, actor = self.storage, self._raw_actor
        behaviour = storage.actions_log_prob
        observations, actions = storage.observations.reshape(-1), storage.actions.flatten(0, 1)

        def said_of_samples(samples: Tensor) -> Tensor:
            actor(observations[samples], stochastic_output=True)
            return actor.get_output_log_prob(actions[samples])[:, None]

        def said_of_environments(environments: Tensor) -> Tensor:
            batch = _whole(storage, environments)
            assert batch.actions is not None
            memory = batch.hidden_states[0]
            actor(batch.observations, batch.masks, memory, stochastic_output=True)
            return actor.get_output_log_prob(batch.actions).T[..., None]

        device = torch.device(self.device)
        # The actor draws an action wherever it is asked for a distribution.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            if actor.is_recurrent:
                return recent.ask(behaviour.transpose(0, 1), said_of_environments).transpose(0, 1)
            return recent.ask(behaviour.flatten(0, 1), said_of_samples).view_as(behaviour)


def _whole(storage: RolloutStorage, environments: Tensor) -> RolloutStorage.Batch:
    """The trajectories of some environments, as a minibatch of networks with a memory."""
    part = copy(storage)
    part.num_envs = len(environments)
    for name in ("dones", "actions", "values", "advantages", "returns", "actions_log_prob"):
        setattr(part, name, getattr(storage, name)[:, environments])
    part.observations = storage.observations[:, environments]
    part.distribution_params = ()
    for name in ("saved_hidden_state_a", "saved_hidden_state_c"):
        memories = getattr(storage, name)  # (steps, layers, environments, width) each
        if memories is not None:
            setattr(part, name, [memory[:, :, environments] for memory in memories])
    return next(part.recurrent_mini_batch_generator(1, 1))


class _Penalty(Symmetry):
    """The penalty of each minibatch, in the place of the loss of the symmetry that it wraps."""

    use_mirror_loss = True
    mirror_loss_coeff = 1.0

    def __init__(self, method: Method, symmetry: Symmetry | None, stiffness: Number | None) -> None:
        self._method = method
        self._symmetry = symmetry
        self._stiffness = stiffness
        self._symmetry_losses: list[float] = []

    def augment_batch(self, batch: RolloutStorage.Batch, original_batch_size: int) -> None:
        """Takes the anchors off the minibatch, and augments it if there is a symmetry."""
        assert batch.old_distribution_params is not None
        *parameters, self._anchor_log_prob = batch.old_distribution_params
        batch.old_distribution_params = tuple(parameters)
        if self._symmetry is not None:
            self._symmetry.augment_batch(batch, original_batch_size)

    def compute_loss(
        self, actor: MLPModel, batch: RolloutStorage.Batch, original_batch_size: int
    ) -> Tensor:
        """The penalty, plus the mirror loss as the symmetry weighs it."""
        assert batch.old_actions_log_prob is not None
        assert batch.advantages is not None
        assert batch.actions is not None
        log_prob = actor.get_output_log_prob(batch.actions)
        # To a mirrored sample `PPO` gives the original's log-probability, and so do we.
        copies = len(log_prob) // len(self._anchor_log_prob)
        self._last = {
            "log_prob": log_prob.detach(),
            "behaviour_log_prob": batch.old_actions_log_prob.squeeze(-1),
            "anchor_log_prob": torch.cat([self._anchor_log_prob.squeeze(-1)] * copies),
            "advantage": batch.advantages.squeeze(-1),
        }
        loss = penalty(
            self._method,
            log_prob=log_prob,
            anchor_log_prob=self._last["anchor_log_prob"],
            stiffness=self._stiffness,
        ).mean()
        if self._symmetry is not None:
            mirror = self._symmetry.compute_loss(actor, batch, original_batch_size)
            self._symmetry_losses.append(mirror.item())
            if self._symmetry.use_mirror_loss:
                loss = loss + self._symmetry.mirror_loss_coeff * mirror
        return loss

    def found(self) -> dict[str, float]:
        """Measures of the last minibatch, and the mean loss of the symmetry if there is one."""
        advantage = self._last["advantage"]
        _, evaluation = policy_loss(self._method, **self._last, stiffness=self._stiffness)
        numbers = measures(self._method, evaluation, advantage=advantage, stiffness=self._stiffness)
        found = {f"gtr/{name}": number for name, number in numbers.items()}
        if self._symmetry is not None:
            found["symmetry"] = sum(self._symmetry_losses) / len(self._symmetry_losses)
        return found
