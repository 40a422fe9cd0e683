"""The same numbers in the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gtr.study.records import ORACLE, RANDOM
from gtr.study.results import Results, headline
from gtr.study.wording import LABELS, MISSING, estimate, share

_COLOURS = {"better": "green", "worse": "red"}


def score_table(results: Results) -> RenderableType:
    """Scores with intervals, the comparison with the reference, and the verdict below.

    Args:
        results: of a comparison.

    Returns:
        Something for `rich.print`; its numbers are those of report.html.
    """
    comparison = results.comparison
    table = Table(
        title=Text(f"{comparison.suite} {comparison.size}".strip()),
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    table.add_column("method", no_wrap=True)
    table.add_column("return after\nfirst phase", justify="right", no_wrap=True)
    normalised = results.metric == "normalised"
    if normalised:
        table.add_column("normalised", justify="right", no_wrap=True)
        table.add_column("not\nadapted", justify="right", no_wrap=True)
    if results.reference:
        table.add_column(Text(f"difference\nto {results.reference}"), justify="right", no_wrap=True)
        table.add_column(Text(f"beats\n{results.reference}"), justify="right", no_wrap=True)
        table.add_column("shown")
    for name in (*comparison.methods, ORACLE, RANDOM):
        if name not in results.estimates:
            continue
        scores = results.estimates[name]
        cells = [name, _stacked(estimate(scores["later_return"]))]
        if normalised:
            censored = scores.get("adaptation_censored")
            cells.append(_stacked(estimate(scores.get("normalised"))))
            cells.append(share(censored.value if censored else None))
        word = results.verdicts.get(name, MISSING)
        if results.reference:
            chance = results.improvement.get(name)
            cells.append(_stacked(estimate(results.differences.get(name), signed=True)))
            cells.append(share(chance.value) if chance else MISSING)
            cells.append(word)
        styles = [""] * (len(cells) - 1) + [_COLOURS.get(word, "")]
        table.add_row(*map(Text, cells, styles), style="dim" if name in (ORACLE, RANDOM) else None)
    below = [Text(f"\n{headline(results)}", style="bold")]
    below += [Text(note, style="dim") for note in results.notes]
    legend = f"Interquartile mean [95% interval]. Differences are in {LABELS[results.metric]}."
    return Group(table, Text(legend, style="dim"), *below)


def _stacked(written: str) -> str:
    """The interval below the estimate, so that the table fits a terminal of 80 columns."""
    return written.replace(" [", "\n[")
