"""What can be wrong with the images of a labelled set: minutes now, or a crash after the last epoch."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from upreid.data.benchmarks.benchmark import PARTS, Benchmark
from upreid.data.benchmarks.checkup import NAMED, Diagnosis, Pairs, copy_faults, named
from upreid.data.decode import UnreadableImage, check_picture, decode_bytes
from upreid.data.records import Record
from upreid.errors import DataError
from upreid.runtime.console import progress
from upreid.runtime.processes import cores

CHECK_SIZE = 64, 32
"""Height and width at which an image is decoded to find out whether it can be."""


@dataclass(frozen=True)
class Look:
    """What came out of reading one image."""

    digest: str | None
    """Hash of its bytes; None where there are none."""
    trouble: str | None
    """Why it cannot be used, if so."""


def look_closely(record: Record) -> Look:
    """Read and decode an image."""
    return _look(record, lambda content: decode_bytes(content, str(record.path), target=CHECK_SIZE))


def look_quickly(record: Record) -> Look:
    """Read an image, and its header; it is decoded only where its end is not that of a whole file."""
    return _look(record, lambda content: check_picture(content, str(record.path)))


def _look(record: Record, check: Callable[[bytes], object]) -> Look:
    digest = None
    try:
        content = record.read()
        digest = hashlib.sha256(content).hexdigest()
        check(content)
    except UnreadableImage as error:
        return Look(digest, str(error))
    return Look(digest, None)


def look_at(records: Sequence[Record], look: Callable[[Record], Look], *, quiet: bool = False) -> list[Look]:
    """Look at every image, some at a time, with progress."""
    workers = cores()
    looks: list[Look] = []
    with progress("checking images", len(records), "images", quiet=quiet) as meter, ThreadPoolExecutor(workers) as pool:
        for seen in pool.map(look, records):
            looks.append(seen)
            meter.advance()
    return looks


def check_images(labelled: Benchmark, looks: Sequence[Look], found: Diagnosis, *, same_camera: str = "drop") -> None:
    """Judge what reading all images showed: unreadable ones, and pictures that stand where they should not."""
    trouble = [look.trouble for look in looks if look.trouble]
    if trouble:
        found.faults.append(f"{len(trouble)} of {len(looks)} images cannot be read: {'; '.join(trouble[:NAMED])}")
    digests = (look.digest or str(record.path) for look, record in zip(looks, labelled.records, strict=True))
    same: dict[str, dict[str, list[Record]]] = {part: {} for part in PARTS}  # list -> hash -> images
    for part in PARTS:
        for record in getattr(labelled, part):
            same[part].setdefault(next(digests), []).append(record)
        repeats = [(some[0], other) for some in same[part].values() for other in some[1:] if some[0].path != other.path]
        conflicts = [(one, other) for one, other in repeats if one.person != other.person]
        what = "training" if part == "train" else part
        if conflicts:
            found.faults.append(
                f"{len(conflicts)} {what} pictures stand under two people, byte for byte: {named(conflicts)}"
            )
        elif repeats:
            found.remarks.append(f"{len(repeats)} {what} images repeat another one byte for byte: {named(repeats)}")
    both = pairs_of(same["train"], same["query"]) + pairs_of(same["train"], same["gallery"])
    if both:
        tested = {other.path for _, other in both}
        found.faults.append(f"{len(tested)} test images are byte for byte training images: {named(both)}")
    found.faults += copy_faults(pairs_of(same["query"], same["gallery"]), "byte for byte", same_camera)


def pairs_of(some: dict[str, list[Record]], others: dict[str, list[Record]]) -> Pairs:
    """Pair images of two lists that have one hash and are different files."""
    return [
        (one, other)
        for digest, ones in some.items()
        for one in ones
        for other in others.get(digest, ())
        if one.path != other.path
    ]


def refuse_unreadable(
    labelled: Benchmark,
    *,
    trains: bool = True,
    multi_query: bool = False,
    same_camera: str = "drop",
    quiet: bool = False,
) -> list[str]:
    """Look at every image before a program starts; return what makes a training on this set doubtful, and add it to the facts.

    `trains`, `multi_query`: whether the training images, and those for multi-query, count too. `same_camera`: as for
    `quick_checkup`. Raises DataError where a test image cannot be read, which would be noticed after the last epoch.
    """
    train = labelled.train if trains else ()
    test = (*labelled.query, *labelled.gallery, *(labelled.multi_query if multi_query else ()))
    looks = look_at((*train, *test), look_quickly, quiet=quiet)
    trouble = [look.trouble for look in looks[len(train) :] if look.trouble]
    if trouble:
        raise DataError(
            f"{len(trouble)} test images of {labelled.name} at {labelled.root} cannot be read, such as "
            f"{'; '.join(trouble[:NAMED])}; repair them, or remove them from the set"
        )
    found = Diagnosis()
    if trains:
        check_images(labelled, looks[: len(labelled.records)], found, same_camera=same_camera)
    if found.faults:
        labelled.facts["doubts"] = found.faults
    return found.faults
