"""The lean loop's step: write answers, judge them, ask the anchors, descend; and how good it is."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gtr.errors import GTRError
from gtr.integrations.recent_policies import RecentPolicies
from gtr.language.completions import Completions, log_probs, write
from gtr.language.losses import Rule, loss
from gtr.language.prompts import Prompts, encode
from gtr.language.schedule import Schedule
from gtr.language.tasks import Problem, Task, draw
from gtr.objective import Recent, batch_stiffness

_TOGETHER = 32  # problems that are answered at a time in an evaluation


@dataclass(frozen=True)
class Settings:
    """Numbers of a training, the same for all methods.

    Attributes:
        problems: per step.
        answers: to each problem, which are compared with each other.
        minibatches: of whole problems; a gradient step each.
        epochs: times that a batch is gone through.
        learning_rate: of Adam.
        max_grad_norm: to which a gradient is cut.
        longest: tokens of an answer after which it is cut.
        held_out: problems of each task that an evaluation asks at most.
    """

    problems: int = 16
    answers: int = 8
    minibatches: int = 4
    epochs: int = 1
    learning_rate: float = 5e-6
    max_grad_norm: float = 1.0
    longest: int = 4
    held_out: int = 64

    def __post_init__(self) -> None:
        """Checks them.

        Raises:
            GTRError: one is out of its range, or the ratio would be 1 throughout.
        """
        for name in ("problems", "minibatches", "epochs", "longest", "held_out"):
            if getattr(self, name) < 1:
                raise GTRError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.answers < 2:
            raise GTRError(f"answers is {self.answers}; two are needed to be compared")
        if not 0 < self.learning_rate < math.inf:
            raise GTRError(f"learning_rate is {self.learning_rate}; it must be above 0 and finite")
        if self.minibatches > self.problems:
            raise GTRError(
                f"{self.problems} problems cannot be divided into {self.minibatches} minibatches: "
                "lower minibatches"
            )
        if self.minibatches * self.epochs == 1:
            raise GTRError(
                "with one gradient step a batch the ratio is 1 and no trust region does anything: "
                "set minibatches or epochs to 2 or more"
            )


class Learner:
    """A model under training by one method.

    Attributes:
        model: a causal language model of Transformers.
        recent: the anchors; none are kept for a method that has no `Recent`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        rule: Rule,
        schedule: Schedule,
        settings: Settings,
        tasks: Mapping[str, Task],
        *,
        seed: int = 0,
    ) -> None:
        """Changes the model from the first step on.

        Args:
            model: to be trained, in the mode in which it is to be asked.
            tokenizer: its own.
            rule: the method.
            schedule: which task when.
            settings: numbers.
            tasks: those of the schedule, by name.
            seed: of the problems' order, the answers and the minibatches.
        """
        self.model = model
        self._tokenizer = tokenizer
        self._rule = rule
        self._schedule = schedule
        self._settings = settings
        self._seed = seed
        self._tasks = {name: tasks[name] for name in schedule.names}
        self._device = next(model.parameters()).device
        self._trained = [p for p in model.parameters() if p.requires_grad]
        self._optimizer = torch.optim.Adam(self._trained, lr=settings.learning_rate, fused=True)
        anchor = rule.method.anchor
        self.recent = RecentPolicies(
            anchor if isinstance(anchor, Recent) else Recent(count=1), model
        )
        self._ends = _line_ends(tokenizer)

    def step(self, number: int) -> dict[str, Any]:
        """One batch and its gradient steps; the row of its measures.

        A function of the state and the number: random numbers are made of the seed and the number.
        """
        began = time.perf_counter()
        settings = self._settings
        phase = self._schedule.phase(number)
        name = self._schedule.tasks[phase]
        generator = self._generator(number)
        drawn = draw(self._tasks[name].training, settings.problems, self._seed, number)
        prompts = encode(self._tokenizer, [one.prompt for one in drawn], self._device)
        written = write(
            self.model,
            prompts,
            each=settings.answers,
            longest=settings.longest,
            ends=self._ends,
            generator=generator,
        )
        rewards = self._judge(drawn, written)
        advantages = standardised(rewards)
        anchors = self.recent.ask(
            written.log_probs,
            lambda rows: log_probs(self.model, prompts[rows], written.tokens[rows]),
        )
        self.recent.collected()
        stiffness = batch_stiffness(self._rule.method, advantages)
        rows: list[Mapping[str, float]] = []
        for _ in range(settings.epochs):
            order = torch.randperm(len(prompts), generator=generator).to(self._device)
            for part in order.tensor_split(settings.minibatches):
                rows.append(self._descend(prompts, written, anchors, advantages, stiffness, part))
        means = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
        counted = written.mask.sum()
        return {
            "iteration": number,
            "seed": self._seed,
            "step": (number + 1) * rewards.numel(),
            "phase": phase,
            "episodes": rewards.numel(),
            "return": rewards.mean().item(),
            "task": name,
            "solved": (rewards.sum(-1) > 0).float().mean().item(),
            "same_reward": (rewards.std(-1) == 0).float().mean().item(),
            "entropy": (written.entropies * written.mask).sum().item() / counted.item(),
            "length": counted.item() / rewards.numel(),
            **means,
            "ratio_max": max(row["ratio_max"] for row in rows),
            "seconds": time.perf_counter() - began,
        }

    def evaluate(self) -> dict[str, float]:
        """Of each task's held-out problems: how many are answered right.

        `accuracy_` is that of the most likely answer; `pass_` is the share of problems of which at
        least one of `Settings.answers` drawn answers is right.
        """
        settings = self._settings
        found: dict[str, float] = {}
        for name, one in self._tasks.items():
            asked = draw(one.held_out, min(len(one.held_out), settings.held_out), "held-out")
            greedy, sampled = [], []
            for begin in range(0, len(asked), _TOGETHER):
                part = asked[begin : begin + _TOGETHER]
                prompts = encode(self._tokenizer, [p.prompt for p in part], self._device)
                for rewards, each, temperature in (
                    (greedy, 1, 0.0),
                    (sampled, settings.answers, 1.0),
                ):
                    written = write(
                        self.model,
                        prompts,
                        each=each,
                        longest=settings.longest,
                        ends=self._ends,
                        temperature=temperature,
                        generator=self._generator(-1 - begin),
                    )
                    rewards.append(self._judge(part, written))
            found[f"accuracy_{name}"] = torch.cat(greedy).mean().item()
            found[f"pass_{name}"] = (torch.cat(sampled).sum(-1) > 0).float().mean().item()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Tensors and numbers, to go on from."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "recent": self.recent.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.recent.load_state_dict(state["recent"])

    def _descend(
        self,
        prompts: Prompts,
        written: Completions,
        anchors: Tensor,
        advantages: Tensor,
        stiffness: Any,
        rows: Tensor,
    ) -> Mapping[str, float]:
        now = log_probs(self.model, prompts[rows], written.tokens[rows])
        descended, found = loss(
            self._rule,
            log_prob=now.flatten(0, 1),
            behaviour_log_prob=written.log_probs[rows].flatten(0, 1),
            anchor_log_prob=anchors[rows].flatten(0, 1),
            advantage=advantages[rows].flatten(),
            mask=written.mask[rows].flatten(0, 1),
            stiffness=stiffness,
        )
        self._optimizer.zero_grad()
        descended.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._trained, self._settings.max_grad_norm)
        if not torch.isfinite(norm):
            raise GTRError(
                f"the gradient is {norm.item()}: lower the learning rate, and begin anew in "
                "another directory"
            )
        self._optimizer.step()
        return {"loss": descended.item(), "grad_norm": norm.item(), **found}

    def _judge(self, problems: Sequence[Problem], written: Completions) -> Tensor:
        """(Q, G), 1 for a right answer."""
        rewards = torch.zeros(written.mask.shape[:2], device=self._device)
        for i, problem in enumerate(problems):
            for j in range(rewards.shape[1]):
                tokens = written.tokens[i, j][written.mask[i, j]]
                text = self._tokenizer.decode(tokens, skip_special_tokens=True)
                rewards[i, j] = problem.reward(text)
        return rewards

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator(self._device).manual_seed(self._seed * 1_000_003 + number)


def standardised(rewards: Tensor) -> Tensor:
    """GRPO's advantages (arXiv:2402.03300): each problem's rewards, (Q, G), around their mean."""
    mean, deviation = rewards.mean(-1, keepdim=True), rewards.std(-1, keepdim=True)
    return (rewards - mean) / (deviation + 1e-4)


def _line_ends(tokenizer: Any) -> list[int]:
    """Tokens that end an answer: those with a line break in them, and the tokenizer's own end."""
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    found = {i for i, text in enumerate(texts) if "\n" in text}
    return sorted(found | {tokenizer.eos_token_id} - {None})
