"""The study's page: one HTML file that stands by itself, and the same numbers as data."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from gtr.files import write_whole
from gtr.learner.run import versions
from gtr.study import html
from gtr.study.statistics import BOOTSTRAP_SEED, CLAIM_RUNS, CONFIDENCE, RESAMPLES, Estimate
from gtr.study.style import as_png, as_svg
from gtr.study.transitions import answers, figures, grid_answers, grid_figures
from gtr.study.transitions.bar import Bar, acceptance
from gtr.study.transitions.plan import GRID_SEED, Extent
from gtr.study.transitions.reading import Study, read_study
from gtr.study.transitions.tables import TITLES, shown, tidy
from gtr.study.transitions.verdicts import TOGETHER, Answer
from gtr.study.tune import FIRST_SEED
from gtr.study.wording import count

_COMPARED = (
    "Each dot is a run, the large marker the interquartile mean, the bar its 95% interval. "
    "Together: the middle half of the runs of all suites that count."
)


@dataclass(frozen=True)
class _Part:
    """An answer with its figure.

    Attributes:
        name: of the figure, and of the answer in results.json.
        heading: where a section has several parts.
        answer: from the study.
        draw: from both; gives None where there is nothing to draw.
        caption: of the figure.
    """

    name: str
    heading: str
    answer: Callable[[Study], Answer]
    draw: Callable[[Study, Answer], Figure | None]
    caption: str


@dataclass(frozen=True)
class _Section:
    name: str
    heading: str
    parts: tuple[_Part, ...]


_SECTIONS = (
    _Section(
        "help",
        "Does it help?",
        (
            _Part("suites", "Scores", answers.does_it_help, figures.suites, _COMPARED),
            _Part(
                "drop_in",
                "GTR in PPO's place, nothing else changed",
                grid_answers.drop_in,
                grid_figures.drop_in,
                "A point is a configuration of the learner: the tuned PPO's, and others drawn as "
                "for tuning. Both methods have their own numbers at their defaults and meet the "
                "same seeds. Above the line GTR has the higher interquartile mean.",
            ),
            _Part(
                "reuse",
                "GTR in PPO's place by the number of passes over a batch",
                grid_answers.reuse,
                grid_figures.reuse,
                "Tuned PPO's learning rate, or a third of it, and its entropy bonus for both, on "
                "the first phases of a lifetime. Interquartile means with 95% intervals, set apart "
                "sideways.",
            ),
        ),
    ),
    _Section(
        "inefficient",
        "C1: is PPO directionally inefficient after a change?",
        (
            _Part(
                "movement",
                "Movement after a change",
                answers.movement,
                figures.movement,
                "Path length is how far the policy went since the change, net displacement how far "
                "it got, directional efficiency their ratio; Hellinger distances on fixed states. "
                "The cosine says whether a step goes on where the last one went. The oracle "
                "begins every phase with a fresh network. Interquartile means over runs with 95% "
                "intervals.",
            ),
        ),
    ),
    _Section(
        "capacity",
        "C2: is it the network's capacity, or the clip?",
        (
            _Part(
                "capacity",
                "PPO over width, depth and clip range",
                grid_answers.capacity_or_clip,
                grid_figures.capacity,
                "Tuned PPO with one thing changed. Dots are runs, markers their interquartile "
                "means with 95% intervals; none is no clip. The band is GTR's score in the "
                "comparison, with the suite's own network.",
            ),
        ),
    ),
    _Section(
        "shape",
        "C3, C4: does the Gaussian shape matter, and does it let go?",
        (
            _Part(
                "surface",
                "Stiffness and radius",
                grid_answers.surface,
                grid_figures.surface,
                "GTR's normalised score (interquartile mean) on the first phases of a lifetime; "
                "all suites in the same colours. The highest cell is the best of many with few "
                "runs each, so luck flatters it.",
            ),
            _Part(
                "shape",
                "Other shapes of the same stiffness",
                grid_answers.shape,
                grid_figures.shape,
                "GTR's setting with the penalty exchanged: gtr-monotone pulls harder the farther "
                "it is, gtr-bump has a value that returns to 0, gtr-exact asks for the KL of each "
                "state. Interquartile means with 95% intervals, set apart sideways; the band is "
                "PPO's score in the same phases of the comparison.",
            ),
            _Part(
                "relaxation",
                "Letting go after a change",
                answers.relaxation,
                figures.relaxation,
                "Mean over changes, in twentieths of a phase; interquartile mean over runs with "
                "its 95% interval. Beyond the radius the pull fades.",
            ),
        ),
    ),
    _Section(
        "anchor",
        "C5: does a mixture of recent policies make the better anchor?",
        (
            _Part(
                "anchor",
                "Kind, number and age of anchors",
                grid_answers.anchor,
                grid_figures.anchor,
                "GTR's setting with the anchor exchanged, on the first phases of a lifetime. "
                "Interquartile means with 95% intervals, set apart sideways; the band is PPO's "
                "score in the same phases of the comparison.",
            ),
        ),
    ),
    _Section(
        "advantage",
        "What does high advantage mean?",
        (
            _Part(
                "advantage",
                "Scale of advantages, clip and entropy bonus",
                grid_answers.advantage,
                grid_figures.advantage,
                "PPO and GTR with advantages normalised in each batch, or by a running scale. "
                "Interquartile means with 95% intervals, set apart sideways, on the first phases "
                "of a lifetime.",
            ),
        ),
    ),
    _Section(
        "carry",
        "How far does it carry?",
        (
            _Part(
                "cures",
                "Cures, rivals, shapes and anchors",
                answers.how_far,
                figures.how_far,
                "Differences in normalised score on the same seeds: the mean over suites with its "
                "95% interval; short strokes are the single suites. Each arm is tuned with the "
                "same budget. Left of the dashed line is a loss. Shapes, anchors and rivals have "
                "their own numbers to find with it; gtr and ppo@defaults have not, and are easier "
                "to tune. At equal numbers the shapes and anchors are compared in the grids above.",
            ),
        ),
    ),
    _Section(
        "stationary",
        "Does it cost anything where nothing changes?",
        (
            _Part(
                "stationary",
                "Scores on the stationary twins",
                answers.stationary_twins,
                figures.stationary,
                f"{_COMPARED} The oracle starts afresh where a change would be, which only loses "
                "here: a good score lies above 1. Numbers are those tuned on the changing suite.",
            ),
        ),
    ),
)


def write_page(extent: Extent, directory: Path, command: str = "") -> Path:
    """Writes what a study has found so far; a later call replaces what it wrote.

    Args:
        extent: how much of everything was asked for.
        directory: of the study, finished or not.
        command: the command line, kept in the page.

    Returns:
        The path of study.html; beside it lie results.json, figures/*.png and tables/*.csv.

    Raises:
        GTRError: there is nothing to show at all, a file is damaged, or the directory is not
            writable.
    """
    study = read_study(extent, directory)
    bar = acceptance(study)
    found, drawings = {}, {}
    for part in (part for section in _SECTIONS for part in section.parts):
        found[part.name] = part.answer(study)
        figure = part.draw(study, found[part.name])
        target = directory / "figures" / f"{part.name}.png"
        if figure is None:
            target.unlink(missing_ok=True)
            continue
        write_whole(target, as_png(figure))
        drawings[part.name] = as_svg(figure, part.name)
    found["provenance"] = answers.provenance(study)
    tables = {"acceptance": _bar_table(bar)}
    tables |= {name: table for one in found.values() for name, table in one.tables.items()}
    for name in dict.fromkeys([*tables, *TITLES, "relaxation"]):
        target = directory / "tables" / f"{name}.csv"
        if name not in tables:
            target.unlink(missing_ok=True)
            continue
        write_whole(target, tidy(tables[name]).to_csv(index=False).encode())
    document = json.dumps(_as_json(study, bar, found, command), indent=2, allow_nan=False) + "\n"
    write_whole(directory / "results.json", document.encode())
    page = directory / "study.html"
    write_whole(page, _page(study, bar, found, drawings, command).encode())
    return page


def _as_json(study: Study, bar: Bar, found: dict[str, Answer], command: str) -> dict[str, Any]:
    together = {}
    for name in ("suites", "stationary"):
        rows = found[name].tables.get(name)
        rows = [] if rows is None else rows[rows["suite"] == TOGETHER].to_dict("records")
        together[name] = {
            row["method"]: {
                key: _plain(row[key]) for key in ("score", "difference", "improvement", "shown")
            }
            for row in rows
        }
    return {
        "study": "transitions",
        "size": study.extent.name,
        "command": command,
        "versions": versions(),
        "seeds": {
            "comparison": list(study.seeds),
            "grids": list(study.grid_seeds),
            "tuning_from": FIRST_SEED,
        },
        "statistics": {
            "estimate": "interquartile mean over runs",
            "interval": CONFIDENCE,
            "method": "expanded percentile bootstrap over runs within suites",
            "resamples": RESAMPLES,
            "bootstrap_seed": BOOTSTRAP_SEED,
        },
        "acceptance": {
            "met": bar.met,
            "headline": bar.headline,
            "runs": bar.runs,
            "smoke_check": bar.smoke_check,
            "suites": list(bar.counted),
            "suites_missing": list(bar.missing),
            "twins": list(bar.twins_counted),
            "twins_missing": list(bar.twins_missing),
            "demands": {
                line.name: {
                    "asks": line.asks,
                    "met": line.met,
                    "finds": line.finds,
                    "values": {key: _plain(value) for key, value in line.values.items()},
                }
                for line in bar.lines
            },
        },
        "together": together,
        "answers": {
            name: {"sentence": one.sentence, "missing": one.missing} for name, one in found.items()
        },
    }


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, Estimate):
        return {
            "value": value.value if value.runs else None,
            "low": value.low,
            "high": value.high,
            "runs": value.runs,
        }
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _bar_table(bar: Bar) -> pd.DataFrame:
    rows = []
    for line in bar.lines:
        told = {"demand": line.name, "shown": line.word}
        for key, value in (line.values or {"": None}).items():
            held = value if isinstance(value, Estimate) or value is None else _exact(value)
            rows.append(told | {"quantity": key, "value": held})
    return pd.DataFrame(rows)


def _exact(value: float) -> Estimate:
    """A number that comes without an interval."""
    return Estimate(value, None, None, 0)


# ---------------------------------------------------------------- the page


def _page(
    study: Study, bar: Bar, found: dict[str, Answer], drawings: dict[str, str], command: str
) -> str:
    extent = study.extent
    body = [
        html.header(
            "Study of behaviour transitions",
            "Does GTR help where worlds keep changing?",
            [
                f"size {extent.name}",
                f"{len(study.suites)} of {len(extent.main)} suites compared",
                count(len(study.seeds), "seed"),
            ],
        ),
        _answer_box(bar),
        _contents(),
    ]
    for section in _SECTIONS:
        inner = []
        for part in section.parts:
            if len(section.parts) > 1:
                inner.append(f"<h3>{escape(part.heading)}</h3>")
            inner.append(_told(found[part.name]))
            if part.name in drawings:
                inner.append(html.figure(part.heading, drawings[part.name], part.caption))
            inner += [shown(name, table) for name, table in found[part.name].tables.items()]
        body.append(html.section(section.name, section.heading, *inner))
    body.append(_provenance(study, found["provenance"], command))
    return html.document("Transitions – GTR study", body, _CSS)


def _answer_box(bar: Bar) -> str:
    kinds = {True: "better", False: "worse", None: "open"}
    rows = "".join(
        f"<tr class={kinds[line.met]}><th scope=row>{escape(line.asks)}</th>"
        f"<td class=word>{escape(line.word)}</td><td class=text>{escape(line.finds)}</td></tr>"
        for line in bar.lines
    )
    notes = [_counting("changing suites", bar.counted, bar.missing)]
    notes.append(_counting("stationary twins", bar.twins_counted, bar.twins_missing))
    if bar.smoke_check:
        notes.append(
            f"{count(bar.runs, 'seed')}: this is a smoke check. A claim needs at least "
            f"{CLAIM_RUNS}."
        )
    notes.append(
        "Scores are returns after the first phase on a scale where the random policy is 0 and an "
        "agent that starts afresh at every change, the oracle, is 1. Intervals are 95% bootstrap "
        "intervals over runs within suites: they speak of other seeds, not of other suites. "
        "No correction is made for the number of comparisons on this page: by chance alone one in "
        "twenty would show a difference."
    )
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f"<section class=answer id=answer><p class=headline>{escape(bar.headline)}</p>"
        "<div class=wide><table class=bar><thead><tr><th scope=col>what must hold</th>"
        "<th scope=col class=text>it is</th><th scope=col class=text>numbers</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div><ul class=notes>{listed}</ul></section>"
    )


def _counting(what: str, counted: Sequence[str], missing: Sequence[str]) -> str:
    told = f"The {what} that count: {', '.join(counted) or 'none yet'}."
    return f"{told} Missing: {', '.join(missing)}." if missing else told


def _contents() -> str:
    links = [(section.name, section.heading) for section in _SECTIONS]
    links.append(("provenance", _PROVENANCE))
    items = "".join(f'<li><a href="#{name}">{escape(text)}</a></li>' for name, text in links)
    return f"<nav><ol>{items}</ol></nav>"


def _told(answer: Answer) -> str:
    finding = f"<p class=finding>{escape(answer.sentence)}</p>" if answer.sentence else ""
    return finding + (f"<p class=absent>{escape(answer.missing)}</p>" if answer.missing else "")


_PROVENANCE = "How these numbers were made"


def _provenance(study: Study, answer: Answer, command: str) -> str:
    extent = study.extent
    used = ", ".join(f"{name} {found}" for name, found in versions().items())
    lifetimes = [
        f"{suite.name} {count(suite.phases, 'phase')} of {suite.phase_steps:,} steps"
        for suite in map(extent.suite, extent.main)
    ]
    facts = [
        f"Size {extent.name}: {extent.configurations} configurations to tune each arm with, "
        f"{extent.seeds} seeds to compare it on, {extent.grid_seeds} a setting of the grids.",
        f"Lifetimes: {'; '.join(lifetimes)}.",
        f"Seeds of the comparisons so far: {_range(study.seeds)}. Seeds of the grids so far: "
        f"{_range(study.grid_seeds)}. Tuning uses those from {FIRST_SEED:,}, the grids those from "
        f"{GRID_SEED:,}, so that no comparison meets a seed that anything was chosen on.",
        f"Versions: {used}.",
        "The numbers of every table and figure are in tables/, the headline numbers in "
        "results.json.",
    ]
    return html.section(
        "provenance",
        _PROVENANCE,
        html.rerun(command),
        *(f"<p>{escape(fact)}</p>" for fact in facts),
        _told(answer),
        *(shown(name, table) for name, table in answer.tables.items()),
    )


def _range(seeds: Sequence[int]) -> str:
    if not seeds:
        return "none"
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))


_CSS = """
h3{font-size:1.05rem;margin:2rem 0 .5rem}
h4{font-size:.95rem;margin:1.25rem 0 .25rem}
nav ol{columns:2;column-gap:2rem;padding-left:1.2rem;font-size:.95rem}
nav li{break-inside:avoid;margin:.15rem 0}
a{color:inherit}
.finding{font-weight:600;max-width:54rem}
.absent{color:var(--faint);font-style:italic}
.bar{margin-top:.75rem}
.bar th[scope=row]{white-space:normal;font-weight:400;min-width:15rem}
td.word,td.text,th.text{text-align:left}
td.text,td.word{white-space:nowrap}
td.word{font-weight:600}
.bar td.text{white-space:normal}
details{margin:.75rem 0}
@media(max-width:40rem){nav ol{columns:1}}
"""
