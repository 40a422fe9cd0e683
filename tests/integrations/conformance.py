"""What every integration must pass: its test file inherits `Conformance` and answers it."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gtr.errors import GTRError


class Conformance:
    """The suite; what a framework has to answer comes first, the tests after it."""

    # How far parameters may be apart where the framework computes the same in another order.
    tolerance = 0.0

    @abstractmethod
    def gradients(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Of one loss of a fixed minibatch: the integration's, and straight from `gtr.objective`.

        The behaviour policy, an anchor and the present policy all differ.
        """

    @abstractmethod
    def trained(self, method: str) -> Sequence[Tensor]:
        """The policy's parameters after a short training.

        Args:
            method: "gtr" with a stiffness of 0 or "ppo", the framework's own; equal otherwise.
        """

    @abstractmethod
    def uninterrupted_and_resumed(
        self, directory: Path
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Parameters and anchors after a training, and after the same saved and loaded midway."""

    @abstractmethod
    def build(self, **numbers: Any) -> Any:
        """The algorithm with some of `stiffness`, `radius`, `anchors`, `every`, `decay`."""

    @abstractmethod
    def share_that_pays_after_two_changes(self) -> float:
        """Of greedy actions that pay, after training on `probes.Reversing` over two changes."""

    def test_the_gradient_is_that_of_the_objective(self) -> None:
        found, expected = self.gradients()
        assert any(gradient.abs().max() > 1e-3 for gradient in expected)
        for mine, straight in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, straight, rtol=1e-5, atol=1e-5)

    def test_a_stiffness_of_zero_is_the_frameworks_own_ppo(self) -> None:
        for mine, own in zip(self.trained("gtr"), self.trained("ppo"), strict=True):
            torch.testing.assert_close(mine, own, rtol=self.tolerance, atol=self.tolerance)

    def test_saved_and_loaded_it_goes_on_alike_with_its_anchors(self, tmp_path: Path) -> None:
        whole, resumed = self.uninterrupted_and_resumed(tmp_path)
        for mine, other in zip(whole, resumed, strict=True):
            torch.testing.assert_close(mine, other, rtol=self.tolerance, atol=self.tolerance)

    @pytest.mark.parametrize(
        ("number", "value"),
        [("stiffness", -1.0), ("radius", 0.0), ("anchors", 0), ("every", 0), ("decay", 0.0)],
    )
    def test_a_number_out_of_its_range_is_refused_before_training(
        self, number: str, value: float
    ) -> None:
        with pytest.raises(GTRError, match="must be"):
            self.build(**{number: value})

    def test_it_learns_where_the_world_changes(self) -> None:
        assert self.share_that_pays_after_two_changes() > 0.9
