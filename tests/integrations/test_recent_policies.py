import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from gtr.errors import GTRError
from gtr.integrations.minibatch import measures, penalty, policy_loss
from gtr.integrations.recent_policies import RecentPolicies
from gtr.objective import Recent, evaluate, gaussian_trust_region


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()


def set_to(module: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)


def weights_of(recent: RecentPolicies, module: nn.Module) -> list[float]:
    found = []
    for number in range(1, recent.anchor.count):
        with recent.holding(number):
            found.append(round(next(module.parameters()).mean().item(), 3))
    return found


def test_snapshots_are_taken_every_few_iterations_newest_first():
    module = network()
    set_to(module, 0.0)
    recent = RecentPolicies(Recent(count=4, every=2), module)
    for iteration in range(1, 7):
        set_to(module, float(iteration))
        recent.collected()
    # collected by 1, 2, ..., 6; every other batch's policy is kept, the first among them
    assert weights_of(recent, module) == [5.0, 3.0, 1.0]
    assert next(module.parameters()).mean().item() == 6.0


def test_the_module_is_as_it_was_after_an_error_within():
    module = network()
    recent = RecentPolicies(Recent(count=2), module)
    before = next(module.parameters()).data_ptr()
    with pytest.raises(ZeroDivisionError), recent.holding(1):
        1 / 0  # noqa: B018
    assert next(module.parameters()).data_ptr() == before


@pytest.mark.parametrize("decay", [0.5, 0.7, 1.0])
def test_anchors_are_asked_as_often_as_their_weights_say(decay: float):
    recent = RecentPolicies(Recent(count=4, decay=decay), network())
    expected = recent.anchor.weights()
    in_a_batch = np.bincount(recent.numbers(512).numpy(), minlength=4) / 512
    np.testing.assert_allclose(in_a_batch, expected, atol=0.01)

    # one sample, over iterations
    asked = np.zeros(4)
    for _ in range(512):
        asked[recent.numbers(1).item()] += 1
        recent.collected()
    np.testing.assert_allclose(asked / 512, expected, atol=0.01)


def test_each_sample_is_answered_by_its_anchor_with_its_buffers():
    module = network()
    recent = RecentPolicies(Recent(count=3, every=1), module)
    x = torch.randn(64, 3)
    said = []
    for shift in (1.0, 2.0, 3.0):
        with torch.no_grad():
            module[1].running_mean.fill_(shift)
            next(module.parameters()).add_(shift)
            said.append(module(x))
        if shift < 3:
            recent.collected()
    numbers = recent.numbers(64)
    answers = recent.ask(said[2], lambda rows: module(x[rows]))
    assert set(numbers.tolist()) == {0, 1, 2}
    for i, number in enumerate(numbers.tolist()):
        torch.testing.assert_close(answers[i], said[2 - number][i])
    assert not answers.requires_grad


def test_frozen_parameters_are_shared():
    module = network()
    module[0].requires_grad_(False)
    recent = RecentPolicies(Recent(count=2), module)
    assert "0.weight" not in recent.state_dict()["snapshots"][0]


def test_saved_and_loaded_it_goes_on_alike():
    modules = [network(), network()]
    first = RecentPolicies(Recent(count=3, every=2), modules[0])
    for step in range(5):
        set_to(modules[0], float(step))
        first.collected()
    file = io.BytesIO()
    torch.save({"module": modules[0].state_dict(), "recent": first.state_dict()}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)

    modules[1].load_state_dict(loaded["module"])
    second = RecentPolicies(Recent(count=3, every=2), modules[1])
    second.load_state_dict(loaded["recent"])
    for step in range(5, 8):
        for module, recent in zip(modules, (first, second), strict=True):
            set_to(module, float(step))
            recent.collected()
    assert weights_of(first, modules[0]) == weights_of(second, modules[1]) == [6.0, 4.0]
    assert torch.equal(first.numbers(100), second.numbers(100))


def test_another_number_of_anchors_or_another_network_is_refused():
    state = RecentPolicies(Recent(count=3), network()).state_dict()
    with pytest.raises(GTRError, match="set anchors=3"):
        RecentPolicies(Recent(count=4), network()).load_state_dict(state)
    with pytest.raises(GTRError, match="another network"):
        RecentPolicies(Recent(count=3), nn.Linear(3, 2)).load_state_dict(state)


def test_one_anchor_keeps_nothing_and_answers_as_the_behaviour_policy():
    recent = RecentPolicies(Recent(count=1), network())
    recent.collected()
    behaviour = torch.randn(5)
    assert torch.equal(recent.ask(behaviour, lambda rows: behaviour[rows] * 0), behaviour)


def test_the_loss_averages_to_the_mixtures():
    method = gaussian_trust_region(anchors=3)
    generator = np.random.default_rng(0)
    log_prob, behaviour, advantage = (
        torch.as_tensor(x, dtype=torch.float64) for x in generator.normal(size=(3, 7))
    )
    anchors = behaviour[:, None] + torch.as_tensor(generator.normal(size=(7, 3)) * 0.3)
    anchors[:, 0] = behaviour
    mixture = evaluate(
        method,
        log_prob=log_prob,
        behaviour_log_prob=behaviour,
        advantage=advantage,
        anchor_log_probs=anchors,
    )
    losses = [
        policy_loss(
            method,
            log_prob=log_prob,
            behaviour_log_prob=behaviour,
            anchor_log_prob=anchors[:, k],
            advantage=advantage,
        )[0]
        for k in range(3)
    ]
    assert method.anchor is not None
    expected = mixture.penalty.mean() - mixture.surrogate.mean()
    assert np.average(losses, weights=method.anchor.weights()) == pytest.approx(expected.item())


def test_the_penalty_alone_is_that_of_the_whole_loss() -> None:
    method = gaussian_trust_region(anchors=2)
    log_prob, behaviour, anchor, advantage = torch.randn(4, 9)
    given = {"log_prob": log_prob, "anchor_log_prob": anchor, "stiffness": 2.0}
    _, evaluation = policy_loss(method, behaviour_log_prob=behaviour, advantage=advantage, **given)
    assert torch.equal(penalty(method, **given), evaluation.penalty)


def test_measures_are_numbers_and_the_spread_is_of_two():
    method = gaussian_trust_region(anchors=2)
    behaviour = torch.zeros(4)
    anchor = torch.tensor([0.0, 0.2, 0.0, 0.2])
    advantage = torch.ones(4)
    _, evaluation = policy_loss(
        method,
        log_prob=behaviour,
        behaviour_log_prob=behaviour,
        anchor_log_prob=anchor,
        advantage=advantage,
    )
    found = measures(method, evaluation, advantage=advantage)
    assert found["anchor_spread"] == pytest.approx(0.05)
    assert found["kl"] == 0
    assert not any(math.isnan(number) for number in found.values())
