"""`upreid search`: which images of a source are nearest to some others, by features that `upreid extract` made."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from upreid.config.commands import SearchConfig
from upreid.data.records import Record
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source
from upreid.errors import InputError
from upreid.inference import extract, load_encoder
from upreid.retrieval.feature_file import FeatureFile, read_features
from upreid.retrieval.inputs import as_feature_pair
from upreid.retrieval.ranked_page import thumbnail
from upreid.retrieval.search import Nearest, search
from upreid.runtime.compute import settle
from upreid.runtime.console import say
from upreid.runtime.figures import require_pages
from upreid.runtime.files import check_target, json_with, write_text
from upreid.runtime.pages import is_page, render


def run(config: SearchConfig) -> None:
    """Search, print, and save where `out` and `page` say."""
    if config.out:
        check_target(config.out, "--out", json_with("queries"))
    if config.page:
        check_target(config.page, "--page", is_page)
        require_pages("pages (--page)", "jinja2")
    compute = settle(config.device, config.threads, config.workers, workers_wanted=0, prefix="--")
    torch.set_num_threads(compute.threads)
    gallery = read_features(config.features)
    encoder = load_encoder(config.encoder, compute.device)
    facts = gallery.facts
    if encoder.sha256 != facts.encoder_sha256:
        raise InputError(
            f"{config.features} was made by another encoder ({facts.encoder}, {facts.encoder_sha256[:12]}) than "
            f"{config.encoder} ({encoder.sha256[:12]}), and their features cannot be compared; give that one"
        )
    source = open_source(config.source or Path(facts.source)) if config.page else None
    records = [record for path in config.query for record in queries_at(path)]
    how = {"flip": facts.flip, "neck": "before" if facts.neck == "before" else "after"}
    query = extract(encoder, records, workers=compute.workers, quiet=True, **how).features
    as_feature_pair(query, gallery.features, metric=config.metric)  # refuses what cannot be compared
    found = search(query, gallery.features, k=config.top, metric=config.metric)
    result = result_of(config, gallery, records, found)
    text = json.dumps(result, indent=2)
    print(text)
    if config.out:
        write_text(config.out, text + "\n")
        say(f"written to {config.out}")
    if config.page and source is not None:
        write_text(config.page, page_of(source, records, result))
        say(f"page: {config.page}")


def queries_at(path: Path) -> list[Record]:
    """Return the queries that a path names: an image, or all images of a source."""
    if path.is_file() and path.suffix != ".tar":
        return [Record(path=path)]
    source = open_source(path)
    if not len(source):
        raise InputError(f"there are no images in {path}; give an image, or a folder that holds some")
    return [Record(path=Path(source.name(index)), source=source, index=index) for index in range(len(source))]


def result_of(config: SearchConfig, gallery: FeatureFile, records: Sequence[Record], found: Nearest) -> dict[str, Any]:
    """Say what was found for each query, nearest first; nothing beyond the threshold counts."""
    limit = float("inf") if config.threshold is None else config.threshold
    queries = []
    for record, places, distances in zip(records, found.places.tolist(), found.distances.tolist(), strict=True):
        near = [
            {"rank": rank, "name": gallery.names[place], "distance": round(distance, 6)}
            for rank, (place, distance) in enumerate(zip(places, distances, strict=True), 1)
            if distance <= limit
        ]
        queries.append({"query": str(record.path), "found": near, "is_here": bool(near)})
    return {
        "protocol": {
            "features": str(config.features),
            "entries": len(gallery.names),
            "encoder_sha256": gallery.facts.encoder_sha256,
            "metric": config.metric,
            "threshold": config.threshold,
            "top": config.top,
        },
        "queries": queries,
    }


def page_of(source: Source, records: Sequence[Record], result: dict[str, Any]) -> str:
    """Return a self-contained page with the pictures of queries and of what was found for them in the source."""
    places = {source.name(index): index for index in range(len(source))}
    rows = []
    for record, one in zip(records, result["queries"], strict=True):
        strange = [entry["name"] for entry in one["found"] if entry["name"] not in places]
        if strange:
            raise InputError(f"{source.root} has no image {strange[0]}; give the source of the features with --source")
        pictures = [
            (entry, thumbnail(Record(path=Path(entry["name"]), source=source, index=places[entry["name"]])))
            for entry in one["found"]
        ]
        rows.append({"query": thumbnail(record), "name": one["query"], "found": pictures})
    return render("search.html", rows=rows, protocol=result["protocol"])
