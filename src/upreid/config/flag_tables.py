"""Flags as tables: `{"train": {"epochs": 20}}` is `--train.epochs 20`."""

from typing import Any


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` to `{"a.b": 1}`."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def nested(table: dict[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` to `{"a": {"b": 1}}`."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        *sections, key = name.split(".")
        inner = found
        for one in sections:
            inner = inner.setdefault(one, {})
        inner[key] = value
    return found


def merged(*tables: dict[str, Any]) -> dict[str, Any]:
    """Tables of flags on top of each other; the last wins, however a flag is spelt."""
    found: dict[str, Any] = {}
    for table in tables:
        found |= {name.replace("-", "_"): value for name, value in flat(table).items()}
    return nested(found)


def without_none(value: Any) -> Any:
    """Plain values only; what was not given is left out."""
    if isinstance(value, dict):
        return {key: without_none(inner) for key, inner in value.items() if inner is not None}
    return [without_none(inner) for inner in value] if isinstance(value, list | tuple) else value
