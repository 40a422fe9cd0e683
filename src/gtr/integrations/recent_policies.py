"""The recent policies of a PyTorch module: kept, and asked about samples."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gtr.errors import GTRError
from gtr.objective import Recent

_GOLDEN = (math.sqrt(5) - 1) / 2
_OTHER = math.sqrt(2) - 1


class RecentPolicies:
    """Snapshots of what a module trains, newest first, to compare samples with.

    A snapshot holds the parameters that are trained and the buffers. So frozen layers are shared,
    and of a model with adapters only those are kept. Before training every snapshot is of the
    module as it is. The behaviour policy is anchor 0 and is not kept: what it said is at hand.

    Each sample is compared with one anchor, which is each of them as often as its weight says. The
    penalty is linear in the anchors' kernels, so its average is the mixture's; and however many
    anchors there are, asking them costs less than one pass over the batch.
    """

    def __init__(
        self, anchor: Recent, module: nn.Module, *, device: torch.device | str | None = None
    ) -> None:
        """Keeps the module as it is.

        Args:
            anchor: how many policies, how far apart, with which weights.
            module: the policy. Its weights are looked up anew in each call, so it may be trained,
                moved and loaded meanwhile.
            device: where snapshots are kept; where each tensor is if None.
        """
        self.anchor = anchor
        self.iteration = 0
        self._module = module
        self._device = device
        self._snapshots = [self._snapshot()] * (anchor.count - 1)

    def numbers(self, samples: int) -> Tensor:
        """The anchor of each sample: (samples,) int64 on the CPU; 0 is the behaviour policy.

        Evenly spread over the samples and over iterations, without random numbers.
        """
        place = torch.arange(samples, dtype=torch.float64) * _GOLDEN + self.iteration * _OTHER
        share = torch.cumsum(torch.as_tensor(self.anchor.weights(), dtype=torch.float64), 0)
        found = torch.searchsorted(share, place % 1.0, right=True)
        return found.clamp(max=self.anchor.count - 1)

    def ask(self, behaviour: Tensor, said: Callable[[Tensor], Tensor]) -> Tensor:
        """What its anchor says of each sample, without gradient.

        The module is left in its mode: put it in the one in which the behaviour policy was asked.

        Args:
            behaviour: (n, ...), what the behaviour policy said, its log-probabilities for instance.
            said: of rows (m,) int64 on the device of `behaviour`, what the module, holding an
                anchor's weights meanwhile, says of them: (m, ...).

        Returns:
            (n, ...), a new tensor like `behaviour`.
        """
        numbers = self.numbers(len(behaviour))
        answers = behaviour.detach().clone()
        for number in range(1, self.anchor.count):
            rows = torch.nonzero(numbers == number)[:, 0].to(behaviour.device)
            if len(rows):
                with torch.no_grad(), self.holding(number):
                    answers[rows] = said(rows).to(answers.dtype)
        return answers

    @contextmanager
    def holding(self, number: int) -> Iterator[None]:
        """The module has the weights of anchor `number`, 1 or more, within the block."""
        tensors = self._tensors()
        present = {name: tensor.data for name, tensor in tensors.items()}
        try:
            for name, kept in self._snapshots[number - 1].items():
                tensors[name].data = kept.to(tensors[name].device)
            yield
        finally:
            for name, data in present.items():
                tensors[name].data = data

    def collected(self) -> None:
        """After a batch was collected and its samples' anchors asked, before the first update."""
        if self._snapshots and self.iteration % self.anchor.every == 0:
            self._snapshots = [self._snapshot(), *self._snapshots[:-1]]
        self.iteration += 1

    def state_dict(self) -> dict[str, Any]:
        """Tensors alone, to be saved beside the module's own."""
        return {"iteration": torch.tensor(self.iteration), "snapshots": list(self._snapshots)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave.

        Raises:
            GTRError: it is of another number of anchors, or of another module.
        """
        snapshots = list(state["snapshots"])
        if len(snapshots) != self.anchor.count - 1:
            raise GTRError(
                f"the checkpoint has {len(snapshots) + 1} anchors and the method has "
                f"{self.anchor.count}: set anchors={len(snapshots) + 1}"
            )
        own = {name: tensor.shape for name, tensor in self._tensors().items()}
        for snapshot in snapshots:
            if {name: tensor.shape for name, tensor in snapshot.items()} != own:
                raise GTRError(
                    "the checkpoint's anchors are of another network: build the policy as it was"
                )
        self._snapshots = [self._stored(snapshot) for snapshot in snapshots]
        self.iteration = int(state["iteration"])

    def _snapshot(self) -> dict[str, Tensor]:
        return self._stored(self._tensors())

    def _stored(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: tensor.detach().to(self._device or tensor.device, copy=True)
            for name, tensor in tensors.items()
        }

    def _tensors(self) -> dict[str, Tensor]:
        trained = {name: p for name, p in self._module.named_parameters() if p.requires_grad}
        return trained | dict(self._module.named_buffers())
