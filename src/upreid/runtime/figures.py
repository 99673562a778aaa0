"""Figures as SVG, drawn without a display and without global settings; matplotlib is loaded when one is drawn."""

import io
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from upreid.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEAL, PURPLE, GREY = "#00798c", "#7a5195", "#8d8d8d"


def require_pages(what: str, *packages: str) -> None:
    """Raise InputError where a package of the extra `pages`, which `what` needs, is not installed."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise InputError(f"{what} need {' and '.join(missing)}: pip install 'upreid[pages]'")


def new_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of so many inches; InputError where matplotlib is not installed."""
    require_pages("figures", "matplotlib")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def tidy(axes: Any, title: str) -> None:
    """Give a panel its title, small labels and no box."""
    axes.set_title(title, fontsize=10)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def as_svg(figure: "Figure") -> str:
    """Return the figure as an SVG element, for a page or a file; the same figure gives the same text."""
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.hashsalt": "upreid"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
