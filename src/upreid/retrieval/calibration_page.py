"""The page of a calibration: the distances of both kinds of pairs, the threshold, and what it costs."""

from typing import Any

from upreid.runtime.charts import Chart, Line, histogram
from upreid.runtime.pages import render

KINDS = {"image": "Two images", "tracklet": "Means over two tracklets"}


def calibration_page(result: dict[str, Any], *, encoder: str) -> str:
    """Return a self-contained page of what `upreid calibrate` found."""
    calibration = result["calibration"]
    parts = [
        {
            "title": title,
            "threshold": calibration[kind],
            "details": result["details"][kind],
            "charts": charts(result["details"][kind]["test"], calibration[kind]["distance"], calibration["metric"]),
        }
        for kind, title in KINDS.items()
        if calibration.get(kind)
    ]
    return render("calibration.html", calibration=calibration, parts=parts, encoder=encoder)


def charts(test: dict[str, Any], threshold: float, metric: str) -> list[Chart]:
    """Draw both histograms, and both error rates at every threshold, of the people who were kept apart."""
    bars, rates = test["histogram"], test["curve"]
    how: dict[str, Any] = {
        "x_label": f"{metric} distance",
        "marks": {"threshold": threshold},
        "from_zero": True,
    }
    kinds = {"one_person": test["pairs_of_one_person"], "two_people": test["pairs_of_two_people"]}
    labels = {name: f"{count:,} pairs of {name.replace('_', ' ')}" for name, count in kinds.items()}
    return [
        Chart(
            title="Distances",
            note="percent of the pairs of each kind",
            lines=[
                histogram(list(map(float, bars[name])), bars["distance"], label, style)
                for style, (name, label) in enumerate(labels.items())
            ],
            **how,
        ),
        Chart(
            title="Error rates",
            note=f"in percent; they cross at {100 * test['equal_error_rate']:.3g} %, at distance "
            f"{test['equal_error_distance']:.4f}",
            lines=[
                Line(
                    label=f"{name.replace('_', ' ')}s",
                    points=[(at, 100 * rate) for at, rate in zip(rates["distance"], rates[name], strict=True)],
                    style=style,
                )
                for style, name in enumerate(("false_reject", "false_accept"))
            ],
            **how,
        ),
    ]
