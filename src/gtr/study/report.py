"""The report: one HTML file that stands by itself, and the same numbers as data.

`write_report` turns a directory that training wrote into `results.json`, `scores.csv`, `figures/`
and `report.html`. The page loads nothing: styles and figures are inside it, so it can be mailed,
archived and opened without a network.
"""

import json
from collections.abc import Callable
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from gtr.errors import GTRError
from gtr.files import write_whole
from gtr.study import figures, html
from gtr.study.records import ORACLE, RANDOM, read_directory
from gtr.study.results import Results, as_json, evaluate, headline
from gtr.study.style import as_png, as_svg
from gtr.study.wording import LABELS, MISSING, estimate, share

_ARMS = {
    ORACLE: "The oracle is an agent that starts afresh at each change.",
    RANDOM: "Random is the policy before any training, close to uniform.",
}
_KEYS = {
    "normalised": "Normalised: 0 is the random policy, 1 the oracle.",
    "regret": "Regret: return lost against the oracle, summed over the phases; lower is better.",
    "adaptation_time": "Adaptation time is in {step} since the change.",
}
_FIGURES: tuple[tuple[str, str, str, Callable[[Results], Figure | None]], ...] = (
    (
        "learning_curves",
        "Learning curves",
        "Return of the episodes as they are played, in twentieths of a phase. Shaded stripes and "
        "vertical lines are the worlds and their changes. Thin lines are single runs; bold lines "
        "their interquartile mean with its 95% interval.",
        figures.learning_curves,
    ),
    (
        "scores",
        "Scores",
        "Each dot is a run; the large marker is the interquartile mean, the bar its 95% interval.",
        figures.normalised_scores,
    ),
    (
        "probability_of_improvement",
        "Probability of improvement",
        "The chance that a run of the method, drawn at random, scores higher than one of the "
        "reference. A bar that crosses the dashed line shows no difference. Where every run of one "
        "beats every run of the other, resampling finds no spread and the bar has no length.",
        figures.improvement,
    ),
    (
        "performance_profile",
        "Performance profile",
        "The share of runs above each score. A curve that lies above another everywhere is "
        "better at any threshold; a curve that falls early has runs that fail.",
        figures.profile,
    ),
    (
        "adaptation_time",
        "Adaptation time",
        "Steps from a change until the smoothed return has come 80% of the way from the random "
        "policy to the oracle's end of that phase. A change that is never adapted to counts as "
        "the whole phase; the right panel says how many those are.",
        figures.adaptation_time,
    ),
    (
        "held_out",
        "Held-out problems",
        "Share of problems kept out of training whose most likely answer is right, for each task "
        "over the whole lifetime: what a later phase takes away was forgotten.",
        figures.held_out,
    ),
    (
        "movement",
        "Movement after a change",
        "Phases after the first laid over each other. Path length is how far the policy went, net "
        "displacement how far it got, directional efficiency their ratio; the cosine says "
        "whether a step goes on where the last one went. Measured on fixed probe states.",
        figures.movement,
    ),
    (
        "health",
        "Health",
        "What the update and the network look like from inside, over the lifetime. Falling "
        "effective rank and rising dormancy are signs of lost plasticity.",
        figures.health,
    ),
)

CLIP = "watch.gif"
"""What `gtr watch` leaves in a directory, and its report shows."""

_CLIP_CAPTION = (
    "The policy that a phase left behind, in its own world; the same policy in the next world; and "
    "the policy that the phase there left behind. Nothing learns in the clip: episodes follow one "
    "another, with actions drawn as in training, and in each world they begin alike for every "
    "method. A few episodes of one seed are an impression, not a measurement."
)

_OF_A_TRAINING = ("learning_curves", "held_out", "movement", "health")


def write_report(directory: str | Path) -> Path:
    """Write the report of a comparison or of a single training into its directory.

    Files are replaced whole or not at all. The numbers do not depend on when or how often it is
    called: the bootstrap is seeded.

    Args:
        directory: holds `comparison.json` and `runs/<method>/`, finished or not, or the
            `config.json` and `metrics.csv` of a single training.

    Returns:
        The path of `report.html`; beside it lie `results.json`, `scores.csv` (columns method,
        seed, metric, value) and `figures/*.png`. The clip of `gtr watch` is part of the page where
        there is one.

    Raises:
        GTRError: nothing to report there, a file is damaged, or the directory is not writable.
    """
    results = evaluate(read_directory(directory))
    if not results.learners:
        raise GTRError(
            f"{directory} has no iteration of any method yet: wait for the first, or check that "
            "its runs/ folder came along"
        )
    directory = Path(directory)
    document = json.dumps(as_json(results), indent=2, allow_nan=False) + "\n"
    write_whole(directory / "results.json", document.encode())
    write_whole(directory / "scores.csv", results.scores.to_csv(index=False).encode())
    sections = {}
    for name, _, _, draw in _FIGURES:
        skipped = results.comparison.single and name not in _OF_A_TRAINING
        figure = None if skipped else draw(results)
        target = directory / "figures" / f"{name}.png"
        if figure is None:
            target.unlink(missing_ok=True)
            continue
        write_whole(target, as_png(figure))
        sections[name] = as_svg(figure, name)
    clip = directory / CLIP
    page = directory / "report.html"
    shown = clip.read_bytes() if clip.exists() else None
    write_whole(page, _page(results, sections, shown).encode())
    return page


def _page(results: Results, sections: dict[str, str], clip: bytes | None) -> str:
    comparison = results.comparison
    title = " ".join(filter(None, (comparison.suite, comparison.size)))
    kind = "Training on" if comparison.single else "Comparison on"
    body = [html.header(kind, title, _facts(results)), _answer(results)]
    table = "" if comparison.single or results.scores.empty else _table(results)
    for name, heading, caption, _ in _FIGURES:
        if name not in sections:
            continue
        inner = table if name == "scores" else ""
        if name == "learning_curves":
            caption = " ".join([caption, *(_ARMS[arm] for arm in _ARMS if arm in comparison.arms)])
        drawn = html.figure(heading, sections[name], caption)
        body.append(html.section(name, heading, inner, drawn))
        if name == "learning_curves" and clip is not None:
            heading = "Before and after a change"
            moving = html.animation(heading, clip, _CLIP_CAPTION)
            body.append(html.section("watch", heading, moving))
    body.append(_provenance(results))
    return html.document(f"{title} – GTR report", body)


def _facts(results: Results) -> list[str]:
    comparison = results.comparison
    seeds = len(comparison.seeds)
    return [
        ", ".join(comparison.methods),
        f"{seeds} seed{'s' * (seeds != 1)}",
        f"{comparison.phases} phase{'s' * (comparison.phases != 1)} of "
        f"{comparison.phase_steps:,} {comparison.step}",
    ]


def _answer(results: Results) -> str:
    rows = []
    for method, difference in results.differences.items():
        word = results.verdicts[method]
        kind = word if word in ("better", "worse") else "open"
        rows.append(
            f"<tr class={kind}><th scope=row>{escape(method)}</th>"
            f"<td class=word>{escape(word)}</td><td>{estimate(difference, signed=True)}</td>"
            f"<td>{estimate(results.improvement[method])}</td><td>{difference.runs}</td></tr>"
        )
    table = (
        "<div class=wide><table class=verdicts><thead><tr><th scope=col>method</th>"
        f"<th scope=col>against {escape(results.reference)}</th>"
        f"<th scope=col>difference in {LABELS[results.metric]}</th>"
        "<th scope=col>probability of improvement</th><th scope=col>paired seeds</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        if results.reference
        else ""
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in results.notes)
    return (
        f"<section class=answer><p class=headline>{escape(headline(results))}</p>{table}"
        + (f"<ul class=notes>{notes}</ul>" if notes else "")
        + "</section>"
    )


def _table(results: Results) -> str:
    comparison = results.comparison
    metrics = (
        *("normalised", "later_return", "first_return", "last_fifth"),
        *("regret", "adaptation_time", "adaptation_censored"),
    )
    names = [name for name in (*comparison.methods, ORACLE, RANDOM) if name in results.estimates]
    shown = [
        metric
        for metric in metrics
        if any(
            results.estimates[n].get(metric) and results.estimates[n][metric].runs for n in names
        )
    ]
    head = "".join(f"<th scope=col>{escape(LABELS[metric])}</th>" for metric in shown)
    rows = []
    for name in names:
        cells = []
        for metric in shown:
            found = results.estimates[name].get(metric)
            if metric == "adaptation_censored":
                text, interval = share(found.value if found else None), ""
            elif found is None or not found.runs:
                text, interval = MISSING, ""
            else:
                text, _, interval = estimate(found).partition(" ")
            small = f"<small>{escape(interval)}</small>" if interval else ""
            cells.append(f"<td>{escape(text)}{small}</td>")
        kind = " class=special" if name in (ORACLE, RANDOM) else ""
        runs = len(comparison.finished_seeds(name))
        rows.append(
            f"<tr{kind}><th scope=row>{escape(name)}</th><td>{runs}</td>{''.join(cells)}</tr>"
        )
    key = [
        "Interquartile mean over runs, and below it the 95% interval.",
        *(text.format(step=escape(comparison.step)) for m, text in _KEYS.items() if m in shown),
    ]
    return (
        f"<div class=wide><table><thead><tr><th scope=col>method</th><th scope=col>runs</th>{head}"
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f"<p class=key>{' '.join(key)}</p>"
    )


def _provenance(results: Results) -> str:
    comparison = results.comparison
    versions = ", ".join(f"{name} {version}" for name, version in comparison.versions.items())
    seeds = ", ".join(map(str, comparison.seeds))
    configurations = "".join(
        f"<details><summary>{escape(name)}</summary><pre>"
        f"{escape(json.dumps(arm.config, indent=2))}</pre></details>"
        for name, arm in comparison.arms.items()
    )
    told = f"Seeds {seeds}.{f' Versions: {versions}.' if versions else ''}"
    return html.section(
        "provenance",
        "Configuration",
        html.rerun(comparison.command),
        f"<p>{escape(told)}</p>",
        configurations,
    )
