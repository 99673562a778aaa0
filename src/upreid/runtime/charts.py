"""Charts of lines and histograms for pages: coordinates for `templates/charts.html`, with their numbers in words and in a table.

The page's style sheet gives the colours, so that a chart can be read in the dark; every line has its own dashes, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

Points = Sequence[tuple[float, float]]

NUM_STYLES = 6
"""Number of colours and dashes in the style sheet."""
MOST_POINTS = 240
"""Number of points of a line that a page holds; of more, neighbours are averaged."""
NUM_ROWS = 9
"""Number of rows of the table beside a chart."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a chart: points in ascending order of x."""

    label: str
    points: Points
    style: int = 0
    """Number of colour and dashes: the same for one run in all charts."""
    is_steps: bool = False
    """Whether values hold from a point to the next one, as in a histogram."""
    behind: Points = ()
    """Points of a thin line behind this one, before they were smoothed."""

    @property
    def css(self) -> str:
        """Return the class of colour and dashes."""
        return f"s{self.style % NUM_STYLES}"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """One panel."""

    title: str
    x_label: str
    lines: Sequence[Line]
    marks: dict[str, float] = field(default_factory=dict)
    """Vertical lines by their label."""
    from_zero: bool = False
    """Whether the vertical axis begins at 0."""
    y_ends: tuple[float, float] | None = None
    """Ends of the vertical axis; where not given, those of the lines."""
    note: str = ""
    width: int = 420
    height: int = 230
    left: int = 50
    right: int = 12
    top: int = 12
    bottom: int = 36

    @property
    def x_range(self) -> tuple[float, float]:
        """Return the ends of the horizontal axis."""
        return widened([x for line in self.lines for x, _ in line.points] + list(self.marks.values()))

    @property
    def y_range(self) -> tuple[float, float]:
        """Return the ends of the vertical axis."""
        if self.y_ends is not None:
            return self.y_ends
        values = [y for line in self.lines for y in values_of(line.points)]
        low, high = widened(values + [0.0] * self.from_zero)
        return (low, high) if self.from_zero and min(values, default=0.0) >= 0 else (low - 0.04 * (high - low), high)

    def x(self, value: float) -> float:
        """Return where a value lies on the horizontal axis."""
        low, high = self.x_range
        return round(self.left + (value - low) / (high - low) * (self.width - self.left - self.right), 1)

    def y(self, value: float) -> float:
        """Return where a value lies on the vertical axis; beyond its ends it lies at them."""
        low, high = self.y_range
        share = min(max((value - low) / (high - low), 0.0), 1.0)
        return round(self.height - self.bottom - share * (self.height - self.top - self.bottom), 1)

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Return place and label of the ticks of the horizontal axis; there is no half of a step or an epoch."""
        is_whole = all(float(x).is_integer() for line in self.lines for x, _ in line.points)
        places = [value for value in ticks(*self.x_range, count=5) if not is_whole or float(value).is_integer()]
        return [(self.x(value), written(value)) for value in places]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Return place and label of the ticks of the vertical axis."""
        return [(self.y(value), written(value)) for value in ticks(*self.y_range, count=4)]

    def path(self, points: Points, *, is_steps: bool = False) -> str:
        """Return the points as the path of an SVG element."""
        places = [(self.x(x), self.y(y)) for x, y in points]
        if is_steps:
            places = places[:1] + [corner for (_, y), (x, new) in pairwise(places) for corner in ((x, y), (x, new))]
        return "M" + "L".join(f"{x:g} {y:g}" for x, y in places)

    @property
    def description(self) -> str:
        """Describe the chart for who cannot see it."""
        told = [f"{self.title}, by {self.x_label}."]
        for line in self.lines:
            if not line.points:
                continue
            (lowest, low), (highest, high) = (some(line.points, key=lambda point: point[1]) for some in (min, max))
            (first, begin), (last, end) = line.points[0], line.points[-1]
            told.append(
                f"{line.label}: {written(begin)} at {written(first)}, {written(end)} at {written(last)}; "
                f"lowest {written(low)} at {written(lowest)}, highest {written(high)} at {written(highest)}."
            )
        told += [f"{label} at {written(place)}." for label, place in self.marks.items()]
        return " ".join(told)

    @property
    def rows(self) -> list[list[str]]:
        """Return a table of the chart: x, and the value of each line there; a dash where it has none."""
        places = sorted({x for line in self.lines for x, _ in line.points})
        if len(places) > NUM_ROWS:
            places = [places[round(number * (len(places) - 1) / (NUM_ROWS - 1))] for number in range(NUM_ROWS)]
        return [[written(x), *(value_at(line.points, x) for line in self.lines)] for x in places]


def values_of(points: Points) -> list[float]:
    """Return the heights of points."""
    return [y for _, y in points]


def value_at(points: Points, place: float) -> str:
    """Write the height of the point nearest to a place; a dash where the line does not reach it."""
    if not points or not points[0][0] <= place <= points[-1][0]:
        return "-"
    return written(min(points, key=lambda point: abs(point[0] - place))[1])


def widened(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis that holds some values; they differ also where the values do not."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2)


def ticks(low: float, high: float, *, count: int) -> list[float]:
    """Return about `count` round values from `low` to `high`: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def written(value: float) -> str:
    """Write a number with three significant digits, or as a whole number from 1,000 on."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value else "0"


def thinned(points: Points, most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Average neighbours until there are at most so many points; the first and the last stay."""
    if len(points) <= most:
        return list(points)
    inner = points[1:-1]
    edges = [round(number * len(inner) / (most - 2)) for number in range(most - 1)]
    groups = [inner[first:last] for first, last in pairwise(edges)]
    means = [(fmean(x for x, _ in group), fmean(y for _, y in group)) for group in groups]
    return [points[0], *means, points[-1]]


def smooth(points: Points, width: int) -> list[tuple[float, float]]:
    """Return the mean over the last `width` points at every point."""
    values = values_of(points)
    return [(x, fmean(values[max(0, place - width + 1) : place + 1])) for place, (x, _) in enumerate(points)]


def histogram(counts: Sequence[float], edges: Sequence[float], label: str, style: int) -> Line:
    """Return counts between edges as the outline of a histogram, in percent of all."""
    whole = sum(counts) or 1.0
    points = [(edge, 100.0 * count / whole) for edge, count in zip(edges, counts, strict=False)]
    return Line(label=label, points=[*points, (edges[-1], 0.0)], style=style, is_steps=True)
