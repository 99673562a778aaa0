"""A run's own files, read back to resume it, or to see how far it is."""

from pathlib import Path
from typing import Any, TypeVar

from upreid.config.command_line import parse
from upreid.config.files import digest, read_json, to_dict, to_flags
from upreid.errors import InputError
from upreid.models.encoder import read_file
from upreid.runtime.checkpoint import load_state
from upreid.runtime.journal import read_journal

Config = TypeVar("Config")


def saved_config(folder: Path, schema: type[Config], program: str) -> Config:
    """The configuration that the run in `folder` was started with; the folder may have moved."""
    if not (folder / "config.json").is_file():
        raise InputError(f"nothing to resume at {folder}: no config.json; give the --out of an earlier run")
    saved = read_json(folder / "config.json")
    if saved.get("program") != program:
        raise InputError(f"{folder} holds a run of {saved.get('program')}, not of {program}; resume it with that")
    return parse(schema, to_flags(saved["settings"] | {"out": str(folder)}), program=program)


def saved_state(config: Any) -> dict[str, Any] | None:
    """Load the last state; None where the run was stopped before its first save, and so begins again."""
    path = config.out / "state.pt"
    if not path.exists():
        return None
    state = load_state(path)
    if state["hash"] != digest(to_dict(config)):
        raise InputError(
            f"{path} was saved by a run with another configuration than {config.out / 'config.json'} says; "
            f"restore that file, or start a new run"
        )
    return state


def encoder_is_whole(folder: Path) -> bool:
    """Whether a pre-training came to its end."""
    encoder, config = folder / "encoder.safetensors", folder / "config.json"
    if not (encoder.exists() and config.exists()):
        return False
    return read_file(encoder)[0].step == read_json(config)["resolved"]["steps"]


def share_done(folder: Path) -> float:
    """How far a run has come, by its journal."""
    try:
        steps = read_json(folder / "config.json")["resolved"]["steps"]
        return (read_journal(folder / "metrics.jsonl")[-1]["step"] + 1) / steps
    except (OSError, IndexError, ValueError):
        return 0.0
