import math
import re

import pytest

from upreid.runtime.charts import Chart, Line, histogram, smooth, thinned, ticks, written


def test_ticks_are_round_and_inside_the_axis() -> None:
    assert ticks(0.0, 920.0, count=5) == [0, 200, 400, 600, 800]
    assert ticks(-0.3, 0.3, count=4) == [-0.2, 0.0, 0.2]
    assert ticks(1e-5, 3.2e-5, count=4) == [1e-5, 2e-5, 3e-5]
    assert [written(value) for value in (0.00065, 12.0, 1234.6, 0.0, -3.14159)] == [
        "0.00065",
        "12",
        "1,235",
        "0",
        "-3.14",
    ]


@pytest.mark.parametrize(
    "points", [[(0.0, 1.0)], [(0.0, 2.0), (10.0, 2.0)], [(0.0, -1.0), (5.0, 3.0), (10.0, 1e6)], []]
)
def test_every_line_stays_inside_its_panel(points: list[tuple[float, float]]) -> None:
    chart = Chart(title="t", x_label="step", lines=[Line(label="a", points=points)], marks={"here": 4.0})
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", chart.path(points)) if points]
    for x, y in zip(numbers[::2], numbers[1::2], strict=True):
        assert chart.left <= x <= chart.width - chart.right
        assert chart.top <= y <= chart.height - chart.bottom
    assert chart.x_ticks
    assert all(math.isfinite(place) for place, _ in chart.x_ticks + chart.y_ticks)


def test_the_words_and_the_table_hold_what_the_lines_show() -> None:
    falling = Line(label="a", points=[(0.0, 4.0), (1.0, 1.0), (2.0, 2.0)])
    short = Line(label="b", points=[(1.0, 8.0)])
    chart = Chart(title="contrast", x_label="step", lines=[falling, short], marks={"limit": 1.5})
    assert "a: 4 at 0, 2 at 2; lowest 1 at 1, highest 4 at 0." in chart.description
    assert "limit at 1.5." in chart.description
    assert chart.rows == [["0", "4", "-"], ["1", "1", "8"], ["2", "2", "-"]]


def test_thinning_keeps_the_ends_and_the_mean() -> None:
    points = [(float(step), float(step % 7)) for step in range(5000)]
    few = thinned(points, most=100)
    assert len(few) == 100
    assert (few[0], few[-1]) == (points[0], points[-1])
    assert sum(y for _, y in few) / 100 == pytest.approx(3, abs=0.1)
    assert thinned(points[:100], most=100) == points[:100]


def test_smoothing_is_a_mean_over_what_came_before() -> None:
    assert smooth([(0.0, 1.0), (1.0, 3.0), (2.0, 8.0)], 2) == [(0.0, 1.0), (1.0, 2.0), (2.0, 5.5)]


def test_a_histogram_is_in_percent_and_ends_at_nothing() -> None:
    line = histogram([1.0, 3.0], [0.0, 0.5, 1.0], "pairs", 1)
    assert line.points == [(0.0, 25.0), (0.5, 75.0), (1.0, 0.0)]
    chart = Chart(title="t", x_label="d", lines=[line], from_zero=True)
    assert chart.path(line.points, is_steps=True).count("L") == 4  # across, up, across, down
