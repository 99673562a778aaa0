"""What a run's journal says over its steps: loss terms, learning rate, throughput, and the retrieval that watched it."""

from collections.abc import Callable, Sequence
from functools import partial

from upreid.methods import loss_names
from upreid.report.runs import ReportedRun
from upreid.retrieval.settings import METRIC_LABELS
from upreid.runtime.charts import Chart, Line, Points, smooth, thinned

WINDOW = 25
"""Most steps over which a loss is averaged."""
LEAST_SECONDS, MOST_MOMENTS = 0.5, 60
"""Seconds, and parts of a run, over which a throughput is measured: losses are read some steps at a time."""
WATCHED = ("mAP", "rank1")


def charts_of(runs: Sequence[ReportedRun]) -> list[Chart]:
    """Draw every loss that one of the runs has, then learning rate, throughput and the monitor, all runs in one panel."""
    names = dict.fromkeys(name for run in runs for name in terms_of(run))
    labels = {name: label for run in reversed(runs) for name, label in loss_names(run.config).items()}
    charts = [
        chart(runs, labels.get(name, name), f"loss “{name}”, not weighted", partial(series, name=name), is_loss=True)
        for name in names
    ]
    charts.append(chart(runs, "learning rate", "", partial(series, name="lr"), from_zero=True))
    if any(run.batch for run in runs):
        charts.append(chart(runs, "images per second", "time of the monitor left out", throughput, from_zero=True))
    for metric in WATCHED:
        if any(series(run, metric) for run in runs):
            note = "retrieval while training, with the encoder as it was"
            charts.append(
                chart(runs, f"{METRIC_LABELS[metric]} (%)", note, partial(series, name=metric), from_zero=True)
            )
    return charts


def chart(
    runs: Sequence[ReportedRun],
    title: str,
    note: str,
    points_of: Callable[[ReportedRun], Points],
    *,
    x_label: str = "step",
    is_loss: bool = False,
    from_zero: bool = False,
) -> Chart:
    """Draw one number of several runs, by default against the step; a loss is smoothed, with what the journal says behind it."""
    lines: list[Line] = []
    for style, run in enumerate(runs):
        points = points_of(run)
        if points and is_loss:
            width = min(WINDOW, len(points) // 20 + 1)
            smoothed = thinned(smooth(points, width))
            lines.append(Line(label=run.name, points=smoothed, style=style, behind=thinned(points)))
        elif points:
            lines.append(Line(label=run.name, points=thinned(points), style=style))
    return Chart(title=title, x_label=x_label, note=note, lines=lines, from_zero=from_zero)


def terms_of(run: ReportedRun) -> list[str]:
    """Name the losses in a journal."""
    training = (line for line in run.journal if "lr" in line)
    return list(dict.fromkeys(name for line in training for name in line if name not in ("step", "lr", "seconds")))


def series(run: ReportedRun, name: str) -> list[tuple[float, float]]:
    """Return a number of a journal by its step, where it is finite."""
    return [(float(line["step"]), float(line[name])) for line in run.journal if isinstance(line.get(name), int | float)]


def throughput(run: ReportedRun) -> list[tuple[float, float]]:
    """Return images per second, a point for about a sixtieth of the run; a resumed run's clock begins anew."""
    gap = max(LEAST_SECONDS, run.minutes * 60 / MOST_MOMENTS)
    points: list[tuple[float, float]] = []
    start: tuple[int, float] | None = None
    for line in run.journal:
        step, seconds = line["step"], line.get("seconds")
        if not isinstance(seconds, int | float):
            continue
        if start is None or "lr" not in line or seconds < start[1]:  # the monitor's time does not count
            start = step, seconds
        elif seconds - start[1] >= gap and step > start[0]:
            points.append((float(step), (step - start[0]) * (run.batch or 0) / (seconds - start[1])))
            start = step, seconds
    return points
