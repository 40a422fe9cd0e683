"""Tasks with verifiable rewards: reasoning-gym's problems behind a few worked examples."""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import reasoning_gym

from gtr.errors import GTRError

_DRAWN = 4000
_EXAMPLES = 4


@dataclass(frozen=True)
class Problem:
    """One question and how its answer is judged.

    Attributes:
        prompt: worked examples, then the question; it ends where the answer begins.
        answer: one that is right.
        judge: what a text earns, reasoning-gym's score: 1 where it is right.
    """

    prompt: str
    answer: str
    judge: Callable[[str], float]

    def reward(self, text: str) -> float:
        """1 where the first line of `text` is right, else 0; nothing for being near."""
        return float(self.judge(text.split("\n")[0].strip()) == 1.0)


@dataclass(frozen=True)
class Task:
    """Problems of one kind, in two parts that share none.

    A problem and its mirror image (3 + 4 and 4 + 3), and all questions about one word, are in the
    same part. The worked examples are in neither.

    No answer is right for more problems than the next commonest one.
    """

    name: str
    training: Sequence[Problem]
    held_out: Sequence[Problem]


@dataclass(frozen=True)
class _Recipe:
    dataset: str
    numbers: dict[str, int]
    held_out: float  # share of the problems
    only: str = ""  # what a question has to contain


_RECIPES = {
    # Without differences: SmolLM2 never answers below zero, so no reward says that it should.
    "sums": _Recipe(
        "chain_sum",
        {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1},
        0.4,
        only=" + ",
    ),
    "products": _Recipe(
        "products", {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}, 0.3
    ),
    "letters": _Recipe("letter_counting", {"min_words": 1, "max_words": 1}, 0.3),
}


def names() -> list[str]:
    """Of all tasks."""
    return list(_RECIPES)


def require(name: str) -> None:
    """Looks for a task without making it.

    Raises:
        GTRError: there is no such task.
    """
    if name not in _RECIPES:
        raise GTRError(f"there is no task {name!r}; there are {', '.join(_RECIPES)}")


def task(name: str) -> Task:
    """A task by its name, the same each time.

    Raises:
        GTRError: there is no such task.
    """
    require(name)
    recipe = _RECIPES[name]
    dataset = reasoning_gym.create_dataset(recipe.dataset, size=_DRAWN, seed=0, **recipe.numbers)
    drawn = (dataset[i] for i in range(_DRAWN))
    entries = {entry["question"]: entry for entry in drawn if recipe.only in entry["question"]}
    groups: dict[tuple[str, ...], list[Any]] = {}
    for question in _balanced({key: entry["answer"] for key, entry in entries.items()}):
        groups.setdefault(_content(question), []).append(entries[question])
    order = sorted(groups, key=_chance)
    shown = [groups.pop(group)[0] for group in order[:_EXAMPLES]]
    examples = "".join(f"{_asked(entry)} {entry['answer']}\n\n" for entry in shown)

    def problem(entry: Any) -> Problem:
        return Problem(
            examples + _asked(entry),
            entry["answer"],
            lambda text: dataset.score_answer(text, entry),
        )

    held_out = round(recipe.held_out * len(groups))
    left = order[_EXAMPLES:]
    parts = [
        [problem(entry) for group in part for entry in groups[group]]
        for part in (left[held_out:], left[:held_out])
    ]
    return Task(name, *parts)


def draw(problems: Sequence[Problem], number: int, *key: int | str) -> list[Problem]:
    """Some problems, none twice unless there are too few; a function of the key."""
    source = random.Random(repr(key))
    whole, rest = divmod(number, len(problems))
    return list(problems) * whole + source.sample(list(problems), rest)


def _balanced(answers: Mapping[str, str]) -> list[str]:
    """Questions, in an order of chance; of the commonest answer no more than of the next one.

    Else "1" would be right for nine words in ten.
    """
    common = Counter(answers.values()).most_common(2)
    left = Counter(dict.fromkeys(answers.values(), common[-1][1]))
    kept = []
    for question in sorted(answers, key=_chance):
        left[answers[question]] -= 1
        if left[answers[question]] >= 0:
            kept.append(question)
    return kept


def _chance(what: object) -> bytes:
    # An order of which nobody can say that it was chosen, and that is the same in each process.
    return hashlib.sha256(repr(what).encode()).digest()


def _content(question: str) -> tuple[str, ...]:
    """What problems have in common that could be learnt from each other by heart."""
    word = re.search(r'text: "(.*)"', question)
    if word:
        return (word[1],)
    return (*sorted(re.findall(r"\d+", question)), *re.findall(r" [-+*] ", question))


def _asked(entry: Any) -> str:
    return f"Q: {entry['question']}\nA:"
