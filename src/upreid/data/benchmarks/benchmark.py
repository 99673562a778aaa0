"""A labelled set: three lists of records, and the facts that a result should state about them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upreid.data.benchmarks.published import differences
from upreid.data.records import Record

PARTS = ("train", "query", "gallery")
NAMED = 3
"""So many names that do not match are kept in the facts."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Junk is dropped already; distractors stand in the gallery.

    Facts: `variant` (which one of the set's forms this is, in words); `train`, `query`, `gallery` (each the number of
    images, people, cameras); `junk_dropped`; `distractors`; `names_not_matched` and `first_names_not_matched`;
    `differs_from_published` (sentences, none where the counts are the known ones); `also_present` (other forms of the
    same set that were seen beside it and left alone).
    """

    name: str
    root: Path
    """Where it was found."""
    train: tuple[Record, ...]
    query: tuple[Record, ...]
    gallery: tuple[Record, ...]
    shares_ids: bool = True
    """Is one number one person in all three lists? MSMT17 numbers training and test people from 0 each."""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of the three lists as it was read."""

    records: tuple[Record, ...]
    num_junk: int = 0
    odd_names: tuple[str, ...] = ()
    """Images whose names do not match."""


def count(records: tuple[Record, ...]) -> dict[str, int]:
    """Images, people and cameras of a list."""
    people = {record.person for record in records}
    return {"images": len(records), "people": len(people), "cameras": len({record.camera for record in records})}


def assemble(
    name: str,
    root: Path,
    parts: dict[str, Part],
    *,
    variant: str,
    shares_ids: bool = True,
    num_distractors: int = 0,
    also_present: Sequence[str] = (),
) -> Benchmark:
    """Put the three lists together, count them, and compare the counts to the published ones."""
    counts = {part: count(parts[part].records) for part in PARTS}
    odd = [name for part in PARTS for name in parts[part].odd_names]
    facts = {
        "variant": variant,
        **counts,
        "junk_dropped": sum(parts[part].num_junk for part in PARTS),
        "distractors": num_distractors,
        "names_not_matched": len(odd),
        "first_names_not_matched": odd[:NAMED],
        "differs_from_published": differences(name, counts),
        "also_present": list(also_present),
    }
    lists = {part: parts[part].records for part in PARTS}
    return Benchmark(name=name, root=root, shares_ids=shares_ids, facts=facts, **lists)
