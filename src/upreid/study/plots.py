"""Plots of a study: a point a seed, the mean of each arm, and how sure it is."""

import io
import math
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "upreid"  # the same points give the same file

from matplotlib.figure import Figure  # noqa: E402 - after the backend is chosen

from upreid.runtime.files import write_text  # noqa: E402
from upreid.study.findings import LABELS, Findings  # noqa: E402
from upreid.study.places import Places  # noqa: E402
from upreid.study.statistics import interval  # noqa: E402

PANELS_A_ROW = 3
COLOUR, POINT = "#00798c", "#8d8d8d"


def write_plots(findings: Findings, places: Places) -> None:
    """Two SVGs a stage, arms and their paired differences, with a panel a metric."""
    for stage in findings.stages():
        metrics = findings.metrics(stage)
        arms = {
            name: {arm: list(findings.scores(stage, arm, name).values()) for arm in findings.grid.arms}
            for name in metrics
        }
        pairs = {name: findings.differences(stage, name) for name in metrics}
        write_text(places.out / f"{stage}.svg", as_svg(draw(arms)))
        if any(some for row in pairs.values() for some in row.values()):
            write_text(places.out / f"{stage}-differences.svg", as_svg(draw(pairs, is_difference=True)))


def draw(values: dict[str, dict[str, list[float]]], *, is_difference: bool = False) -> Figure:
    """A panel for each metric: name -> label -> one value a seed."""
    columns = min(PANELS_A_ROW, len(values))
    rows = math.ceil(len(values) / columns)
    labels = {label for row in values.values() for label, some in row.items() if some}
    figure = Figure(figsize=(4.4 * columns, (0.8 + 0.3 * len(labels)) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (metric, row) in zip(panels, values.items(), strict=False):
        panel(axes, metric, {label: some for label, some in row.items() if some})
        if is_difference:
            axes.axvline(0, color=POINT, linewidth=0.8)
    for axes in figure.axes[len(values) :]:
        axes.remove()
    return figure


def panel(axes: Any, metric: str, row: dict[str, list[float]]) -> None:
    """Small points for seeds; below them a large one and a bar, for their mean and its 95 % interval."""
    for place, values in enumerate(row.values()):
        found = interval(values)
        axes.plot(values, [place - 0.18] * len(values), ".", color=POINT, markersize=5)
        axes.errorbar(found.mean, place + 0.1, xerr=found.half_width, fmt="o", color=COLOUR, markersize=4, capsize=3)
    axes.set_yticks(range(len(row)), [f"{label} ({len(values)})" for label, values in row.items()])
    axes.set_ylim(len(row) - 0.4, -0.6)
    axes.set_title(LABELS.get(metric, metric), fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def as_svg(figure: Figure) -> str:
    """The figure as the text of a file."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
