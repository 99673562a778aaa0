"""A run's own files, read back: to resume it, to look into it, or to see how far it is."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from upreid.config.command_line import parse
from upreid.config.files import digest, read_json, to_flags
from upreid.config.methods import schema_of
from upreid.errors import DataError, InputError
from upreid.models.encoder import read_file
from upreid.runtime.journal import read_journal
from upreid.training.state import upgrade
from upreid.training.states import States


@dataclass(frozen=True)
class SavedConfig:
    """The configuration that a run was started with."""

    config: Any
    """As it is to go on: paths that were given relative to another folder lead there."""
    hash: str
    """Of the configuration as it was given."""


def saved_config(folder: Path, program: str) -> SavedConfig:
    """Read the configuration that the run in `folder` was started with; the folder may have moved."""
    if not (folder / "config.json").is_file():
        raise InputError(f"nothing to resume at {folder}: no config.json; give the --out of an earlier run")
    saved = read_json(folder / "config.json")
    if saved.get("program") != program:
        raise InputError(f"{folder} holds a run of {saved.get('program')}, not of {program}; resume it with that")
    settings = saved.get("settings")
    if not isinstance(settings, dict):
        raise DataError(f"{folder / 'config.json'} has no table of settings; restore it, or start anew")
    flags = to_flags(settings | {"out": str(folder)})
    config: Any = parse(schema_of(program, flags), flags, program=program)
    return SavedConfig(found_again(config, saved.get("started_in")), digest(config))


def found_again(config: Any, started_in: str | None) -> Any:
    """Follow relative paths of the data from the folder that the run was started in, where they do not lead there from here."""
    data = config.data
    moved = {}
    for name in ("root", "split"):
        path = getattr(data, name, None)
        if path is None or path.is_absolute() or path.exists() or started_in is None:
            continue
        moved[name] = Path(started_in) / path
    return replace(config, data=replace(data, **moved)) if moved else config


def saved_state(folder: Path, hash_: str, states: States) -> dict[str, Any] | None:
    """Load the last whole state; None where there is none. InputError where it is of another configuration."""
    state = states.load()
    if state is not None and state["hash"] != hash_:
        raise InputError(
            f"the state in {folder} was saved with another configuration than {folder / 'config.json'} says, "
            "or by another version of upreid; restore that file, go on with that version, or start a new run"
        )
    return None if state is None else upgrade(state)


def encoder_is_whole(folder: Path) -> bool:
    """Whether a training came to its end."""
    encoder = folder / "encoder.safetensors"
    if not (encoder.exists() and (folder / "config.json").exists()):
        return False
    return read_file(encoder)[0].step == steps_of(folder)


def steps_of(folder: Path) -> int:
    """Return how many steps a run will have; DataError where its configuration does not say."""
    resolved = read_json(folder / "config.json").get("resolved")
    steps = resolved.get("steps") if isinstance(resolved, dict) else None
    if type(steps) is not int or steps < 1:
        raise DataError(f"{folder / 'config.json'} does not say how many steps its run has; restore it")
    return steps


def share_done(folder: Path) -> float:
    """Return how far a run has come, by its journal."""
    try:
        return (read_journal(folder / "metrics.jsonl")[-1]["step"] + 1) / steps_of(folder)
    except (OSError, IndexError, ValueError):
        return 0.0
