import copy

import pytest
import torch

from gtr.errors import GTRError
from gtr.integrations.trl import GTRTrainer
from gtr.language.completions import log_probs, write
from gtr.language.learner import Learner, Settings, standardised
from gtr.language.losses import loss, rule
from gtr.language.prompts import encode
from gtr.language.schedule import Schedule
from gtr.language.tasks import Problem, Task
from tests import tiny_llama
from tests.integrations.trl_probes import loss_and_gradients, trainer

SMALL = Settings(problems=8, answers=16, minibatches=2, learning_rate=3e-3, longest=1)


def echo(name: str = "echo", answer: str | None = None) -> Task:
    """After "7" comes "7", or always the same answer."""

    def problem(digit: str) -> Problem:
        wanted = answer or digit
        return Problem(f"1+1=2\n{digit}", wanted, lambda text: float(text == wanted))

    problems = [problem(digit) for digit in "0123456789"]
    return Task(name, problems[:6], problems[:6] if answer is None else problems[6:])


def learner(task: Task, settings: Settings = SMALL, method: str = "gtr", **numbers: float):
    return Learner(
        tiny_llama.model(hidden=32, layers=1, spread=0.1),
        tiny_llama.tokenizer(),
        rule(method, **numbers),
        Schedule((task.name,), 100),
        settings,
        {task.name: task},
    )


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_gradients_are_those_of_the_path_through_trl(tmp_path):
    own = trainer(tmp_path, GTRTrainer, loss_type="bnpo")
    model, tokenizer = own.model, tiny_llama.tokenizer()
    texts = ["1+1=2\n3+4=", "1+1=2\n12-7=", "1+1=2\n5="]
    prompts = encode(tokenizer, texts, torch.device("cpu"))
    source = torch.Generator().manual_seed(0)
    written = write(model, prompts, each=2, longest=5, ends=[1, 3, 7], generator=source)
    assert len(set(written.mask.sum(-1).flatten().tolist())) > 1
    noise = 0.4 * torch.randn(2, *written.log_probs.shape, generator=source)
    behaviour, anchor = written.log_probs + noise[0], written.log_probs + noise[1]
    advantage = standardised(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))

    model.zero_grad()
    found, _ = loss(
        rule("gtr"),
        log_prob=log_probs(model, prompts, written.tokens).flatten(0, 1),
        behaviour_log_prob=behaviour.flatten(0, 1),
        anchor_log_prob=anchor.flatten(0, 1),
        advantage=advantage.flatten(),
        mask=written.mask.flatten(0, 1),
        stiffness=torch.tensor(0.5),
    )
    found.backward()
    mine = [p.grad.clone() for p in model.parameters() if p.grad is not None]

    padded = tokenizer(
        [text for text in texts for _ in range(2)], padding=True, return_tensors="pt"
    )
    expected, theirs = loss_and_gradients(
        own,
        {
            "prompt_ids": padded.input_ids,
            "prompt_mask": padded.attention_mask,
            "completion_ids": written.tokens.flatten(0, 1),
            "completion_mask": written.mask.flatten(0, 1).long(),
            "old_per_token_logps": behaviour.flatten(0, 1),
            "anchor_per_token_logps": anchor.flatten(0, 1),
            "advantages": advantage.flatten(),
            "num_items_in_batch": written.mask.sum(),
            "stiffness": torch.tensor(0.5),
        },
    )
    torch.testing.assert_close(found.detach(), expected, rtol=1e-5, atol=1e-5)
    for ours, their in zip(mine, theirs, strict=True):
        torch.testing.assert_close(ours, their, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["gtr", "ppo"])
def test_it_learns(method):
    own = learner(echo(), method=method)
    before = own.evaluate()
    rows = [own.step(iteration) for iteration in range(40)]
    after = own.evaluate()
    assert before["accuracy_echo"] < 0.5
    assert after["accuracy_echo"] > 0.9
    assert rows[-1]["return"] > 0.9
    assert max(row["ratio_max"] for row in rows) > 1.01


def test_anchors_are_earlier_policies():
    own = learner(echo(), anchors=3, every=1)
    rows = [own.step(iteration) for iteration in range(4)]
    assert rows[0]["anchor_spread"] == pytest.approx(0.0, abs=1e-5)
    assert rows[3]["anchor_spread"] > 1e-3
    first, second = own.recent.state_dict()["snapshots"]
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_rewards_that_are_all_equal_move_nothing():
    own = learner(echo("never", answer="?!"))
    before = [p.detach().clone() for p in own.model.parameters()]
    row = own.step(0)
    assert row["same_reward"] == 1
    for mine, other in zip(own.model.parameters(), before, strict=True):
        assert torch.equal(mine, other)


def test_a_step_is_a_function_of_the_state_and_the_number():
    first, second = learner(echo()), learner(echo())
    for iteration in range(3):
        first.step(iteration)
    # What Adam is given it goes on writing to.
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    rows = [own.step(3) for own in (first, second)]
    for row in rows:
        del row["seconds"]
    assert rows[0] == rows[1]


def test_a_model_that_has_diverged_stops_the_training():
    own = learner(echo())
    with torch.no_grad():
        own.model.lm_head.weight[5, 0] = torch.nan
    with pytest.raises(GTRError, match="diverged"):
        own.step(0)


def test_a_gradient_that_is_not_finite_stops_the_training_before_its_step():
    own = learner(echo(), Settings(problems=8, answers=16, minibatches=2, longest=2))
    own.model.lm_head.weight.register_hook(lambda gradient: gradient * torch.inf)
    before = own.model.lm_head.weight.detach().clone()
    with pytest.raises(GTRError, match="gradient"):
        own.step(0)
    assert torch.equal(own.model.lm_head.weight, before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minibatches": 1}, "the ratio is 1"),
        ({"answers": 1}, "two are needed"),
        ({"problems": 2, "minibatches": 4}, "lower minibatches"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"longest": 0}, "1 or more"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes, message):
    with pytest.raises(GTRError, match=message):
        Settings(**changes)


def test_advantages_are_standardised_in_each_problem():
    found = standardised(torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    half = 0.5 / (0.5**0.5 + 1e-4)
    torch.testing.assert_close(found, torch.tensor([[-half, half], [0.0, 0.0]]))
