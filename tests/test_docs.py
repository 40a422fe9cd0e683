"""What the documentation says is so: snippets run, and what it names exists."""

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gtr
from gtr.cli.settings import assignments
from gtr.learner.config import configure
from gtr.methods import method, names
from gtr.networks.named import network
from tests.environments.contract import assert_keeps_promises

ROOT = Path(__file__).parents[1]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"])
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def under(page: Path, title: str) -> str:
    """A page's section, up to the next heading of its kind."""
    return page.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def execute(code: str, space: dict[str, Any]) -> None:
    exec(compile(code, "<snippet>", "exec"), space)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Suites of a few iterations, in a directory of their own."""
    suite = gtr.suite

    def shrunk(name: str, size: str = "cpu") -> Any:
        found = suite(name, size)
        config = replace(found.config, environments=4, rollout_length=64, epochs=1)
        return replace(found, phases=2, phase_budget=1024, config=config)

    monkeypatch.setattr(gtr, "suite", shrunk)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", ["python-api.md", "suites.md", "watch.md", "logging.md", "export.md"]
)
def test_snippets_run_in_order(page, small):
    space: dict[str, Any] = {"__name__": "snippet"}
    for code in blocks(ROOT / "docs" / page, "python"):
        execute(code, space)


def test_the_objectives_snippets_run_by_themselves():
    section = under(ROOT / "docs/python-api.md", "The objective alone")
    found = re.findall(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert len(found) == 3
    for code in found:
        execute(code, {"__name__": "snippet"})


def test_the_example_of_a_change_keeps_the_promises():
    space: dict[str, Any] = {"__name__": "snippet"}
    execute(blocks(ROOT / "docs/suites.md", "python")[0], space)
    assert_keeps_promises(space["slippery"].environment)


@every_page
def test_tests_that_are_named_exist(page):
    known = {
        file.relative_to(ROOT).as_posix(): set(
            re.findall(r"^def (test_\w+)", file.read_text(), re.M)
        )
        for file in (ROOT / "tests").rglob("test_*.py")
    }
    everywhere = set().union(*known.values())
    file = None
    for path, name in re.findall(r"`(tests/[\w/]+\.py)?(?:::)?(test_\w+)?`", page.read_text()):
        file = path or file
        if path:
            assert (ROOT / path).exists(), path
        if name and path:
            assert name in known[path], f"{path}::{name}"
        elif name:
            assert name in everywhere, name
    for path, name in re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", page.read_text()):
        assert name in known[path], f"{path}::{name}"


@every_page
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, link
    for path in re.findall(r"`((?:src|docs|tests|benchmarks)/[\w/.-]+)`", text):
        assert (ROOT / path).exists(), path


@every_page
def test_commands_name_what_there_is(page):
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            words = shlex.split(line)
            if words[:1] != ["gtr"] or words[1] not in ("train", "compare", "tune"):
                continue
            suite = gtr.suite(words[2])
            options: dict[str, list[str]] = {}
            for word in words[3:]:
                if word.startswith("--"):
                    options[word] = []
                else:
                    options[list(options)[-1]].append(word)
            chosen = options.get("--method", []) + options.get("--methods", [])
            numbers, own = assignments([options.get("--set", [])])
            for name in chosen:
                method(name, **own)
            config = suite.config
            for name in options.get("--network", []):
                config = replace(config, network=network(name, config.network))
            configure(config, **numbers)
            assert "--out" in options


def test_every_method_has_a_page_with_all_its_numbers():
    for name in names():
        text = (ROOT / f"docs/methods/{name}.md").read_text()
        assert f"--method {name}" in text
        for number in gtr.methods.numbers(method(name)):
            assert f"`{number}`" in text, f"{name}: {number}"
    index = (ROOT / "docs/methods/README.md").read_text()
    assert all(f"[{name}]({name}.md)" in index for name in names())


def test_the_suites_budgets_are_as_written():
    text = (ROOT / "docs/suites.md").read_text()
    for size in ("cpu", "full"):
        for one in gtr.suites.suites(size):
            if one.changing:
                row = next(line for line in text.splitlines() if line.startswith(f"| {one.name} "))
                written = f"{one.phases} x {one.phase_steps:,}"
                assert written in row or (size == "full" and "the same" in row), row


def test_the_search_space_is_as_written():
    from gtr.study.space import LEARNER, METHOD, LogUniform

    section = under(ROOT / "docs/evaluation.md", "Tuning equally")
    for name, space in (LEARNER | METHOD).items():
        row = next((one for one in section.splitlines() if one.startswith(f"| `{name}`")), None)
        assert row is not None or name == "adam_betas", name
        if isinstance(space, LogUniform):
            assert [float(x) for x in re.findall(r"\d[\d.e-]*(?=[ ,]|$)", row)][-2:] == [
                space.low,
                space.high,
            ], row


def test_the_figure_is_drawn(tmp_path, monkeypatch):
    script = ROOT / "docs/figures/penalties.py"
    space: dict[str, Any] = {"__name__": "figure", "__file__": str(tmp_path / "penalties.py")}
    with pytest.MonkeyPatch.context() as patch:
        import matplotlib

        patch.setattr(matplotlib, "rcParams", matplotlib.rcParams.copy())
        execute(script.read_text(), space)
        space["main"]()
    assert (tmp_path / "penalties.svg").read_text().startswith("<?xml")
