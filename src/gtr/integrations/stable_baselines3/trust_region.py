"""The update that GTR puts in place of PPO's, whichever of Stable-Baselines3's PPOs it is."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.utils import explained_variance
from torch import Tensor
from torch.nn import functional

from gtr.errors import GTRError
from gtr.integrations.minibatch import measures, policy_loss
from gtr.integrations.recent_policies import RecentPolicies
from gtr.objective import Method, Recent, batch_stiffness, defaults, gaussian_trust_region
from gtr.objective.numerics import SMALLEST_CLIP, Number

# The attribute, and so the file in the archive that `save` writes.
_KEPT = "recent_policies"


class TrustRegion(OnPolicyAlgorithm):
    """Goes before a PPO among the bases of a class, and replaces its policy loss.

    Takes what that PPO takes, and by name the numbers of `gtr.objective.gaussian_trust_region`:

    Args:
        stiffness: of the penalty, in units of the root mean square advantage; 0 is PPO.
        radius: the log-ratio, in nats, at which the pull is strongest.
        anchors: number of recent policies, the one that collected the rollout among them.
        every: rollouts between two snapshots.
        decay: weight of an anchor relative to the next newer one.

    Raises:
        GTRError: a number is out of its range.
    """

    batch_size: int
    n_epochs: int
    clip_range: Any
    clip_range_vf: Any
    normalize_advantage: bool
    target_kl: float | None

    def __init__(
        self,
        *args: Any,
        stiffness: float = defaults.STIFFNESS,
        radius: float = defaults.RADIUS,
        anchors: int = defaults.COUNT,
        every: int = defaults.EVERY,
        decay: float = defaults.DECAY,
        **kwargs: Any,
    ) -> None:
        # PPO's constructor calls _setup_model, which reads them.
        self.stiffness, self.radius = stiffness, radius
        self.anchors, self.every, self.decay = anchors, every, decay
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        clip = self.clip_range
        method = self._method(clip if isinstance(clip, int | float) else defaults.CLIP)
        super()._setup_model()
        self.recent_policies = self._policies_kept(method)

    def train(self) -> None:
        """Updates the policy on the rollout, as PPO does, after the anchors were asked about it.

        Raises:
            GTRError: the loss or its gradient is not finite; the weights are those before it.
        """
        progress = self._current_progress_remaining
        clip_range = self.clip_range(progress)
        clip_range_vf = self.clip_range_vf(progress) if self.clip_range_vf is not None else None
        # A schedule ends at 0, or beyond it where the last rollout is longer than what was left.
        method = self._method(max(clip_range, SMALLEST_CLIP))
        self._ask_anchors(method)

        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        stiffness = None  # minibatches whose advantages are standardised are in units of their own
        if not self.normalize_advantage:
            advantages = torch.as_tensor(self.rollout_buffer.advantages)
            stiffness = batch_stiffness(method, advantages)

        steps: list[_Step] = []
        epoch_begins = 0
        for epoch in range(self.n_epochs):
            epoch_begins = len(steps)
            for samples in self.rollout_buffer.get(self.batch_size):
                step = self._step(method, stiffness, clip_range_vf, samples)
                steps.append(step._replace(loss=step.loss.detach()))
                if self.target_kl is not None and step.kl > 1.5 * self.target_kl:
                    break
                self._descend(step.loss, samples)
            self._n_updates += 1
            if self.target_kl is not None and steps[-1].kl > 1.5 * self.target_kl:
                if self.verbose >= 1:
                    kl = steps[-1].kl
                    print(f"Early stopping at step {epoch} due to reaching max kl: {kl:.2f}")
                break

        self.rollout_buffer.log_probs = self.rollout_buffer.log_probs[:, :1]
        self._record(method, stiffness, steps, steps[epoch_begins:])
        self.logger.record("train/clip_range", clip_range)
        if clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", clip_range_vf)

    def set_parameters(
        self,
        load_path_or_dict: str | dict[str, Any],
        exact_match: bool = True,
        device: torch.device | str = "auto",
    ) -> None:
        """As PPO's. Parameters that PPO saved will do: then the anchors begin with that policy."""
        params = load_path_or_dict
        if not isinstance(params, dict):
            _, params, _ = load_from_zip_file(params, device=device, load_data=False)
        if _KEPT not in params:
            params = {**params, _KEPT: self.recent_policies.state_dict()}
        super().set_parameters(params, exact_match, device)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, variables = super()._get_torch_save_params()
        return [_KEPT, *modules], variables

    def _method(self, clip: float) -> Method:
        return gaussian_trust_region(
            clip=clip,
            stiffness=self.stiffness,
            radius=self.radius,
            anchors=self.anchors,
            every=self.every,
            decay=self.decay,
        )

    def _policies_kept(self, method: Method) -> "_Kept":
        assert isinstance(method.anchor, Recent)
        # A compiled policy has other names for its parameters, and the same parameters.
        return _Kept(method.anchor, getattr(self.policy, "_orig_mod", self.policy))

    def _ask_anchors(self, method: Method) -> None:
        """Puts what its anchor says of each sample beside what the behaviour policy said.

        The buffer hands on both, whichever buffer it is, in a row's place of the minibatch.
        """
        buffer = self.rollout_buffer
        # Its first minibatch lays a buffer out in rows, and draws their order, which is PPO's to
        # draw.
        state = np.random.get_state()
        next(buffer.get(1))
        np.random.set_state(state)

        if self.recent_policies.iteration == 0:  # weights may have been loaded since
            self.recent_policies = self._policies_kept(method)
        self.policy.set_training_mode(False)  # as when the rollout was collected
        behaviour = torch.as_tensor(buffer.log_probs[:, 0], device=self.device)
        said = self.recent_policies.ask(behaviour, self._said)
        self.recent_policies.collected()
        buffer.log_probs = torch.stack([behaviour, said], 1).cpu().numpy()

    def _said(self, rows: Tensor) -> Tensor:
        # Without gradients four times the rows need no more memory than a gradient step.
        most = 4 * self.batch_size
        parts = np.split(rows.cpu().numpy(), range(most, len(rows), most))
        return torch.cat([self._evaluate(self._samples(part))[1] for part in parts])

    def _samples(self, rows: np.ndarray) -> Any:
        """The buffer's own kind of minibatch, of these rows (n,)."""
        return self.rollout_buffer._get_samples(rows)

    def _actions(self, samples: Any) -> Tensor:
        if isinstance(self.action_space, spaces.Discrete):
            return samples.actions.long().flatten()
        return samples.actions

    def _evaluate(self, samples: Any) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values (n, 1), log-probabilities (n,) and entropies (n,) or None, of a minibatch."""
        return self.policy.evaluate_actions(samples.observations, self._actions(samples))

    def _step(
        self, method: Method, stiffness: Number | None, clip_range_vf: float | None, samples: Any
    ) -> "_Step":
        values, log_prob, entropy = self._evaluate(samples)
        old_log_prob, anchor_log_prob = samples.old_log_prob.reshape(-1, 2).unbind(1)
        values, returns, old_values = values.flatten(), samples.returns, samples.old_values
        entropy = -log_prob if entropy is None else entropy
        advantage = samples.advantages
        mask = getattr(samples, "mask", None)
        if mask is not None:  # sequences are padded to one length
            real = mask > 0.5
            values, returns, old_values = values[real], returns[real], old_values[real]
            log_prob, entropy, advantage = log_prob[real], entropy[real], advantage[real]
            old_log_prob, anchor_log_prob = old_log_prob[real], anchor_log_prob[real]
        if self.normalize_advantage and len(advantage) > 1:
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)

        own_loss, evaluation = policy_loss(
            method,
            log_prob=log_prob,
            behaviour_log_prob=old_log_prob,
            anchor_log_prob=anchor_log_prob,
            advantage=advantage,
            stiffness=stiffness,
        )
        if clip_range_vf is not None:
            change = torch.clamp(values - old_values, -clip_range_vf, clip_range_vf)
            values = old_values + change
        value_loss = functional.mse_loss(returns, values)
        entropy_loss = -torch.mean(entropy)
        loss = own_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss
        if not math.isfinite(loss.item()):
            suspects = {"policy output": log_prob, "value": values, "return": returns}
            raise self._fault(samples, suspects | {"loss": loss})
        assert evaluation.clipped is not None  # the method has a clip
        with torch.no_grad():
            log_ratio = log_prob - old_log_prob
            kl = torch.mean((torch.exp(log_ratio) - 1) - log_ratio)
        return _Step(
            loss=loss,
            kl=kl.item(),
            policy_loss=own_loss.item(),
            value_loss=value_loss.item(),
            entropy_loss=entropy_loss.item(),
            clip_fraction=evaluation.clipped.float().mean().item(),
            log_probs=(log_prob.detach(), old_log_prob, anchor_log_prob),
            advantage=advantage,
        )

    def _descend(self, loss: Tensor, samples: Any) -> None:
        self.policy.optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        if not math.isfinite(norm.item()):
            raise self._fault(samples, {"gradient": norm})
        self.policy.optimizer.step()

    def _fault(self, samples: Any, suspects: dict[str, Tensor]) -> GTRError:
        """Names the first that is not finite of the observations and then the suspects."""
        seen = samples.observations
        seen = list(seen.values()) if isinstance(seen, dict) else [seen]
        culprit = "observation"
        if all(torch.isfinite(x).all() for x in seen):
            culprit = next(name for name, x in suspects.items() if not torch.isfinite(x).all())
        cure = "lower learning_rate or max_grad_norm"
        if culprit in ("observation", "return"):
            cure = f"mend the environment's {culprit}s"
        return GTRError(
            f"NaN or Inf in the {culprit} after {self.num_timesteps:,} steps, in update "
            f"{self._n_updates + 1}; the weights are those before it: {cure}"
        )

    def _record(
        self,
        method: Method,
        stiffness: Number | None,
        steps: "list[_Step]",
        last_epoch: "list[_Step]",
    ) -> None:
        buffer, record = self.rollout_buffer, self.logger.record
        record("train/entropy_loss", np.mean([step.entropy_loss for step in steps]))
        record("train/policy_gradient_loss", np.mean([step.policy_loss for step in steps]))
        record("train/value_loss", np.mean([step.value_loss for step in steps]))
        record("train/approx_kl", np.mean([step.kl for step in last_epoch]))
        record("train/clip_fraction", np.mean([step.clip_fraction for step in steps]))
        record("train/loss", steps[-1].loss.item())
        explained = explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        record("train/explained_variance", explained)
        if isinstance(log_std := getattr(self.policy, "log_std", None), Tensor):
            record("train/std", torch.exp(log_std).mean().item())
        record("train/n_updates", self._n_updates, exclude="tensorboard")

        advantage = torch.cat([step.advantage for step in last_epoch])
        columns = zip(*(step.log_probs for step in last_epoch), strict=True)
        log_prob, old, anchor = (torch.cat(column) for column in columns)
        _, evaluation = policy_loss(
            method,
            log_prob=log_prob,
            behaviour_log_prob=old,
            anchor_log_prob=anchor,
            advantage=advantage,
            stiffness=stiffness,
        )
        found = measures(method, evaluation, advantage=advantage, stiffness=stiffness)
        for name, number in found.items():
            record(f"gtr/{name}", number)


class _Step(NamedTuple):
    """A minibatch's losses, and what the diagnostics need of its samples (n,)."""

    loss: Tensor
    kl: float
    policy_loss: float
    value_loss: float
    entropy_loss: float
    clip_fraction: float
    log_probs: tuple[Tensor, Tensor, Tensor]  # of the policy, the behaviour policy, the anchor
    advantage: Tensor  # (n,)


class _Kept(RecentPolicies):
    """With its state as Stable-Baselines3 expects it of a module: tensors by name, side by side."""

    def state_dict(self) -> dict[str, Tensor]:
        """`<number>.<parameter>` of each snapshot, and `iteration`."""
        state = super().state_dict()
        tensors = {
            f"{number}.{name}": tensor
            for number, snapshot in enumerate(state["snapshots"])
            for name, tensor in snapshot.items()
        }
        return tensors | {"iteration": state["iteration"]}

    def load_state_dict(self, state: Mapping[str, Tensor], strict: bool = True) -> None:
        """Goes on from what `state_dict` gave; where not strict, from what there is of it.

        Raises:
            GTRError: it is of another number of anchors, or of another module.
            RuntimeError: as a module's, it has not all keys and should.
        """
        if not strict:
            state = self.state_dict() | dict(state)
        if "iteration" not in state:
            raise RuntimeError(f"Missing key in the state of {_KEPT}: iteration")
        snapshots: dict[str, dict[str, Tensor]] = {}
        for key, tensor in state.items():
            number, _, name = key.partition(".")
            if name:
                snapshots.setdefault(number, {})[name] = tensor
        super().load_state_dict(
            {"iteration": state["iteration"], "snapshots": list(snapshots.values())}
        )
