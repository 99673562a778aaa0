"""What can be wrong with a labelled set, told from its lists alone: seconds now or a crash after the last epoch."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from upreid.data.benchmarks.benchmark import Benchmark
from upreid.data.records import Record, cameras, people
from upreid.errors import InputError

HIGHEST_RANK = 10
"""The highest rank that results report."""


@dataclass
class Findings:
    """Faults make results impossible or worthless; remarks should be known."""

    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def quick_checkup(labelled: Benchmark, *, same_camera: str = "drop") -> Findings:
    """Look at lists, people and cameras; no image is read. `same_camera`: whether matches from the query's camera are kept."""
    found = Findings()
    for part in ("train", "query", "gallery"):
        if not getattr(labelled, part):
            found.faults.append(f"the {part} list is empty")
    if found.faults:
        return found
    check_overlap(labelled, found)
    if same_camera == "drop":
        check_matches(labelled, found)
    entries = len(labelled.gallery)
    if entries < HIGHEST_RANK:
        found.remarks.append(f"the gallery has {entries} entries, fewer than rank {HIGHEST_RANK}")
    singles = alone(labelled.train)
    if singles:
        found.remarks.append(f"{singles} training people have one image only: it will be its own hardest positive")
    if len(set(cameras(labelled.train))) == 1:
        found.remarks.append(
            "all training images come from one camera: nothing teaches what a person looks like in another"
        )
    return found


def check_overlap(labelled: Benchmark, found: Findings) -> None:
    """Nobody may be trained on and searched for."""
    test = (*labelled.query, *labelled.gallery)
    paths = {record.path for record in labelled.train} & {record.path for record in test}
    if paths:
        found.faults.append(f"{len(paths)} images both train and test, such as {min(paths).name}")
    if labelled.shares_ids:
        both = set(people(labelled.train)) & set(people(test))
        if both:
            found.faults.append(
                f"{len(both)} people both train and test, such as person {min(both)}: scores would say nothing about strangers"
            )


def check_matches(labelled: Benchmark, found: Findings) -> None:
    """Every query needs an image of its person from another camera."""
    seen: dict[int, set[int]] = {}
    for person, camera in zip(people(labelled.gallery), cameras(labelled.gallery), strict=True):
        seen.setdefault(person, set()).add(camera)
    pairs = zip(people(labelled.query), cameras(labelled.query), strict=True)
    lost = sum(not (seen.get(person, set()) - {camera}) for person, camera in pairs)
    total = len(labelled.query)
    one_camera = len(set(cameras((*labelled.query, *labelled.gallery)))) == 1
    if lost == total:
        why = "all test images come from one camera" if one_camera else "people or camera labels do not fit together"
        found.faults.append(f"none of {total} queries has a match from another camera: {why}")
    elif lost:
        found.remarks.append(f"{lost} of {total} queries have no match from another camera; they will not be counted")


def alone(records: Sequence[Record]) -> int:
    """People with a single image."""
    counts: dict[int, int] = {}
    for person in people(records):
        counts[person] = counts.get(person, 0) + 1
    return sum(count == 1 for count in counts.values())


def refuse_faults(labelled: Benchmark, *, same_camera: str = "drop") -> list[str]:
    """The quick part before a training: InputError for faults, remarks as sentences."""
    found = quick_checkup(labelled, same_camera=same_camera)
    if found.faults:
        raise InputError(
            f"{labelled.name} at {labelled.root}: {'; '.join(found.faults)}; see: upreid doctor {labelled.name} {labelled.root}"
        )
    return found.remarks
