"""Tables in the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


def new_table(*columns: str) -> Any:
    """A table of rich's with these columns and no lines."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0)
    return table


def show(what: "RenderableType") -> None:
    """Prints it as wide as the terminal is."""
    from rich.console import Console

    Console(highlight=False).print(what)


def show_scores(directory: Path) -> None:
    """Prints the scores of a comparison or a training."""
    from gtr.study.records import read_directory
    from gtr.study.results import evaluate
    from gtr.study.table import score_table

    show(score_table(evaluate(read_directory(directory))))
