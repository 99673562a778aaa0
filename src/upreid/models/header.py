"""The header of an encoder file: it decides architecture, input size and normalisation of every later program.

It comes from elsewhere, and decides how much memory is asked for, so every field is checked against its type and range.
"""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from math import isfinite
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from upreid.errors import DataError
from upreid.models.calibration import Calibration, Threshold, calibration_from
from upreid.models.settings import HeadSettings
from upreid.ranges import CountOrZero, Interpolation, Pixels, Seed

FORMAT = 2
ADDED_LATER = ("patch_stride", "attention_heads", "neck", "calibration")
"""Fields that earlier versions do not know, and that a file has only where they say something."""


@dataclass(frozen=True, kw_only=True)
class EncoderHeader:
    """What an encoder file says about itself."""

    backbone: str
    channels: Pixels | None
    last_stride: Literal[1, 2] | None
    patch_stride: Pixels | None = None
    """Distance of a ViT's patches; by default their size."""
    attention_heads: Pixels | None = None
    """Number of attention heads of a ViT, where it is not timm's."""
    height: Pixels
    width: Pixels
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bilinear"
    head: HeadSettings | None = None
    """The head that fine-tuning put on the backbone."""
    neck: Literal["after", "before"] = "after"
    """Side of the head's neck from which the encoder's recipe, or the program that it comes from, takes features."""
    init: str = ""
    """What fine-tuning started from."""
    trained_on: str = ""
    """The labelled set of the fine-tuning, and how much of it."""
    seed: Seed | None = None
    """Seed of the fine-tuning."""
    recipe: str = ""
    recipe_hash: str = ""
    step: CountOrZero = 0
    licence_note: str = ""
    calibration: Calibration | None = None
    """Distances up to which two features are taken for one person (upreid calibrate)."""
    format: int = FORMAT

    def as_dict(self) -> dict[str, Any]:
        """Return the fields; those added later are left out while they have their default."""
        values = asdict(self)
        for name in ADDED_LATER:
            if values[name] == getattr(type(self), name):
                del values[name]
        if self.head is not None and not self.head.published_jigsaw:
            del values["head"]["published_jigsaw"]
        return values


def read_header(path: Path, text: str) -> EncoderHeader:
    """Parse a header; raise DataError where it is of another format, or where a field has a value that it cannot have."""
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} has a header that cannot be read ({type(error).__name__})") from error
    if not isinstance(values, dict):
        raise DataError(f"{path} has a header that cannot be read (no JSON object)")
    if values.get("format") == 1 and not values.pop("neck", None):  # pre-training of version 0.1.0: the rest by default
        values["format"] = FORMAT
    if values.get("format") != FORMAT or not set(values) <= {field.name for field in fields(EncoderHeader)}:
        raise DataError(
            f"{path} has a header of format {str(values.get('format'))[:40]}, this version reads {FORMAT}; "
            f"use the upreid that wrote it"
        )
    head, calibration = values.get("head"), values.get("calibration")
    wrong = complaint(EncoderHeader, values) or (head and complaint(HeadSettings, head))
    if not wrong and calibration:
        thresholds = [calibration[name] for name in ("image", "tracklet") if calibration.get(name)]
        wrong = complaint(Calibration, calibration) or next(
            filter(None, (complaint(Threshold, one) for one in thresholds)), ""
        )
    if wrong:
        raise DataError(f"{path} has a header that cannot be read ({wrong})")
    values |= {name: tuple(map(float, values[name])) for name in ("mean", "std")}
    if head:
        values["head"] = HeadSettings(**head | {"cameras": tuple(head.get("cameras", ()))})
    if calibration:
        values["calibration"] = calibration_from(calibration)
    return EncoderHeader(**values)


def complaint(schema: Any, values: Mapping[str, Any]) -> str:
    """Describe the first field of the dataclass `schema` that is missing, unknown or out of range; empty where all are right."""
    kinds = get_type_hints(schema, include_extras=True)
    for field in fields(schema):
        if field.name not in values and field.default is MISSING:
            return f"it has no {field.name}"
    for name, value in values.items():
        if name not in kinds:
            return f"it has a field '{name[:40]}' that nobody knows"
        if not fits(value, kinds[name]):
            return f"its {name} is {repr(value)[:60]}"
    return ""


def fits(value: Any, kind: Any) -> bool:
    """Return whether a value from JSON has the type of a field and lies in its range."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return fits(value, inner[0]) and all(limits.admits(value) for limits in inner[1:])
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if origin is tuple:
        each = inner[:1] * len(value) if isinstance(value, list | tuple) and Ellipsis in inner else inner
        return isinstance(value, list | tuple) and len(value) == len(each) and all(map(fits, value, each))
    if is_dataclass(kind):
        return isinstance(value, Mapping)  # of which `complaint` looks at the fields
    if kind is float:
        return (type(value) is int and abs(value) < 2**63) or (type(value) is float and isfinite(value))
    return type(value) is kind and (kind is not int or abs(value) < 2**63)
