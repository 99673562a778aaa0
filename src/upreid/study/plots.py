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
    """One SVG a stage, with a panel a metric."""
    for stage in findings.stages():
        write_text(places.out / f"{stage}.svg", as_svg(draw(findings, stage)))


def draw(findings: Findings, stage: str) -> Figure:
    """Panels of a stage."""
    metrics = findings.metrics(stage)
    columns = min(PANELS_A_ROW, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    height = 0.8 + 0.28 * len(findings.grid.arms)
    figure = Figure(figsize=(4.2 * columns, height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, metric in zip(panels, metrics, strict=False):
        panel(axes, findings, stage, metric)
    for axes in list(figure.axes)[len(metrics) :]:
        axes.remove()
    return figure


def panel(axes: Any, findings: Findings, stage: str, metric: str) -> None:
    """A row an arm: small points for seeds, a large one and a bar for mean and 95 % interval."""
    arms = [arm for arm in findings.grid.arms if findings.scores(stage, arm, metric)]
    for place, arm in enumerate(arms):
        values = list(findings.scores(stage, arm, metric).values())
        found = interval(values)
        axes.plot(values, [place] * len(values), ".", color=POINT, markersize=5)
        axes.errorbar(found.mean, place, xerr=found.half_width, fmt="o", color=COLOUR, markersize=5, capsize=3)
    axes.set_yticks(range(len(arms)), [f"{arm} ({len(findings.scores(stage, arm, metric))})" for arm in arms])
    axes.invert_yaxis()
    axes.set_title(LABELS.get(metric, metric), fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def as_svg(figure: Figure) -> str:
    """The figure as the text of a file."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
