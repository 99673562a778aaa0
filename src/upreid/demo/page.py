"""One self-contained page about a demo: its table, its curves, and what each encoder finds for some queries."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from upreid.config.commands import DemoConfig
from upreid.config.files import read_json
from upreid.data.benchmarks import open_benchmark
from upreid.demo.results import METRICS, STARTS, DemoFolder, written
from upreid.models.encoder import load_encoder
from upreid.report.curves import charts_of
from upreid.report.runs import read_runs
from upreid.retrieval.evaluation import labels_of
from upreid.retrieval.features import features
from upreid.retrieval.ranked_page import RankedLists, Thumbnail, found_for, thumbnail
from upreid.retrieval.ranking import distance_chunks, rank_queries
from upreid.runtime.compute import Compute
from upreid.runtime.files import write_text
from upreid.runtime.pages import render
from upreid.synthetic.corpus import contact_sheet
from upreid.synthetic.layouts import market1501_shots
from upreid.synthetic.settings import wild_images

NUM_QUERIES, NUM_SHOWN = 6, 8


def write_page(folder: DemoFolder, config: DemoConfig, results: dict[str, Any]) -> Path:
    """Render `index.html`; pictures and curves are inside it."""
    page = folder.out / "index.html"
    sheet = folder.out / "people.png"
    corpus = folder.rendered(config)
    contact_sheet(sheet, corpus, market1501_shots(corpus)[:72])  # six people, twelve pictures each
    runs = read_runs([folder.pretrained(start) for start in ("moco", "upreid")])
    text = render(
        "demo.html",
        results=results,
        config=config,
        wild=wild_images(corpus),
        sheet="data:image/png;base64," + base64.b64encode(sheet.read_bytes()).decode(),
        charts=charts_of([replace(run, name=STARTS[run.name]) for run in runs]),
        lists=ranked_lists(folder),
        provenance=read_json(folder.pretrained("upreid") / "config.json"),
        protocol=json.dumps(results["protocol"], indent=2),
        starts=STARTS,
        metrics=METRICS,
        written=written,
    )
    write_text(page, text)
    return page


def ranked_lists(folder: DemoFolder) -> list[RankedLists]:
    """Search for evenly spaced queries with the encoders of the first fine-tuning seed."""
    labelled = open_benchmark("market1501", folder.corpus / "market1501")
    step = max(len(labelled.query) // NUM_QUERIES, 1)
    queries, gallery = labelled.query[::step][:NUM_QUERIES], labelled.gallery
    labels = labels_of(queries, gallery)
    compute = Compute(device=torch.device("cpu"), threads=1, workers=0)
    found: dict[str, list[list[Thumbnail]]] = {}
    for start in STARTS:
        encoder = load_encoder(folder.finetuned(start, 1) / "encoder.safetensors")
        query, rest = (
            features(encoder, some, encoder.preprocess, compute, quiet=True).numpy() for some in (queries, gallery)
        )
        ranked = rank_queries(distance_chunks(query, rest, metric="cosine"), labels, first=NUM_SHOWN)
        found[start] = [found_for(asked, one, gallery) for asked, one in zip(queries, ranked, strict=True)]
    return [
        RankedLists(query=thumbnail(one), lists={start: found[start][place] for start in STARTS})
        for place, one in enumerate(queries)
    ]
