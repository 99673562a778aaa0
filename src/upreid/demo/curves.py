"""Curves of a tour as SVG, for the page."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "upreid"  # the same curves give the same file

from matplotlib.figure import Figure  # noqa: E402 - after the backend is chosen

from upreid.demo.places import STARTS, Places  # noqa: E402
from upreid.runtime.journal import read_journal  # noqa: E402

STYLES = {"moco": ("#7a5195", "--"), "upreid": ("#00798c", "-"), "random": ("#8d8d8d", ":")}
LABELS = {"contrast": "instance contrast", "consistency": "global consistency", "intrinsic": "intrinsic contrast"}


def loss_curves(places: Places) -> str:
    """Each loss term against the step, one panel a term."""
    journals = {start: read_journal(places.pretrained(start) / "metrics.jsonl") for start in ("moco", "upreid")}
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    for axes, (term, label) in zip(figure.subplots(1, len(LABELS)), LABELS.items(), strict=True):
        for start, lines in journals.items():
            points = [(line["step"], line[term]) for line in lines if term in line]
            if points:
                draw(axes, start, smooth(points))
        finish(axes, label, "step")
    return as_svg(figure)


def monitor_curve(places: Places) -> str:
    """mAP of the pre-trained encoders as they are, without fine-tuning, against the step."""
    figure = Figure(figsize=(5, 2.8), layout="constrained")
    axes = figure.subplots()
    for start in ("moco", "upreid"):
        lines = read_journal(places.pretrained(start) / "metrics.jsonl")
        draw(axes, start, [(line["step"], line["mAP"]) for line in lines if "mAP" in line], marker="o")
    finish(axes, "mAP without fine-tuning (%)", "step")
    return as_svg(figure)


def smooth(points: Sequence[tuple[int, float]], width: int = 15) -> list[tuple[int, float]]:
    """Mean over the last `width` points."""
    values = [value for _, value in points]
    return [
        (step, sum(values[max(0, i - width + 1) : i + 1]) / min(i + 1, width)) for i, (step, _) in enumerate(points)
    ]


def draw(axes: Any, start: str, points: Sequence[tuple[int, float]], **style: Any) -> None:
    """One line; colour and dashes both tell the methods apart."""
    colour, dashes = STYLES[start]
    steps, values = zip(*points, strict=True) if points else ((), ())
    axes.plot(steps, values, dashes, color=colour, label=STARTS[start], linewidth=1.6, markersize=3.5, **style)


def finish(axes: Any, title: str, across: str) -> None:
    """Title, labels, legend."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(across, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)


def as_svg(figure: Figure) -> str:
    """The figure as an SVG element, ready to stand in a page."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
