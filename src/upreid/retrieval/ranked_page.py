"""Ranked results to look at: what an encoder finds for some queries, with the pictures inside one HTML page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from upreid.data.decode import UnreadableImage, decode_bytes
from upreid.data.records import Record
from upreid.errors import DataError
from upreid.retrieval.metrics import rectangle
from upreid.retrieval.ranking import RankedQuery
from upreid.retrieval.settings import METRIC_LABELS
from upreid.runtime.pages import LARGEST, picture_uri, render

NUM_QUERIES = 12
"""Number of queries that the page shows of the best, and of the worst."""
NUM_SHOWN = 10
"""Number of gallery entries that the page shows for a query."""


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


def thumbnail(record: Record, *, is_match: bool = False, largest: tuple[int, int] = LARGEST) -> Thumbnail:
    """Read an image into the page, reduced to what a page needs; DataError where it cannot be read."""
    try:
        pixels, _ = decode_bytes(record.read(), str(record.path))
    except UnreadableImage as error:
        raise DataError(f"cannot read image {error}; repair it, or remove it from the data set") from error
    camera = "unknown" if record.camera is None else str(record.camera)
    uri = picture_uri(Image.fromarray(pixels), largest=largest)
    return Thumbnail(uri=uri, person=str(record.person), camera=camera, is_match=is_match)


def found_for(
    query: Record, ranked: RankedQuery, gallery: Sequence[Record], *, largest: tuple[int, int] = LARGEST
) -> list[Thumbnail]:
    """Read the first entries of a query's ranking into the page."""
    entries = [gallery[place] for place in ranked.first]
    return [thumbnail(entry, is_match=entry.person == query.person, largest=largest) for entry in entries]


def best_and_worst(
    queries: Sequence[Record],
    gallery: Sequence[Record],
    ranked: Mapping[str, Sequence[RankedQuery]],
    *,
    count: int = NUM_QUERIES,
    largest: tuple[int, int] = LARGEST,
) -> dict[str, list[RankedLists]]:
    """Choose at most `count` queries of lowest and of highest average precision, among those that have a match.

    `ranked` has the ranking of each query by the name of the encoder; of several encoders the mean precision counts.
    """
    rows = [[rectangle(one.ranks) if len(one.ranks) else np.nan for one in some] for some in ranked.values()]
    precisions = np.array(rows).mean(axis=0)
    valid = np.flatnonzero(~np.isnan(precisions))
    order = valid[np.argsort(precisions[valid], kind="stable")].tolist()
    count = min(count, -(-len(order) // 2))

    def shown(place: int) -> RankedLists:
        query, by_name = queries[place], {name: some[place] for name, some in ranked.items()}
        return RankedLists(
            query=thumbnail(query, largest=largest),
            lists={name: found_for(query, one, gallery, largest=largest) for name, one in by_name.items()},
            remark="; ".join(f"{name}: {scores(one)}" if name else scores(one) for name, one in by_name.items()),
        )

    return {
        "The worst queries": [shown(place) for place in order[:count]],
        "The best queries": [shown(place) for place in order[count:][::-1][:count]],
    }


def scores(ranked: RankedQuery) -> str:
    """Write the scores of a query."""
    answers, first = len(ranked.ranks), ranked.ranks[0]
    right = f"{answers} right answers, the first" if answers > 1 else "one right answer,"
    return f"average precision {100 * rectangle(ranked.ranks):.1f} %; {right} at rank {first}"


def ranked_page(
    result: dict[str, Any], queries: Sequence[Record], gallery: Sequence[Record], ranked: Sequence[RankedQuery]
) -> str:
    """Return a self-contained page: the numbers, the worst and the best queries, and the protocol."""
    protocol = json.dumps(result["protocol"], indent=2)
    groups = best_and_worst(queries, gallery, {"": ranked})
    return render(
        "ranked.html", result=result, groups=groups, protocol=protocol, metrics=METRIC_LABELS, shown=NUM_SHOWN
    )
