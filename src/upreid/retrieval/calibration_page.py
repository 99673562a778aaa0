"""The page of a calibration: the distances of both kinds of pairs, the threshold, and what it costs."""

from collections.abc import Callable, Sequence
from typing import Any

from upreid.runtime.pages import render

WIDTH, HEIGHT = 640, 220
"""Size of a picture in its own units; it fits the page."""
Across = Callable[[float], float]
"""From a distance to its place across a picture."""
KINDS = {"image": "Two images", "tracklet": "Means over two tracklets"}


def calibration_page(result: dict[str, Any], *, encoder: str) -> str:
    """Return a self-contained page of what `upreid calibrate` found."""
    calibration = result["calibration"]
    parts = [
        {
            "title": title,
            "threshold": calibration[kind],
            "details": result["details"][kind],
            "histogram": histogram(result["details"][kind]["test"]["histogram"], calibration[kind]["distance"]),
            "curve": curve(result["details"][kind]["test"]["curve"], calibration[kind]["distance"]),
        }
        for kind, title in KINDS.items()
        if calibration.get(kind)
    ]
    return render("calibration.html", calibration=calibration, parts=parts, encoder=encoder, size=(WIDTH, HEIGHT))


def histogram(counts: dict[str, list[float]], threshold: float) -> dict[str, Any]:
    """Return the outlines of both histograms, each with its highest bar as high as the picture, and where the threshold is."""
    edges = counts["distance"]
    across = scale(edges)
    heights = {
        name: [HEIGHT * (1 - count / max(max(counts[name]), 1)) for count in counts[name]]
        for name in ("one_person", "two_people")
    }
    paths = {name: outline(edges, own, across) for name, own in heights.items()}
    return {**paths, "at": across(threshold), "ticks": ticks(edges, across)}


def outline(edges: Sequence[float], heights: Sequence[float], across: Across) -> str:
    """Draw the bars of a histogram as one closed path."""
    bars = "".join(f"V{height:.1f}H{across(right):.1f}" for right, height in zip(edges[1:], heights, strict=True))
    return f"M{across(edges[0]):.1f},{HEIGHT}{bars}V{HEIGHT}Z"


def curve(points: dict[str, list[float]], threshold: float) -> dict[str, Any]:
    """Return both error rates as lines over the distance, and where the threshold is."""
    across = scale(points["distance"])
    lines = {
        name: "M"
        + "L".join(
            f"{across(distance):.1f},{HEIGHT * (1 - rate):.1f}"
            for distance, rate in zip(points["distance"], points[name], strict=True)
        )
        for name in ("false_accept", "false_reject")
    }
    return {**lines, "at": across(threshold), "ticks": ticks(points["distance"], across)}


def scale(distances: Sequence[float]) -> Across:
    """Return the function from a distance to its place across the picture."""
    low, high = distances[0], distances[-1]
    return lambda distance: WIDTH * min(max((distance - low) / ((high - low) or 1), 0), 1)


def ticks(distances: Sequence[float], across: Across) -> list[tuple[float, str]]:
    """Return five places on the axis with their distances."""
    low, high = distances[0], distances[-1]
    return [(across(value), f"{value:.3g}") for value in (low + (high - low) * part / 4 for part in range(5))]
