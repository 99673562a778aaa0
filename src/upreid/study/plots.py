"""Plots of a study as SVG files: a row for every arm or pair, a point for every seed, below them the mean and its interval."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

from upreid.runtime.charts import ticks, widened, written
from upreid.runtime.files import write_text
from upreid.study.analysis import LABELS, StudyResults, interval

PANELS_A_ROW = 3
PANEL, ROW, TOP, BOTTOM, GAP, LETTER = 260, 26, 34, 30, 26, 6.6
"""Width of a panel, height of a row, room above and below the rows and between panels, and width of a letter, in pixels."""
STYLE = """
  svg { background: #ffffff; color: #1d2a35; --soft: #55636f; --line: #d9e0e5; --mean: #00798c; color-scheme: light dark; }
  @media (prefers-color-scheme: dark) {
    svg { background: #12181d; color: #e4eaef; --soft: #a3b0bb; --line: #35414b; --mean: #4cc3d5; } }
  text { font: 12px system-ui, sans-serif; fill: currentColor; } .tick { fill: var(--soft); } .title { font-weight: 600; }
  line { stroke: var(--line); } .zero { stroke: var(--soft); } .seed { fill: var(--soft); opacity: .8; }
  .mean { fill: var(--mean); stroke: var(--mean); stroke-width: 2; }
"""


def write_plots(study: StudyResults, out: Path) -> None:
    """Write two SVGs for every stage, one of the arms and one of their paired differences, with a panel for every metric."""
    for stage in [stage for stages in study.stages().values() for stage in stages]:
        metrics = study.metrics(stage)
        arms = {
            name: {arm: list(study.scores(stage, arm, name).values()) for arm in study.grid.arms} for name in metrics
        }
        pairs = {name: study.differences(stage, name) for name in metrics}
        write_text(out / f"{stage}.svg", draw(stage, arms))
        if any(some for row in pairs.values() for some in row.values()):
            write_text(out / f"{stage}-differences.svg", draw(f"{stage}: differences", pairs, is_difference=True))


def draw(title: str, values: Mapping[str, Mapping[str, list[float]]], *, is_difference: bool = False) -> str:
    """Draw a panel for each metric: name -> label -> one value for each seed."""
    panels = {metric: {label: some for label, some in row.items() if some} for metric, row in values.items()}
    names = [named(label, some) for row in panels.values() for label, some in row.items()]
    left = LETTER * max(map(len, names), default=0) + GAP
    width, height = left + PANEL, TOP + ROW * max(map(len, panels.values()), default=0) + BOTTOM
    columns = min(PANELS_A_ROW, max(len(panels), 1))
    parts: list[str] = []
    for place, (metric, row) in enumerate(panels.items()):
        down, across = divmod(place, columns)
        parts += [f'<g transform="translate({across * width:g} {down * height:g})">']
        parts += [*panel(LABELS.get(metric, metric), row, left, is_difference=is_difference), "</g>"]
    whole = f"{columns * width + GAP:g}", f"{-(-len(panels) // columns) * height:g}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole[0]} {whole[1]}" width="{whole[0]}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"


def panel(title: str, row: Mapping[str, list[float]], left: float, *, is_difference: bool) -> list[str]:
    """Draw a panel: points of the seeds and, below them, a large point and a bar for their mean and its 95 % interval."""
    means = {label: interval(some) for label, some in row.items()}
    ends = [end for one in means.values() for end in (one.low, one.high) if end is not None]
    low, high = widened([*(value for some in row.values() for value in some), *ends, *[0.0] * is_difference])
    low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
    bottom = TOP + ROW * len(row)

    def x(value: float) -> str:
        return f"{left + (value - low) / (high - low) * PANEL:.1f}"

    parts = [f'<text class="title" x="{left:g}" y="18">{escape(title)}</text>']
    for value in ticks(low, high, count=4):
        parts.append(f'<line x1="{x(value)}" x2="{x(value)}" y1="{TOP - 6}" y2="{bottom}"/>')
        parts.append(
            f'<text class="tick" x="{x(value)}" y="{bottom + 16}" text-anchor="middle">{written(value)}</text>'
        )
    if is_difference:
        parts.append(f'<line class="zero" x1="{x(0.0)}" x2="{x(0.0)}" y1="{TOP - 6}" y2="{bottom}"/>')
    for place, (label, some) in enumerate(row.items()):
        middle, mean = TOP + ROW * place + ROW // 2, means[label]
        parts.append(f'<text x="{left - 10:g}" y="{middle + 4}" text-anchor="end">{escape(named(label, some))}</text>')
        parts += [f'<circle class="seed" cx="{x(value)}" cy="{middle - 5}" r="2.5"/>' for value in some]
        parts.append(f'<circle class="mean" cx="{x(mean.mean)}" cy="{middle + 4}" r="2.5"/>')
        if mean.low is not None and mean.high is not None:
            parts.append(f'<path class="mean" d="M{x(mean.low)} {middle + 4}H{x(mean.high)}"/>')
    return parts


def named(label: str, values: list[float]) -> str:
    """Name a row by its arm or pair and the number of its seeds."""
    return f"{label} ({len(values)})"
