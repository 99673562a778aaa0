"""`upreid doctor`: check a labelled set before hours are spent on it; a report in plain words, exit code 0 or 2."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from upreid.config.doctor import DoctorConfig
from upreid.data.benchmarks import Benchmark, read_benchmark
from upreid.data.benchmarks.checkup import Findings, quick_checkup
from upreid.data.decode import UnreadableImage, decode
from upreid.data.records import Record, cameras, people
from upreid.retrieval.metrics import evaluate_features
from upreid.runtime.compute import cores
from upreid.runtime.console import progress

NAMED = 5
"""So many files are named of a kind."""
DIMENSIONS = 16
"""Of the random features."""

Answer = TypeVar("Answer")


def run(config: DoctorConfig) -> int:
    """Check, report on standard output; return 0 where the set can be used, else 2."""
    labelled = read_benchmark(config.name, config.root)
    found = quick_checkup(labelled)
    if not config.quick:
        check_images(labelled, found)
    chance = None if found.faults else dry_run(labelled)
    for line in report(labelled, found, chance, images_were_read=not config.quick):
        print(line)
    return 2 if found.faults else 0


def check_images(labelled: Benchmark, found: Findings) -> None:
    """Read every image: can it be decoded, and is it in train and test at once?"""
    records = (*labelled.train, *labelled.query, *labelled.gallery)
    unreadable = [reason for reason in for_each("reading images", records, trouble) if reason]
    if unreadable:
        named = "; ".join(unreadable[:NAMED])
        found.faults.append(f"{len(unreadable)} of {len(records)} images cannot be read: {named}")
    hashes = for_each("comparing images", records, content_hash)
    trains = dict(zip(hashes[: len(labelled.train)], labelled.train, strict=True))
    both = [(trains[key], record) for key, record in zip(hashes, records, strict=True) if key in trains]
    both = [(one, other) for one, other in both[len(labelled.train) :] if one.path != other.path]
    if both:
        pairs = ", ".join(f"{one.path.name} = {other.path.name}" for one, other in both[:NAMED])
        found.faults.append(f"{len(both)} test images are byte for byte training images: {pairs}")


def for_each(what: str, records: Sequence[Record], ask: Callable[[Record], Answer]) -> list[Answer]:
    """Ask every record, some at a time, with progress."""
    answers: list[Answer] = []
    with progress(what, len(records), "images") as meter, ThreadPoolExecutor(cores()) as pool:
        for answer in pool.map(ask, records):
            answers.append(answer)
            meter.advance()
    return answers


def trouble(record: Record) -> str | None:
    """Why an image cannot be read, if so."""
    try:
        decode(record.path, target=(64, 32))
    except UnreadableImage as error:
        return str(error)
    return None


def content_hash(record: Record) -> str:
    """Hash of a file's bytes; its path where it cannot be read, which is reported already."""
    try:
        with record.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return str(record.path)


def dry_run(labelled: Benchmark) -> float:
    """Run the whole evaluation on random features; return its mAP, which is chance."""
    numbers = np.random.default_rng(0)
    sides = labelled.query, labelled.gallery
    query, gallery = (numbers.standard_normal((len(side), DIMENSIONS)).astype(np.float32) for side in sides)
    ids, views = [people(side) for side in sides], [cameras(side) for side in sides]
    return evaluate_features(query, gallery, *ids, *views)["mAP"]


def report(labelled: Benchmark, found: Findings, chance: float | None, *, images_were_read: bool) -> list[str]:
    """The report."""
    lines = [f"{labelled.name} at {labelled.root}"]
    for part in ("train", "query", "gallery"):
        numbers = labelled.facts[part]
        lines.append(
            f"  {part:8} {numbers['images']:7} images  {numbers['people']:6} people  {numbers['cameras']:3} cameras"
        )
    told = {"junk_dropped": "junk images dropped", "distractors": "distractors in the gallery"}
    told["names_not_matched"] = "files whose names do not match"
    lines += [f"  {labelled.facts[key]} {words}" for key, words in told.items() if labelled.facts.get(key)]
    lines += [f"note:  {remark}" for remark in (*labelled.facts["differs_from_published"], *found.remarks)]
    if chance is not None:
        lines.append(f"ok:    the whole evaluation ran on random features: mAP {chance:.2f} by chance")
    if images_were_read and not found.faults:
        lines.append("ok:    every image can be read, and none is in train and test")
    lines += [f"FAULT: {fault}" for fault in found.faults]
    return [*lines, "this set cannot be used as it is" if found.faults else "this set can be used"]
