"""`upreid doctor`: check a labelled set before hours are spent on it; a report in plain words, exit code 0 or 2."""

import numpy as np

from upreid.config.commands import DoctorConfig
from upreid.data.benchmarks import Benchmark, read_benchmark
from upreid.data.benchmarks.checkup import Diagnosis, quick_checkup
from upreid.data.benchmarks.contents import check_images, look_at, look_closely
from upreid.data.records import people
from upreid.data.sources.source import left_out
from upreid.retrieval.metrics import evaluate_features

DIMENSIONS = 16
"""Length of the random features."""


def run(config: DoctorConfig) -> int:
    """Check, report on standard output; return 0 where the set can be used, else 2."""
    labelled = read_benchmark(config.name, config.root)
    found = quick_checkup(labelled, trains=bool(labelled.train))
    if not config.quick:
        check_images(labelled, look_at(labelled.records, look_closely), found)
    chance = None if found.faults else dry_run(labelled)
    for line in report(labelled, found, chance, images_were_read=not config.quick):
        print(line)
    return 2 if found.faults else 0


def dry_run(labelled: Benchmark) -> float:
    """Run the whole evaluation on random features; return its mAP, which is chance."""
    numbers = np.random.default_rng(0)
    sides = labelled.query, labelled.gallery
    query, gallery = (numbers.standard_normal((len(side), DIMENSIONS)).astype(np.float32) for side in sides)
    ids, views = [people(side) for side in sides], [[record.camera for record in side] for side in sides]
    return evaluate_features(query, gallery, *ids, *views)["mAP"]


def report(labelled: Benchmark, found: Diagnosis, chance: float | None, *, images_were_read: bool) -> list[str]:
    """Write the report, line by line."""
    lines = [f"{labelled.name} at {labelled.root}{left_out(labelled.left_out)}"]
    for part in ("train", "query", "gallery"):
        numbers = labelled.facts[part]
        lines.append(
            f"  {part:8} {numbers['images']:7} images  {numbers['people']:6} people  {numbers['cameras']:3} cameras"
        )
    told = {"junk_dropped": "junk images dropped", "distractors": "distractors in the gallery"}
    told["names_not_matched"] = "files whose names do not match"
    lines += [f"  {labelled.facts[key]} {words}" for key, words in told.items() if labelled.facts.get(key)]
    lines += [f"note:  {remark}" for remark in (*labelled.facts["differs_from_published"], *found.remarks)]
    if not labelled.train:
        lines.append("note:  there are no training images: this set is one to test on, not to train on")
    if chance is not None:
        lines.append(f"ok:    the whole evaluation ran on random features: mAP {chance:.2f} by chance")
    if images_were_read and not found.faults:
        lines.append("ok:    every image can be read, and none stands where it should not")
    lines += [f"FAULT: {fault}" for fault in found.faults]
    return [*lines, "this set cannot be used as it is" if found.faults else "this set can be used"]
