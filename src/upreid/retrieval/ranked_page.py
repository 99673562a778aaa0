"""Ranked results to look at: what an encoder finds for some queries, with the pictures inside one HTML page."""

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image

from upreid.data.decode import UnreadableImage, decode_bytes
from upreid.data.records import Record
from upreid.errors import DataError
from upreid.retrieval.metrics import rectangle
from upreid.retrieval.ranking import RankedQuery
from upreid.retrieval.settings import METRIC_LABELS
from upreid.runtime.figures import require_pages

NUM_QUERIES = 12
"""Number of queries that the page shows of the best, and of the worst."""
NUM_SHOWN = 10
"""Number of gallery entries that the page shows for a query."""
PAGE_MARK = '<meta name="generator" content="upreid">'
"""Stands in every page, so that a page may be written over and another file may not."""
LARGEST = (128, 192)
"""Width and height within which pictures stand in the page."""


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """An image as a data URI, and what it shows."""

    uri: str
    person: str
    camera: str
    is_match: bool = False


@dataclass(frozen=True, kw_only=True)
class RankedLists:
    """One query, and the nearest gallery entries by one encoder or several."""

    query: Thumbnail
    lists: dict[str, list[Thumbnail]]
    """Nearest first, by the name of the encoder."""
    remark: str = ""


def thumbnail(record: Record, *, is_match: bool = False) -> Thumbnail:
    """Read an image into the page, reduced to what a page needs; DataError where it cannot be read."""
    try:
        pixels, _ = decode_bytes(record.read(), str(record.path))
    except UnreadableImage as error:
        raise DataError(f"cannot read image {error}; repair it, or remove it from the data set") from error
    image, file = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail(LARGEST)
    image.save(file, format="JPEG", quality=90)
    uri = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
    camera = "unknown" if record.camera is None else str(record.camera)
    return Thumbnail(uri=uri, person=str(record.person), camera=camera, is_match=is_match)


def found_for(query: Record, ranked: RankedQuery, gallery: Sequence[Record]) -> list[Thumbnail]:
    """Read the first entries of a query's ranking into the page."""
    entries = [gallery[place] for place in ranked.first]
    return [thumbnail(entry, is_match=entry.person == query.person) for entry in entries]


def best_and_worst(
    queries: Sequence[Record], gallery: Sequence[Record], ranked: Sequence[RankedQuery]
) -> dict[str, list[RankedLists]]:
    """Choose the queries of lowest and of highest average precision, among those that have a match."""
    precisions = np.array([rectangle(one.ranks) if len(one.ranks) else np.nan for one in ranked])
    valid = np.flatnonzero(~np.isnan(precisions))
    order = valid[np.argsort(precisions[valid], kind="stable")]
    count = min(NUM_QUERIES, -(-len(order) // 2))
    return {
        "The worst queries": [shown(queries[place], gallery, ranked[place]) for place in order[:count]],
        "The best queries": [shown(queries[place], gallery, ranked[place]) for place in order[count:][::-1][:count]],
    }


def shown(query: Record, gallery: Sequence[Record], ranked: RankedQuery) -> RankedLists:
    """Put a query beside what was found for it, with its scores in words."""
    answers, first = len(ranked.ranks), ranked.ranks[0]
    right = f"{answers} right answers, the first" if answers > 1 else "one right answer,"
    remark = f"average precision {100 * rectangle(ranked.ranks):.1f} %; {right} at rank {first}"
    return RankedLists(query=thumbnail(query), lists={"": found_for(query, ranked, gallery)}, remark=remark)


def ranked_page(
    result: dict[str, Any], queries: Sequence[Record], gallery: Sequence[Record], ranked: Sequence[RankedQuery]
) -> str:
    """Return a self-contained page: the numbers, the worst and the best queries, and the protocol."""
    protocol = json.dumps(result["protocol"], indent=2)
    groups = best_and_worst(queries, gallery, ranked)
    return render(
        "ranked.html", result=result, groups=groups, protocol=protocol, metrics=METRIC_LABELS, shown=NUM_SHOWN
    )


def render(name: str, /, **parts: Any) -> str:
    """Fill a template of this package; everything but what a template calls safe is escaped."""
    require_pages("pages", "jinja2")
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = resources.files("upreid") / "templates"
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda template: (folder / template).read_text(encoding="utf-8")),
    )
    return environment.get_template(name).render(**parts)
