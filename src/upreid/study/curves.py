"""Curves of a study as SVG files: at each place a point for every seed, their mean, and its interval; a line joins the means."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from statistics import fmean

from upreid.runtime.charts import Chart, Line, widened
from upreid.runtime.files import write_text
from upreid.study.analysis import LABELS, StudyResults, interval
from upreid.study.plots import PANELS_A_ROW, STYLE

LINES = """
  .s0 { color: #00798c; } .s1 { color: #b5520f; } .s2 { color: #6a4c93; }
  .s3 { color: #55636f; } .s4 { color: #1d2a35; } .s5 { color: #8a7200; }
  @media (prefers-color-scheme: dark) {
    .s0 { color: #4cc3d5; } .s1 { color: #f2a65a; } .s2 { color: #c3a6e8; }
    .s3 { color: #a3b0bb; } .s4 { color: #e4eaef; } .s5 { color: #e0c85a; } }
  path { fill: none; stroke: currentColor; stroke-width: 2; } path.interval { stroke-width: 1; opacity: .6; }
  .s1 path.line { stroke-dasharray: 7 3; } .s2 path.line { stroke-dasharray: 2 3; } .s3 path.line { stroke-dasharray: 9 3 2 3; }
  .s4 path.line { stroke-dasharray: 4 4; } .s5 path.line { stroke-dasharray: 12 4; }
  circle.seed, circle.mean { fill: currentColor; stroke: none; }
"""
KEY = 18
"""Height of a row that names a line, in pixels."""
ROOM = 14

Measured = dict[str, list[tuple[float, list[float]]]]
"""Line -> place on the axis and a value for each seed there, in ascending order of places."""


def write_curves(study: StudyResults, out: Path) -> None:
    """Write an SVG for all curves of every stage that has results."""
    for stage in [stage for stages in study.stages().values() for stage in stages]:
        for name in study.grid.curves:
            if drawn := draw_curves(study, stage, name):
                write_text(out / f"{stage}-{name}.svg", drawn)


def draw_curves(study: StudyResults, stage: str, name: str) -> str | None:
    """Draw the curves of one name for a stage, a panel for each metric; None where no arm of theirs has a result."""
    curves = study.grid.curves[name]
    panels = {metric: measured(study, stage, metric, curves.lines) for metric in study.metrics(stage)}
    panels = {metric: lines for metric, lines in panels.items() if lines}
    if not panels:
        return None
    charts = [chart(LABELS.get(metric, metric), curves.axis, lines) for metric, lines in panels.items()]
    columns, rows = min(PANELS_A_ROW, len(charts)), -(-len(charts) // PANELS_A_ROW)
    high = charts[0].height + ROOM + KEY * max(map(len, panels.values()))
    parts: list[str] = []
    for place, (drawn, lines) in enumerate(zip(charts, panels.values(), strict=True)):
        down, across = divmod(place, columns)
        parts += [f'<g transform="translate({across * drawn.width} {down * high})">', *panel(drawn, lines), "</g>"]
    width, height = columns * charts[0].width, rows * high
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">'
    told = " ".join(drawn.description for drawn in charts)
    title = f"<title>{escape(f'{stage}: {name}')}</title><desc>{escape(told)}</desc>"
    return "\n".join([head, title, f"<style>{STYLE}{LINES}</style>", *parts, "</svg>"]) + "\n"


def measured(study: StudyResults, stage: str, metric: str, lines: Mapping[str, Mapping[str, float | int]]) -> Measured:
    """Return the values of every arm that has results."""
    found: Measured = {}
    for line, places in lines.items():
        scores = {arm: list(study.scores(stage, arm, metric).values()) for arm in places}
        points = [(float(places[arm]), some) for arm, some in scores.items() if some]
        if points:
            found[line] = sorted(points, key=lambda point: point[0])
    return found


def chart(title: str, axis: str, lines: Measured) -> Chart:
    """Lay a panel out; its vertical axis holds every seed, and an interval of few seeds may reach beyond it."""
    low, high = widened([value for points in lines.values() for _, values in points for value in values])
    return Chart(
        title=title,
        x_label=axis,
        lines=[
            Line(label=f"{label} ({seeds(points)})", points=[(x, fmean(values)) for x, values in points], style=style)
            for style, (label, points) in enumerate(lines.items())
        ],
        y_ends=(low - 0.1 * (high - low), high + 0.1 * (high - low)),
        top=30,
        bottom=44,
    )


def seeds(points: list[tuple[float, list[float]]]) -> str:
    """Say how many seeds the points of a line have."""
    counts = [len(values) for _, values in points]
    return "seeds: " + " to ".join(str(count) for count in dict.fromkeys((min(counts), max(counts))))


def panel(drawn: Chart, lines: Measured) -> list[str]:
    """Draw a panel and, below it, the names of its lines."""
    left, right, top, bottom = drawn.left, drawn.width - drawn.right, drawn.top, drawn.height - drawn.bottom
    parts = [f'<text class="title" x="{left}" y="18">{escape(drawn.title)}</text>']
    for y, label in drawn.y_ticks:
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{left - 6}" y="{y + 4}" text-anchor="end">{label}</text>')
    for x, label in drawn.x_ticks:
        parts.append(f'<line x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
    parts.append(f'<text class="tick" x="{right}" y="{bottom + 34}" text-anchor="end">{escape(drawn.x_label)}</text>')
    for place, (line, points) in enumerate(zip(drawn.lines, lines.values(), strict=True)):
        parts += [f'<g class="{line.css}">', f'<path class="line" d="{drawn.path(line.points)}"/>']
        for x, values in points:
            one = interval(values)
            parts += [f'<circle class="seed" cx="{drawn.x(x)}" cy="{drawn.y(value)}" r="2"/>' for value in values]
            parts.append(f'<circle class="mean" cx="{drawn.x(x)}" cy="{drawn.y(one.mean)}" r="3.5"/>')
            if one.low is not None and one.high is not None:
                parts.append(f'<path class="interval" d="M{drawn.x(x)} {drawn.y(one.low)}V{drawn.y(one.high)}"/>')
        key = drawn.height + KEY * place + KEY // 2
        parts.append(f'<path class="line" d="M{left} {key}h34"/>')
        parts += [f'<text x="{left + 42}" y="{key + 4}">{escape(line.label)}</text>', "</g>"]
    return parts
