"""A configuration as JSON, and its hash."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from upreid.errors import InputError


def to_dict(config: Any) -> dict[str, Any]:
    """Plain values only: paths become strings, tuples lists."""
    return json.loads(json.dumps(asdict(config), default=str))


def to_flags(saved: dict[str, Any]) -> list[str]:
    """The command line that a saved configuration came from, every field spelt out."""
    from upreid.config.recipe import flags

    return flags(without_none(saved))


def without_none(table: dict[str, Any]) -> dict[str, Any]:
    """Drop what was not given, at every level; its default is the same."""
    kept = {key: value for key, value in table.items() if value is not None}
    return {key: without_none(value) if isinstance(value, dict) else value for key, value in kept.items()}


WITHOUT_EFFECT = {
    "out",
    "monitor",
    "tensorboard",
    "root",
    "threads",
    "workers",
    "save_every",
    "keep_states",
    "patience",
}
"""Settings that decide where, how fast and how closely watched a run is, not what comes of it."""


def digest(saved: dict[str, Any]) -> str:
    """Sixteen hex digits over everything that decides a result."""
    return hashlib.sha256(json.dumps(effective(saved), sort_keys=True).encode()).hexdigest()[:16]


def effective(table: dict[str, Any]) -> dict[str, Any]:
    """Drop what has no effect, at every level."""
    kept = {key: value for key, value in table.items() if key not in WITHOUT_EFFECT}
    return {key: effective(value) if isinstance(value, dict) else value for key, value in kept.items()}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; InputError where the file does not hold one."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); restore it, or start anew") from error
    if not isinstance(table, dict):
        raise InputError(f"{path} holds no JSON object; restore it, or start anew")
    return table
