"""Ranked lists: what each encoder finds for some queries."""

import base64
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from upreid.data.benchmarks import open_benchmark
from upreid.demo.places import STARTS, Places
from upreid.models.encoder import load_encoder
from upreid.retrieval.features import features
from upreid.retrieval.ranking import Labels, distance_chunks, rank_queries
from upreid.runtime.compute import Compute

NUM_QUERIES, NUM_SHOWN = 6, 8


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, and what it is."""

    uri: str
    person: int
    camera: int
    is_match: bool = False


@dataclass(frozen=True)
class RankedLists:
    """One query, and what each start's encoder finds for it."""

    query: Picture
    found: dict[str, list[Picture]]


def ranked_lists(places: Places) -> list[RankedLists]:
    """Search for evenly spaced queries with the encoders of the first fine-tuning seed."""
    labelled = open_benchmark("market1501", places.corpus / "market1501")
    step = max(len(labelled.query) // NUM_QUERIES, 1)
    queries, gallery = labelled.query[::step][:NUM_QUERIES], labelled.gallery
    labels = Labels(
        query_people=np.array([record.person for record in queries]),
        query_cameras=np.array([record.camera for record in queries]),
        gallery_people=np.array([record.person for record in gallery]),
        gallery_cameras=np.array([record.camera for record in gallery]),
    )
    compute = Compute(device=torch.device("cpu"), threads=1, workers=0)
    found: dict[str, list[list[Picture]]] = {}
    for start in STARTS:
        encoder = load_encoder(places.finetuned(start, 1) / "encoder.safetensors")
        query, rest = (
            features(encoder, some, encoder.preprocess, compute, quiet=True).numpy() for some in (queries, gallery)
        )
        ranked = rank_queries(distance_chunks(query, rest, metric="cosine"), labels, first=NUM_SHOWN)
        found[start] = [
            [
                picture(entry.path, entry.person, entry.camera, entry.person == asked.person)
                for entry in (gallery[place] for place in one.first)
            ]
            for asked, one in zip(queries, ranked, strict=True)
        ]
    return [
        RankedLists(picture(one.path, one.person, one.camera), {start: found[start][i] for start in STARTS})
        for i, one in enumerate(queries)
    ]


def picture(path: Path, person: int | None, camera: int | None, is_match: bool = False) -> Picture:
    """Read a JPEG into the page."""
    uri = "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
    return Picture(uri, person or 0, camera or 0, bool(is_match))
