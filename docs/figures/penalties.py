"""Draws docs/figures/penalties.svg: three penalties of equal stiffness, and their pulls.

Run from the repository's root: python docs/figures/penalties.py
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from gtr.objective import Bump, Gaussian, Quadratic, defaults, half_square

STIFFNESS, RADIUS = defaults.STIFFNESS, defaults.RADIUS

# Okabe and Ito's colours, and a line style each, so that colour is not needed to tell them apart.
PENALTIES = (
    ("Quadratic (monotone)", Quadratic(STIFFNESS), "#D55E00", "--"),
    ("Gaussian", Gaussian(STIFFNESS, RADIUS), "#0072B2", "-"),
    ("Bump", Bump(STIFFNESS, RADIUS), "#009E73", "-."),
)


def main() -> None:
    """Writes the figure beside this script."""
    matplotlib.rcParams.update({"svg.hashsalt": "gtr", "svg.fonttype": "path", "font.size": 9})
    log_ratio = np.linspace(-2, 2, 1601)
    divergences, weights = half_square(log_ratio)[:, None], np.ones(1)
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    value, pull = figure.subplots(1, 2)
    for label, penalty, colour, style in PENALTIES:
        values = penalty(divergences, weights)
        value.plot(log_ratio, values, style, color=colour, label=label)
        pull.plot(log_ratio, np.gradient(values, log_ratio), style, color=colour)
    value.axhline(STIFFNESS * RADIUS**2, color="grey", linewidth=0.7, linestyle=":")
    value.text(0, STIFFNESS * RADIUS**2 + 0.004, "stiffness radius²", color="dimgrey", ha="center")
    value.set(ylim=(0, 0.2), ylabel="penalty", title="Penalty")
    strongest = Gaussian(STIFFNESS, RADIUS).strongest_pull
    pull.axhline(strongest, color="grey", linewidth=0.7, linestyle=":")
    pull.text(-1.95, strongest + 0.012, "escape advantage", color="dimgrey")
    for edge in (-RADIUS, RADIUS):
        pull.axvline(edge, color="grey", linewidth=0.7, linestyle=":")
    pull.text(-RADIUS - 0.05, 0.27, "radius", color="dimgrey", ha="right")
    pull.set(ylim=(-0.3, 0.3), ylabel="slope of the penalty", title="Pull")
    for axes in (value, pull):
        axes.set(xlim=(-2, 2), xlabel="log-ratio to the anchor (nats)")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = value.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    path = Path(__file__).with_suffix(".svg")
    figure.savefig(path, metadata={"Date": None})
    # Matplotlib ends lines of path data with a space.
    lines = [line.rstrip() for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
