"""One self-contained page about a demo: its table, its curves, and what each encoder finds for some queries."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from upreid.config.commands import DemoConfig
from upreid.config.files import read_json
from upreid.data.benchmarks import open_benchmark
from upreid.demo.results import METRICS, STARTS, DemoFolder, written
from upreid.methods import loss_names
from upreid.models.encoder import load_encoder
from upreid.retrieval.evaluation import labels_of
from upreid.retrieval.features import features
from upreid.retrieval.ranked_page import RankedLists, Thumbnail, found_for, render, thumbnail
from upreid.retrieval.ranking import distance_chunks, rank_queries
from upreid.runtime.compute import Compute
from upreid.runtime.figures import GREY, PURPLE, TEAL, as_svg, new_figure, tidy
from upreid.runtime.files import write_text
from upreid.runtime.journal import read_journal
from upreid.synthetic.corpus import contact_sheet
from upreid.synthetic.layouts import market1501_shots
from upreid.synthetic.settings import CorpusSettings
from upreid.training.saved import saved_run

STYLES = {"moco": (PURPLE, "--"), "upreid": (TEAL, "-"), "random": (GREY, ":")}
NUM_QUERIES, NUM_SHOWN = 6, 8


def write_page(folder: DemoFolder, config: DemoConfig, results: dict[str, Any]) -> Path:
    """Render `index.html`; pictures and curves are inside it."""
    page = folder.out / "index.html"
    sheet = folder.out / "people.png"
    corpus = CorpusSettings(identities=config.identities, seed=config.seed)
    contact_sheet(sheet, corpus, market1501_shots(corpus)[:72])  # six people, twelve pictures each
    text = render(
        "demo.html",
        results=results,
        config=config,
        sheet="data:image/png;base64," + base64.b64encode(sheet.read_bytes()).decode(),
        losses=loss_curves(folder),
        monitor=monitor_curve(folder),
        lists=ranked_lists(folder),
        provenance=read_json(folder.pretrained("upreid") / "config.json"),
        protocol=json.dumps(results["protocol"], indent=2),
        starts=STARTS,
        metrics=METRICS,
        written=written,
    )
    write_text(page, text)
    return page


def loss_curves(folder: DemoFolder) -> str:
    """Draw each loss term against the step, in a panel of its own."""
    journals = {start: read_journal(folder.pretrained(start) / "metrics.jsonl") for start in ("moco", "upreid")}
    known = loss_names(saved_run(folder.pretrained("upreid"), "pretrain").config)
    labels = {name: label for name, label in known.items() if any(name in line for line in journals["upreid"])}
    figure = new_figure(9.0, 2.6)
    for axes, (term, label) in zip(figure.subplots(1, len(labels)), labels.items(), strict=True):
        for start, lines in journals.items():
            points = [(line["step"], line[term]) for line in lines if term in line]
            if points:
                draw(axes, start, smooth(points))
        finish(axes, label)
    return as_svg(figure)


def monitor_curve(folder: DemoFolder) -> str:
    """Draw the mAP of the pre-trained encoders without fine-tuning against the step."""
    figure = new_figure(5.0, 2.8)
    axes = figure.subplots()
    for start in ("moco", "upreid"):
        lines = read_journal(folder.pretrained(start) / "metrics.jsonl")
        draw(axes, start, [(line["step"], line["mAP"]) for line in lines if "mAP" in line], marker="o")
    finish(axes, "mAP without fine-tuning (%)")
    return as_svg(figure)


def smooth(points: Sequence[tuple[int, float]], width: int = 15) -> list[tuple[int, float]]:
    """Return the mean over the last `width` points at every step."""
    values = [value for _, value in points]
    return [
        (step, sum(values[max(0, i - width + 1) : i + 1]) / min(i + 1, width)) for i, (step, _) in enumerate(points)
    ]


def draw(axes: Any, start: str, points: Sequence[tuple[int, float]], **style: Any) -> None:
    """Draw one line; colour and dashes both tell the methods apart."""
    colour, dashes = STYLES[start]
    steps, values = zip(*points, strict=True) if points else ((), ())
    axes.plot(steps, values, dashes, color=colour, label=STARTS[start], linewidth=1.6, markersize=3.5, **style)


def finish(axes: Any, title: str) -> None:
    """Add title, label and legend."""
    tidy(axes, title)
    axes.set_xlabel("step", fontsize=9)
    axes.legend(fontsize=8, frameon=False)


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
