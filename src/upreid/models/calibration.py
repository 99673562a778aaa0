"""A calibration in the header of an encoder file: up to which distance two features are taken for one person.

It is written into a file without touching the tensors, and does not change which encoder the file holds: `encoder_sha256` is the
hash of the file without it.
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from upreid.ranges import Count, NotNegative, Share, ShareOrZero
from upreid.runtime.files import write_aside

ALIGNMENT = 8
"""Number of bytes of which the length of a safetensors header is a multiple."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Largest distance at which two features are taken for one person, and how often that is wrong. Intervals hold 95 %."""

    distance: NotNegative
    interval: tuple[float, float]
    """Interval of the distance, by drawing the calibration people anew."""
    expected: tuple[float, float]
    """Interval of the false-accept rate that the calibration people let expect on others."""
    false_accept: ShareOrZero
    """False-accept rate on people who were kept apart: share of the pairs of two people that are taken for one."""
    false_accept_interval: tuple[float, float]
    false_reject: ShareOrZero
    """False-reject rate on these people: share of the pairs of one person that are taken for two."""
    false_reject_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Thresholds of an encoder for a false-accept rate, and what they hold for."""

    false_accept: Share
    """False-accept rate that was asked for."""
    metric: Literal["cosine", "euclidean"]
    neck: Literal["after", "before"]
    flip: bool
    data: str
    """What the pairs were made of."""
    pairs: str
    """Which pairs counted."""
    people: Count
    """Number of people that the thresholds were taken from."""
    test_people: Count
    """Number of people that were kept apart."""
    image: Threshold
    """Threshold for the features of two images."""
    tracklet: Threshold | None = None
    """Threshold for the means over two tracklets."""


def percent(share: float) -> str:
    """Write a rate in percent."""
    return f"{100 * share:.3g} %"


def percents(shares: tuple[float, float]) -> str:
    """Write an interval of rates in percent."""
    return " to ".join(f"{100 * share:.3g}" for share in shares) + " %"


def calibration_from(values: dict[str, Any]) -> Calibration:
    """Build a calibration from JSON, whose fields were checked."""
    found: dict[str, Any] = {name: threshold_from(values[name]) for name in ("image", "tracklet") if values.get(name)}
    return Calibration(**values | found)


def threshold_from(values: dict[str, Any]) -> Threshold:
    """Build a threshold from JSON, whose fields were checked."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return Threshold(**fields)


def write_calibration(path: Path, key: str, calibration: Calibration | None) -> None:
    """Put a calibration into the header of an encoder file, under `key` in its metadata, in place of one that is there."""
    with path.open("rb") as file, write_aside(path) as aside:
        head = header_with(file, key, calibration)
        with aside.open("wb") as out:
            out.write(head)
            shutil.copyfileobj(file, out)


def encoder_sha256(path: Path, key: str) -> str:
    """Return the hash of an encoder file, as it is without a calibration."""
    with path.open("rb") as file:
        digest = hashlib.sha256(header_with(file, key, None))
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def header_with(file: BinaryIO, key: str, calibration: Calibration | None) -> bytes:
    """Read the header of a safetensors file, its length first, and return it with another calibration; the tensors follow.

    Where there is neither an old nor a new one, the bytes are those of the file.
    """
    length = file.read(8)
    text = file.read(int.from_bytes(length, "little"))
    header = json.loads(text)
    metadata = header.get("__metadata__", {})
    values = json.loads(metadata.get(key, "{}"))
    if calibration is None and "calibration" not in values:
        return length + text
    values.pop("calibration", None)
    if calibration is not None:
        values["calibration"] = asdict(calibration)
    metadata[key] = json.dumps(values, sort_keys=True)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
