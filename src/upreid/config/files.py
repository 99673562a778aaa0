"""A configuration as JSON, and its hash."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any

from upreid.config.recipe import flags, without_none
from upreid.config.training import TrainingConfig
from upreid.errors import DataError


def to_dict(config: Any) -> dict[str, Any]:
    """Turn a configuration into plain values: paths become strings, tuples lists."""
    return json.loads(json.dumps(asdict(config), default=str))


def to_flags(saved: dict[str, Any]) -> list[str]:
    """Return the command line that a saved configuration came from, every field spelt out."""
    return flags(without_none(saved))


def digest(config: TrainingConfig) -> str:
    """Return sixteen hex digits over everything that decides the result of a training.

    What decides nothing (`without_effect`) is left out, and so is a setting that is younger than the first saved states
    (`added_later`) while it has its default: a state saved before it existed can still be resumed.
    """
    return hash_of(effective(config, without=config.without_effect, later=config.added_later))


def effective(section: Any, prefix: str = "", *, without: Sequence[str], later: Sequence[str]) -> dict[str, Any]:
    """Select the settings of a section that decide a result; `without` and `later` name fields by their full path."""
    kept: dict[str, Any] = {}
    for field in fields(section):
        path, value = prefix + field.name, getattr(section, field.name)
        if path in without or (path in later and value == default_of(field)):
            continue
        kept[field.name] = effective(value, f"{path}.", without=without, later=later) if is_dataclass(value) else value
    return kept


def default_of(field: Field[Any]) -> Any:
    """Return the default of a field; MISSING where it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def hash_of(table: dict[str, Any]) -> str:
    """Return sixteen hex digits over a table of settings."""
    return hashlib.sha256(json.dumps(table, default=str, sort_keys=True).encode()).hexdigest()[:16]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; DataError where the file does not hold one."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); restore it, or start anew") from error
    if not isinstance(table, dict):
        raise DataError(f"{path} holds no JSON object; restore it, or start anew")
    return table
