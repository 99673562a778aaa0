"""A labelled set: three lists of records, and the facts that a result should state about them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from upreid.types import Record

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Junk is dropped already; distractors stand in the gallery."""

    name: str
    root: Path
    train: tuple[Record, ...]
    query: tuple[Record, ...]
    gallery: tuple[Record, ...]
    facts: dict[str, Any] = field(default_factory=dict)


def count(records: tuple[Record, ...]) -> dict[str, int]:
    """Images, people and cameras of a list."""
    people = {record.person for record in records}
    return {"images": len(records), "people": len(people), "cameras": len({record.camera for record in records})}
