"""What may stand in an encoder file's header: it comes from elsewhere, and decides how much memory is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from math import isfinite
from typing import Any

LARGEST = 4096
"""Pixels a side, or channels: far above any re-identification model."""


def is_count(value: Any) -> bool:
    """Whether it is a whole number from 1 to the largest."""
    return type(value) is int and 0 < value <= LARGEST


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return type(value) in (int, float) and isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, not negative, that fits 64 bits."""
    return type(value) is int and 0 <= value < 2**63


def is_channels(value: Any) -> bool:
    """Whether it is a number for each of the three channels."""
    return isinstance(value, list | tuple) and len(value) == 3 and all(map(is_number, value))


RULES: dict[str, Callable[[Any], bool]] = {
    "channels": lambda value: value is None or is_count(value),
    "last_stride": lambda value: value in (None, 1, 2),
    "height": is_count,
    "width": is_count,
    "mean": is_channels,
    "std": is_channels,
    "interpolation": lambda value: value in ("bilinear", "bicubic"),
    "seed": lambda value: value is None or is_whole(value),
    "step": is_whole,
    "format": is_whole,
    "head": lambda value: value is None or isinstance(value, Mapping),
    "pool": lambda value: value in ("avg", "gem"),
    "embed_dim": is_count,
    "extra_bn": lambda value: type(value) is bool,
    "camera_weight": is_number,
    "jigsaw": lambda value: type(value) is bool,
    "cameras": lambda value: isinstance(value, list | tuple) and len(value) <= LARGEST and all(map(is_whole, value)),
}
"""Field of the header or of its head -> whether a value will do; all others are texts."""


def complaint(schema: Any, values: Mapping[str, Any]) -> str:
    """Name the first field of the dataclass `schema` that is missing, unknown or strange; an empty text where none is."""
    known = {field.name: field for field in fields(schema)}
    needed = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    for name in sorted(needed - values.keys()):
        return f"it has no {name}"
    for name, value in values.items():
        if name not in known:
            return f"it has a field '{name[:40]}' that nobody knows"
        if not RULES.get(name, lambda text: isinstance(text, str))(value):
            return f"its {name} is {repr(value)[:60]}"
    return ""
