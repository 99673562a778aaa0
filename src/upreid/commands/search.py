"""`upreid search`: which images of a source are nearest to some others, by features that `upreid extract` made."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from upreid.config.interchange import SearchConfig
from upreid.data.records import Record, records_of
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source
from upreid.errors import InputError
from upreid.inference import ImageEncoder, extract, load_encoder
from upreid.retrieval.feature_file import FeatureFacts, FeatureFile, read_features
from upreid.retrieval.inputs import as_feature_pair
from upreid.retrieval.ranked_page import thumbnail
from upreid.retrieval.search import Nearest, require_faiss, search
from upreid.runtime.compute import settle
from upreid.runtime.console import say
from upreid.runtime.files import check_target, json_with, write_text
from upreid.runtime.pages import is_page, render, require_pages


def run(config: SearchConfig) -> None:
    """Search, print, and save where `out` and `page` say."""
    if config.engine == "faiss":
        require_faiss()
    if config.out:
        check_target(config.out, "--out", json_with("queries"))
    if config.page:
        check_target(config.page, "--page", is_page)
        require_pages("pages (--page)")
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
    found = search(query, gallery.features, k=config.top, metric=config.metric, engine=config.engine)
    result = result_of(config, gallery, records, found, threshold_of(config, encoder, facts, len(gallery.names)))
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
    return records_of(source)


def threshold_of(
    config: SearchConfig, encoder: ImageEncoder, facts: FeatureFacts, entries: int
) -> tuple[float | None, str]:
    """Return the threshold, from the flag or from the encoder's calibration, and where it is from."""
    if config.threshold is not None:
        return config.threshold, "--threshold"
    calibration = encoder.header.calibration
    if calibration is None:
        return None, "none: the encoder is not calibrated"
    has = {"metric": config.metric, "flip": facts.flip, "neck": facts.neck}
    other = [name for name, value in has.items() if getattr(calibration, name) != value]
    if other:
        say(f"the encoder's calibration is not used: it was made with another {', '.join(other)}")
        return None, f"none: the encoder was calibrated with another {', '.join(other)}"
    distance = calibration.image.distance
    say(
        f"threshold {distance:.4f} from the encoder's calibration ({calibration.data}); {100 * calibration.false_accept:g} % of "
        f"the pairs of two people lie within it, so among {entries:,} entries a stranger has about "
        f"{calibration.false_accept * entries:.3g} by chance"
    )
    return distance, f"calibration for a false-accept rate of {calibration.false_accept:g}"


def result_of(
    config: SearchConfig,
    gallery: FeatureFile,
    records: Sequence[Record],
    found: Nearest,
    threshold: tuple[float | None, str],
) -> dict[str, Any]:
    """Say what was found for each query, nearest first; nothing beyond the threshold counts."""
    limit = float("inf") if threshold[0] is None else threshold[0]
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
            "threshold": threshold[0],
            "threshold_from": threshold[1],
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
