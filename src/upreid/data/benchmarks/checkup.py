"""What can be wrong with a labelled set, told from its lists alone: seconds now, or a score that means nothing."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from upreid.data.benchmarks.benchmark import PARTS, Benchmark
from upreid.data.records import Record, people
from upreid.errors import InputError

HIGHEST_RANK = 10
"""The highest rank that results report."""
NAMED = 5
"""Number of files of a kind that are named."""

Pairs = list[tuple[Record, Record]]


@dataclass
class Diagnosis:
    """Faults make results impossible or worthless; remarks should be known."""

    faults: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def refuse_faults(labelled: Benchmark, *, trains: bool = True, same_camera: str = "drop") -> list[str]:
    """Run the quick checkup before a program: InputError for faults, else the remarks."""
    found = quick_checkup(labelled, trains=trains, same_camera=same_camera)
    if found.faults:
        raise InputError(
            f"{labelled.name} at {labelled.root}: {'; '.join(found.faults)}; see: upreid doctor {labelled.name} {labelled.root}"
        )
    return found.remarks


def refuse_training_faults(labelled: Benchmark) -> None:
    """Raise InputError for faults of the training list, where nothing but that is used of a set."""
    found = Diagnosis(faults=[] if labelled.train else ["the train list is empty"])
    check_repeats("train", labelled.train, found)
    if found.faults:
        raise InputError(f"{labelled.name} at {labelled.root}: {'; '.join(found.faults)}")


def quick_checkup(labelled: Benchmark, *, trains: bool = True, same_camera: str = "drop") -> Diagnosis:
    """Look at lists, people and cameras; no image is read.

    `trains`: whether the set is trained on, so that its training list counts. `same_camera`: whether gallery entries of the
    query's person and camera are left out of the ranking (drop) or count as right answers (keep).
    """
    found = Diagnosis()
    parts = PARTS if trains else ("query", "gallery")
    found.faults += [f"the {part} list is empty" for part in parts if not getattr(labelled, part)]
    if found.faults:
        return found
    for part in parts:
        check_repeats(part, getattr(labelled, part), found)
    by_path = {record.path: record for record in labelled.gallery}
    both = [(query, by_path[query.path]) for query in labelled.query if query.path in by_path]
    found.faults += copy_faults(both, "the same file", same_camera)
    if trains:
        check_overlap(labelled, found)
        check_training(labelled, found)
    if same_camera == "drop":
        check_matches(labelled, found)
    entries, unknown = len(labelled.gallery), labelled.facts.get("unknown_cameras", 0)
    if entries < HIGHEST_RANK:
        found.remarks.append(f"the gallery has {entries} entries, fewer than rank {HIGHEST_RANK}")
    if unknown:
        found.remarks.append(
            f"{unknown} images have no camera label: nothing of the same person is left out of their rankings, so pictures of "
            f"one moment may find each other"
        )
    return found


def check_repeats(part: str, records: Sequence[Record], found: Diagnosis) -> None:
    """No list may name an image twice: it would count twice, or stand for two people."""
    people_of: dict[object, set[int | None]] = {}
    for record in records:
        people_of.setdefault(record.path, set()).add(record.person)
    repeated = [path for path, times in Counter(record.path for record in records).items() if times > 1]
    if repeated:
        two = sum(len(people_of[path]) > 1 for path in repeated)
        under = f", {two} of them under two people" if two else ""
        found.faults.append(f"{len(repeated)} images stand twice in the {part} list{under}, such as {repeated[0].name}")


def copy_faults(pairs: Pairs, how: str, same_camera: str) -> list[str]:
    """Say what is wrong with queries that stand in the gallery too, which makes finding them no feat.

    An entry of the query's own person and camera is left out of the ranking by the usual rule, so it does no harm there:
    PersonX has such entries by design.
    """
    foreign = [(query, other) for query, other in pairs if query.person != other.person]
    own = [
        (query, other)
        for query, other in pairs
        if query.person == other.person and (same_camera == "keep" or not is_same_camera(query, other))
    ]
    kinds = (foreign, f"as other people ({how})"), (own, f"themselves ({how}), so finding them is no feat")
    return [
        f"{len({query.path for query, _ in some})} queries stand in the gallery {what}: {named(some)}"
        for some, what in kinds
        if some
    ]


def is_same_camera(one: Record, other: Record) -> bool:
    """Return whether two images come from one camera that is known."""
    return one.camera is not None and one.camera == other.camera


def named(pairs: Pairs) -> str:
    """Name the first of some pairs of images."""
    return ", ".join(f"{one.path.name} = {other.path.name}" for one, other in pairs[:NAMED])


def check_overlap(labelled: Benchmark, found: Diagnosis) -> None:
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


def check_training(labelled: Benchmark, found: Diagnosis) -> None:
    """Remark on training images that teach little."""
    singles = sum(count == 1 for count in Counter(people(labelled.train)).values())
    if singles:
        found.remarks.append(f"{singles} training people have one image only: it will be its own hardest positive")
    if len({record.camera for record in labelled.train}) == 1 and labelled.train[0].camera is not None:
        found.remarks.append(
            "all training images come from one camera: nothing teaches what a person looks like in another"
        )


def check_matches(labelled: Benchmark, found: Diagnosis) -> None:
    """Every query needs an image of its person from another camera; an unknown camera is another than any."""
    seen: dict[int | None, set[int | None]] = {}
    for record in labelled.gallery:
        seen.setdefault(record.person, set()).add(record.camera)
    lost = sum(not (seen.get(query.person, set()) - ({query.camera} - {None})) for query in labelled.query)
    total = len(labelled.query)
    test = {record.camera for record in (*labelled.query, *labelled.gallery)}
    if lost == total:
        why = (
            "all test images come from one camera" if len(test) == 1 else "people or camera labels do not fit together"
        )
        found.faults.append(f"none of {total} queries has a match from another camera: {why}")
    elif lost:
        found.remarks.append(f"{lost} of {total} queries have no match from another camera; they will not be counted")
