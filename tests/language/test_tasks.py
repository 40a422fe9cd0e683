import re
from collections import Counter
from pathlib import Path

import pytest

from gtr.errors import GTRError
from gtr.language.schedule import Schedule
from gtr.language.tasks import draw, names, task


@pytest.mark.parametrize("name", names())
def test_the_two_parts_share_no_problem_nor_its_mirror_image(name):
    def content(prompt: str) -> tuple[str, ...]:
        question = prompt.rsplit("Q: ", 1)[1]
        word = re.search(r'text: "(.*)"', question)
        numbers = sorted(re.findall(r"\d+", question))
        return (word[1],) if word else (*numbers, *re.findall("[-+*]", question))

    one = task(name)
    training = {content(problem.prompt) for problem in one.training}
    held_out = {content(problem.prompt) for problem in one.held_out}
    assert len(one.training) > len(one.held_out) > 10
    assert not training & held_out


@pytest.mark.parametrize("name", names())
def test_the_worked_examples_are_right_and_in_neither_part(name):
    one = task(name)
    examples, _, question = one.training[0].prompt.rpartition("Q: ")
    assert question.endswith("\nA:")
    asked = {p.prompt.rpartition("Q: ")[2] for p in [*one.training, *one.held_out]}
    shown = re.findall(r"Q: (.*\nA:) (.*)\n\n", examples)
    assert len(shown) == 4
    for text, answer in shown:
        assert text not in asked
        numbers = re.search(r"(\d) ([-+*]) (\d)", text)
        if numbers:
            assert eval(" ".join(numbers.groups())) == int(answer)


@pytest.mark.parametrize("name", names())
def test_no_answer_stands_out(name):
    one = task(name)
    answers = Counter(problem.answer for problem in [*one.training, *one.held_out])
    (_, most), (_, after) = answers.most_common(2)
    assert most <= after + 4  # the worked examples were taken out afterwards


@pytest.mark.parametrize("name", names())
def test_only_what_is_right_earns_something(name):
    for problem in task(name).held_out[:20]:
        assert problem.reward(problem.answer) == 1
        assert problem.reward(f" {problem.answer}\n\nQ: and so on") == 1
        for wrong in ("", "\n" + problem.answer, problem.answer + "1", "x", "-", "nan", "\x00"):
            assert problem.reward(wrong) == 0


def test_a_task_is_the_same_each_time_and_an_unknown_one_is_refused():
    first, again = task("sums"), task("sums")
    assert [p.prompt for p in first.training] == [p.prompt for p in again.training]
    with pytest.raises(GTRError, match="sums, products, letters"):
        task("poems")


def test_problems_are_drawn_by_key_and_none_twice_before_all():
    problems = task("sums").training
    assert draw(problems, 16, 0, 1) == draw(problems, 16, 0, 1) != draw(problems, 16, 0, 2)
    many = [p.prompt for p in draw(problems, len(problems) + 5, 0)]
    assert len(set(many)) == len(problems)


def test_the_page_says_how_many_problems_there_are():
    page = (Path(__file__).parents[2] / "docs" / "language.md").read_text()
    for name in names():
        one = task(name)
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
        assert row.endswith(f"| {len(one.training) + len(one.held_out)} |")


def test_a_schedule_is_its_tasks_in_turn():
    found = Schedule(("sums", "products", "sums"), 2)
    assert found.length == 6
    assert found.names == ("sums", "products")
    assert [found.phase(i) for i in range(6)] == [0, 0, 1, 1, 2, 2]
    with pytest.raises(GTRError, match="1 iteration"):
        Schedule(("sums",), 0)
