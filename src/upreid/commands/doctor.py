"""`upreid doctor`: check a set before hours are spent on it; a report in plain words, exit code 0 or 2."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from upreid.config.commands import DoctorConfig
from upreid.data.benchmarks import Benchmark, read_benchmark
from upreid.data.benchmarks.checkup import Diagnosis, quick_checkup
from upreid.data.benchmarks.contents import check_images, look_at, look_closely
from upreid.data.records import people
from upreid.data.settings import UNLABELLED, UnlabelledSet
from upreid.data.sources.checkup import SourceCheckup, look_through
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source, left_out, printable
from upreid.data.tracklet_lists import OWN, has_own_tracklets, read_tracklets
from upreid.data.tracklets import Tracklets
from upreid.errors import InputError
from upreid.retrieval.metrics import evaluate_features

NAMED = 5
"""Number of files of a kind that are named."""
LOW = 32
"""Height in pixels below which a crop shows little of a person."""
DIMENSIONS = 16
"""Length of the random features."""


def run(config: DoctorConfig) -> int:
    """Check, report on standard output; return 0 where the set can be used, else 2."""
    if config.name == UNLABELLED:
        return check_unlabelled(config)
    if config.tracklets is not None:
        raise InputError(
            f"--tracklets are those of images without labels; say: upreid doctor unlabelled {config.root} "
            f"--tracklets {config.tracklets}"
        )
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


def check_unlabelled(config: DoctorConfig) -> int:
    """Check images without labels; return 0 where they can be trained on, else 2."""
    source = open_source(config.root)
    print(source.description)
    wanted = config.tracklets or (Path(OWN) if has_own_tracklets(source.root) else None)
    tracklets = read_tracklets(wanted, source, flag="--tracklets") if wanted else None
    if tracklets:
        print(f"  {tracklets.description}")
    if config.quick:
        return 0
    found = look_through(source)
    unreadable, total = len(found.trouble), len(source)
    is_fault = unreadable > UnlabelledSet.unreadable_share * total
    if len(found.heights):
        print(f"  height {quantiles(found.heights)}, width {quantiles(found.widths)} pixels (10 %, 50 %, 90 %)")
    for remark in remarks(source, found, tracklets):
        print(f"note:  {remark}")
    if unreadable:
        some = "; ".join(found.trouble[:NAMED]) + ("; and others" if unreadable > NAMED else "")
        print(f"{'FAULT:' if is_fault else 'note: '} {unreadable} of {total} images cannot be read: {some}")
    else:
        print("ok:    every image can be read")
    print("these images cannot be used as they are" if is_fault else "these images can be trained on")
    return 2 if is_fault else 0


def quantiles(numbers: NDArray[np.int64]) -> str:
    """Name three quantiles."""
    return ", ".join(f"{number:.0f}" for number in np.quantile(numbers, [0.1, 0.5, 0.9]))


def remarks(source: Source, found: SourceCheckup, tracklets: Tracklets | None) -> list[str]:
    """Say what should be known about images that can be read."""
    low, wide = int((found.heights < LOW).sum()), int((found.widths > found.heights).sum())
    said = [f"{low} images are lower than {LOW} pixels"] if low else []
    said += [f"{wide} images are wider than they are high, which a standing person is not"] if wide else []
    copies = {
        "images repeat another one byte for byte": found.same_bytes,
        "other images have the difference hash of another one, so they look alike": found.same_looks,
        "pairs of images look almost alike (difference hashes that differ in one or two bits)": found.near_looks,
    }
    return said + [about_copies(source, words, pairs, tracklets) for words, pairs in copies.items() if len(pairs)]


def about_copies(source: Source, words: str, pairs: NDArray[np.int64], tracklets: Tracklets | None) -> str:
    """Count pairs of images that are alike, and name the first ones."""
    named = ", ".join(" = ".join(printable(source.name(int(image))) for image in pair) for pair in pairs[:NAMED])
    apart = ""
    if tracklets is not None:
        one, other = tracklets.numbers[pairs].T
        apart = f", {int((one != other).sum())} of them from different tracklets"
    return f"{len(pairs)} {words}{apart}: {named}{', ...' if len(pairs) > NAMED else ''}"
