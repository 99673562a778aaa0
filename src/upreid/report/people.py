"""What the encoders of some runs see on a labelled set: ranked lists, distances, and where in a picture they look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from upreid.data.benchmarks import Benchmark, open_benchmark
from upreid.data.dataset import read_input
from upreid.errors import InputError
from upreid.models.calibration import Calibration, percent, percents
from upreid.models.encoder import Encoder, load_encoder
from upreid.report.activation import SMALL, Picture, activations
from upreid.report.runs import ReportedRun
from upreid.retrieval.evaluation import labels_of
from upreid.retrieval.features import features
from upreid.retrieval.metrics import has_match
from upreid.retrieval.ranked_page import RankedLists, best_and_worst, thumbnail
from upreid.retrieval.ranking import UNKNOWN, Labels, distance_chunks, rank_queries
from upreid.runtime.charts import Chart, histogram
from upreid.runtime.compute import Compute

NUM_LIT = 6
"""Number of people on whose pictures it is shown where encoders respond."""
NUM_SHOWN = 8
MOST_PICTURES = 560
"""Number of pictures of all ranked lists of a labelled set."""
BINS = 60


@dataclass(frozen=True, kw_only=True)
class SeenSet:
    """A labelled set, or a part of its test people, as several encoders see it."""

    title: str
    note: str
    groups: dict[str, list[RankedLists]]
    labels: dict[str, str]
    """Name of a run -> what stands before its row."""
    distances: list[Chart]
    calibrations: list[str]
    """What the thresholds of the encoders' headers hold for, in words."""
    lit: list[list[Picture]]
    """Pictures of a few people: as they are, and by each encoder bright where its backbone responds."""


def set_of(run: ReportedRun) -> tuple[str, Path] | None:
    """Return name and place of the labelled set that a run names: what it is fine-tuned on, or watched by."""
    data, monitor = run.config.data, run.config.monitor
    if hasattr(data, "name"):
        return data.name, data.root
    if monitor.root is None:
        return None
    there = monitor.root if monitor.root.exists() else Path(run.facts.get("started_in", ".")) / monitor.root
    return monitor.name, there


def see(runs: Sequence[ReportedRun], name: str, root: Path, compute: Compute, *, people: int) -> SeenSet:
    """Encode a part of a labelled set with the encoder of every run; at most `people` of its test people are looked at."""
    labelled = open_benchmark(name, root, quiet=True)
    part, note = part_of(labelled, people)
    labels = labels_of(part.query, part.gallery)
    if not has_match(labels, "drop"):
        raise InputError(f"{labelled.name} at {root} has no query with a right answer in another camera")
    encoders = {run.name: load_encoder(run.folder, compute.device) for run in runs}
    encoded: dict[str, tuple[Tensor, Tensor]] = {}
    for run, encoder in encoders.items():
        query, gallery = (
            features(encoder, some, encoder.preprocess, compute, quiet=True) for some in (part.query, part.gallery)
        )
        encoded[run] = query, gallery
    ranked = {
        run: rank_queries(distance_chunks(query.numpy(), gallery.numpy(), metric="cosine"), labels, first=NUM_SHOWN)
        for run, (query, gallery) in encoded.items()
    }
    count = max(min(6, MOST_PICTURES // (2 * (1 + NUM_SHOWN * len(runs)))), 1)
    return SeenSet(
        title=f"{labelled.name} at {root}",
        note=note,
        groups=best_and_worst(part.query, part.gallery, ranked, count=count, largest=SMALL),
        labels={run.name: run.name if len(runs) > 1 else "" for run in runs},
        distances=[distance_chart(run, *encoded[run.name], labels, encoders[run.name]) for run in runs],
        calibrations=[words for run, one in encoders.items() for words in calibrated(run, one.header.calibration)],
        lit=lit_people(part, encoders),
    )


def lit_people(labelled: Benchmark, encoders: Mapping[str, Encoder]) -> list[list[Picture]]:
    """Show a few people, and where each encoder responds, if its features come from the last map of its backbone."""
    people = list({record.person: record for record in labelled.query}.values())
    some = people[:: -(-len(people) // NUM_LIT)]
    names = [f"person {one.person}" for one in some]
    plain = [thumbnail(one, largest=SMALL).uri for one in some]
    columns = [[Picture(uri=uri, words=name, caption=name) for uri, name in zip(plain, names, strict=True)]]
    for name, encoder in encoders.items():
        if encoder.header.head is not None and encoder.header.head.name != "bnneck":
            continue
        how, device = encoder.preprocess, next(encoder.parameters()).device
        images = torch.stack([read_input(one, how) for one in some]).to(device)
        found = activations(encoder.backbone, images, how, name)
        columns += [found] if found else []
    return [list(row) for row in zip(*columns, strict=True)]


def part_of(labelled: Benchmark, people: int) -> tuple[Benchmark, str]:
    """Return queries and gallery of evenly spaced test people, and what a reader should know of the choice."""
    known = sorted({record.person for record in labelled.query if record.person is not None})
    if len(known) <= people:
        return (
            labelled,
            f"All {len(known)} test people, {len(labelled.query):,} queries, {len(labelled.gallery):,} gallery pictures.",
        )
    kept = {known[round(place * (len(known) - 1) / max(people - 1, 1))] for place in range(people)}
    query, gallery = (
        tuple(record for record in some if record.person in kept) for some in (labelled.query, labelled.gallery)
    )
    return replace(labelled, query=query, gallery=gallery), (
        f"{len(kept)} of {len(known)} test people, without everybody else in the gallery ({len(query):,} queries, "
        f"{len(gallery):,} gallery pictures): easier than the whole set, so average precisions here are for choosing pictures "
        "and are no result."
    )


def distance_chart(
    run: ReportedRun,
    query: Float[Tensor, "queries dim"],
    gallery: Float[Tensor, "gallery dim"],
    labels: Labels,
    encoder: Encoder,
) -> Chart:
    """Draw how far queries are from gallery pictures of the same and of other people, and the thresholds that are calibrated."""
    same, other = np.zeros(BINS), np.zeros(BINS)
    chunks = list(distance_chunks(query.numpy(), gallery.numpy(), metric="cosine"))
    most = max(float(chunk.max()) for chunk in chunks)
    edges = np.linspace(0.0, max(most, 1e-6), BINS + 1)
    first = 0
    for chunk in chunks:
        rows = slice(first, first + len(chunk))
        is_same = labels.query_people[rows, None] == labels.gallery_people
        seen = labels.query_cameras[rows, None]
        is_junk = is_same & (seen == labels.gallery_cameras) & (seen != UNKNOWN)
        kept = chunk.clip(0.0, edges[-1])
        same += np.histogram(kept[is_same & ~is_junk], edges)[0]
        other += np.histogram(kept[~is_same], edges)[0]
        first += len(chunk)
    lines = [
        histogram(counts.tolist(), edges.tolist(), label, style)
        for counts, label, style in ((same, "the same person, another camera", 0), (other, "two people", 1))
    ]
    return Chart(
        title=f"{run.name}: distances",
        x_label="cosine distance",
        note=f"percent of the pairs; {overlap(same, other):.1f} % of those of two people are nearer than the median of one",
        lines=lines,
        marks=thresholds(encoder.header.calibration),
        from_zero=True,
    )


def overlap(same: np.ndarray, other: np.ndarray) -> float:
    """Return the percentage of pairs of two people in bins below the median of the pairs of one person."""
    median = int(np.searchsorted(same.cumsum(), same.sum() / 2))
    return 100 * float(other[:median].sum()) / max(float(other.sum()), 1.0)


def thresholds(calibration: Calibration | None) -> dict[str, float]:
    """Return the threshold of a calibration by its label, where it is a cosine distance of two images."""
    if calibration is None or calibration.metric != "cosine":
        return {}
    return {f"threshold at {100 * calibration.false_accept:g} % false accepts": calibration.image.distance}


def calibrated(name: str, calibration: Calibration | None) -> list[str]:
    """Say what the thresholds of a calibration are, and what they do to people who were kept apart."""
    if calibration is None:
        return []
    wanted, others = (
        f"{100 * calibration.false_accept:g} %",
        f"{calibration.test_people} other people of {calibration.data}",
    )
    kinds = {"image": calibration.image, "tracklet": calibration.tracklet}
    return [
        f"{name}, two {kind}s: {calibration.metric} distance {one.distance:.3f} ({one.interval[0]:.3f} to {one.interval[1]:.3f}) "
        f"for {wanted} false accepts; on {others} {percent(one.false_accept)} false accepts "
        f"({percents(one.false_accept_interval)}) and {percent(one.false_reject)} false rejects "
        f"({percents(one.false_reject_interval)})."
        for kind, one in kinds.items()
        if one is not None
    ]


def named_sets(
    runs: Sequence[ReportedRun], given: tuple[str, Path] | None
) -> Mapping[tuple[str, Path], list[ReportedRun]]:
    """Group runs by the labelled set to look at: the one that was given, else each run's own; runs without one are left out."""
    groups: dict[tuple[str, Path], list[ReportedRun]] = {}
    for run in runs:
        if (where := given or set_of(run)) is not None:
            groups.setdefault((where[0], where[1].resolve()), []).append(run)
    return groups
