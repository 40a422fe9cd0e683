"""The table of the results, in Markdown."""

import json
from pathlib import Path
from typing import Any

import numpy

BEGIN, END = "<!-- results: written by run.py -->", "<!-- end of results -->"

Results = dict[str, Any]


def write(results: Results, json_file: Path, markdown_file: Path) -> None:
    """Write all numbers to `json_file`, and the table between the markers of `markdown_file`."""
    json_file.write_text(json.dumps(results, indent=1) + "\n")
    text = markdown_file.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    markdown_file.write_text(f"{before}{BEGIN}\n\n{table(results)}\n{END}{after}")


def table(results: Results) -> str:
    """Where and when it was measured, and a table for each environment and number of seeds."""
    machine = results["machine"]
    lines = [
        f"`{results['command']}`, {results['date']}, {machine['cores']} cores"
        f" ({machine['processor']}), {machine['memory_gb']:.0f} GB, Python {machine['python']};"
        f" load before the start {machine['load_before']:.1f}.",
        "",
    ]
    for cell in results["cells"]:
        lines += [*_cell(cell, results["reference"]), ""]
    lines += ["Versions:", ""]
    lines += [
        f"- {name}: " + ", ".join(f"{package} {version}" for package, version in versions.items())
        for name, versions in _versions(results).items()
    ]
    return "\n".join(lines) + "\n"


def _cell(cell: Results, reference: str) -> list[str]:
    runs = f"{cell['seeds']} seed" + ("s at once" if cell["seeds"] > 1 else "")
    workers = cell["workers"]
    lines = [
        f"### {cell['environment']}, {runs}",
        "",
        f"| trainer | 1000 steps/s | speed of {reference} / its speed | compile, s | peak, MB |",
        "|---|---|---|---|---|",
    ]
    for name, result in workers.items():
        if "failure" in result:
            lines.append(f"| {name} | {result['failure']} | | | |")
            continue
        speeds = [speed / 1000 for speed in result["steps_per_s"]]
        ratios = ""
        if reference in workers and "failure" not in workers[reference]:
            pairs = zip(workers[reference]["steps_per_s"], result["steps_per_s"], strict=True)
            ratios = _spread([ours / theirs for ours, theirs in pairs], ".2f")
        lines.append(
            f"| {name} | {_spread(speeds, '.1f')} | {ratios}"
            f" | {_spread(result['compile_s'], '.1f')} | {result['peak_mb']:.0f} |"
        )
    return lines


def _spread(numbers: list[float], form: str) -> str:
    low, middle, high = numpy.quantile(numbers, [0.25, 0.5, 0.75])
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def _versions(results: Results) -> dict[str, dict[str, str]]:
    return {
        name: result["versions"]
        for cell in results["cells"]
        for name, result in cell["workers"].items()
        if "versions" in result
    }
