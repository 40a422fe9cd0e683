"""The study's tables, as files and on the page."""

import math
from collections.abc import Callable
from html import escape
from numbers import Real
from typing import Any

import pandas as pd

from gtr.study.statistics import Estimate
from gtr.study.transitions.verdicts import TOGETHER
from gtr.study.wording import LABELS, MISSING, estimate

_LONG = 14
"""A table with more rows than this is folded away until it is asked for."""

TITLES = {
    "suites": "Changing suites",
    "suites_pairs": "GTR beside each other main arm",
    "drop_in": "Every configuration",
    "drop_in_contrasts": "GTR in place of PPO",
    "reuse": "Every number of epochs",
    "reuse_contrasts": "GTR in place of PPO by epochs",
    "movement": "Movement on every suite",
    "capacity": "Every network",
    "clip": "Every clip range",
    "surface": "Every stiffness and radius",
    "shape": "Every shape, stiffness and clip",
    "shape_contrasts": "The Gaussian against other shapes",
    "anchor": "Every anchor",
    "anchor_contrasts": "The mixture against other anchors",
    "advantage": "Every scale, clip and entropy bonus",
    "advantage_contrasts": "One change at a time",
    "cures": "Cures",
    "others": "Other arms",
    "stationary": "Stationary twins",
    "stationary_pairs": "GTR beside each other main arm on the stationary twins",
    "tuned": "The numbers that tuning chose",
}
"""What a table on the page is called; those of curves are in their files alone."""

_HEADS = {
    "return": LABELS["later_return"],
    "score": "normalised score",
    "difference": "difference",
    "improvement": "probability of improvement",
    "to": "compared with",
}

_WHEN = {
    "fifth": "first fifth",
    "phase": "whole phase",
    "after": "first fifth",
    "before": "last fifth",
}


def tidy(table: pd.DataFrame) -> pd.DataFrame:
    """A table of plain cells: an `Estimate` becomes its value, ends and number of runs.

    Args:
        table: cells may be an `Estimate` or None.

    Returns:
        The same rows; a column `x` that holds estimates is followed by x_low, x_high, x_runs.
    """
    columns = {}
    for name in table.columns:
        cells = list(table[name])
        if not any(isinstance(cell, Estimate) for cell in cells):
            columns[name] = cells
            continue
        held = [cell if isinstance(cell, Estimate) else None for cell in cells]
        columns[name] = [math.nan if one is None else one.value for one in held]
        columns[f"{name}_low"] = [None if one is None else one.low for one in held]
        columns[f"{name}_high"] = [None if one is None else one.high for one in held]
        columns[f"{name}_runs"] = [0 if one is None else one.runs for one in held]
    return pd.DataFrame(columns)


# ---------------------------------------------------------------- data


def shown(name: str, table: pd.DataFrame) -> str:
    """A table as HTML; a long one is folded away, but for what holds over all suites.

    Args:
        name: of its file.
        table: cells may be an `Estimate` or None.
    """
    if name not in TITLES:
        return f"<p class=key>The numbers are in tables/{escape(name)}.csv.</p>"
    if name == "movement":
        table = _across(
            table,
            ["suite", "method"],
            lambda entry: f"{LABELS[entry['measure']]}, {_WHEN[entry['when']]}",
        )
    if name == "tuned":
        table = _across(table, ["suite", "arm"], lambda entry: str(entry["number"]))
    title = escape(TITLES[name])
    if len(table) <= _LONG:
        return f"<h4>{title}</h4>{_table(table)}"
    rows = f"{len(table)} rows"
    together = table[table["suite"] == TOGETHER].drop(columns="suite")
    if together.empty:
        return f"<details><summary>{title} ({rows})</summary>{_table(table)}</details>"
    shown = _table(together.dropna(axis="columns", how="all"))
    return (
        f"<h4>{title}</h4>{shown}"
        f"<details><summary>The same on every suite ({rows})</summary>{_table(table)}</details>"
    )


def _across(
    table: pd.DataFrame, rows: list[str], head: Callable[[dict[Any, Any]], str]
) -> pd.DataFrame:
    """The column value with a row for each of `rows` and a column for each head, as they come."""
    wide: dict[tuple[Any, ...], dict[Any, Any]] = {}
    for entry in table.to_dict("records"):
        row = wide.setdefault(tuple(entry[key] for key in rows), {key: entry[key] for key in rows})
        row[head(entry)] = entry["value"]
    return pd.DataFrame(list(wide.values()))


def _table(table: pd.DataFrame) -> str:
    columns = list(table.columns)
    texts = {
        column
        for column in columns
        if all(isinstance(cell, str) or _absent(cell) for cell in table[column])
    }
    head = "".join(
        f"<th scope=col{' class=text' * (column in texts)}>"
        f"{escape(_HEADS.get(column, column.replace('_', ' ')))}</th>"
        for column in columns
    )
    rows = []
    for entry in table.to_dict("records"):
        word = entry.get("shown")
        kind = word if word in ("better", "worse") else "open"
        cells = [f"<th scope=row>{escape(str(entry[columns[0]]))}</th>"]
        for column in columns[1:]:
            klass = "word" if column == "shown" else "text" if column in texts else ""
            cells.append(_cell(entry[column], klass, signed=column == "difference"))
        rows.append(f"<tr class={kind}>{''.join(cells)}</tr>")
    return (
        f"<div class=wide><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(value: Any, klass: str, signed: bool) -> str:
    start = f"<td class={klass}>" if klass else "<td>"
    if _absent(value):
        return f"{start}{MISSING}</td>"
    if isinstance(value, Estimate):
        text, _, interval = estimate(value, signed=signed).partition(" ")
        small = f"<small>{escape(interval)}</small>" if interval else ""
        return f"{start}{escape(text)}{small}</td>"
    if isinstance(value, Real):
        text = f"{float(value):.4g}".replace("-", "\N{MINUS SIGN}")
        return f"{start}{escape(text)}</td>"
    return f"{start}{escape(str(value))}</td>"


def _absent(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))
