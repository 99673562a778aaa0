"""A run's own files, read back: to resume it, to look into it, or to see how far it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from upreid.config.command_line import parse
from upreid.config.files import digest, read_json, to_dict, to_flags
from upreid.config.methods import schema_of
from upreid.config.recipe import flat
from upreid.config.training import TrainingConfig
from upreid.data.settings import TRACKLET_WORDS
from upreid.errors import DataError, InputError
from upreid.models.encoder import read_file
from upreid.runtime.journal import read_journal
from upreid.training.state import upgrade
from upreid.training.states import States

LENGTH = {"train.epochs", "train.steps"}
"""Settings that a new run, which starts from the state of another, may have otherwise."""


@dataclass(frozen=True)
class SavedRun:
    """The configuration that a run was started with, and what is to be otherwise now."""

    config: Any
    """As it is to go on: paths that were given relative to another folder lead there."""
    hash: str
    """Of the configuration as it was given: what the states of the run were saved under."""
    start: Path | None = None
    """The run whose state a new, longer run starts from; None where the run itself goes on."""


def saved_run(folder: Path, program: str, flags: Sequence[str] = ()) -> SavedRun:
    """Read the configuration that the run in `folder` was started with, and apply `flags` that do not decide the result.

    The folder may have moved. More epochs or steps together with another `--out` make a new run that starts from the last state.
    Raises InputError for every other flag, DataError where the files of the run are damaged.
    """
    if not (folder / "config.json").is_file():
        raise InputError(f"nothing to resume at {folder}: no config.json; give the --out of an earlier run")
    saved = read_json(folder / "config.json")
    if saved.get("program") != program:
        raise InputError(f"{folder} holds a run of {saved.get('program')}, not of {program}; resume it with that")
    settings = saved.get("settings")
    if not isinstance(settings, dict):
        raise DataError(f"{folder / 'config.json'} has no table of settings; restore it, or start anew")
    words = to_flags(settings | {"out": str(folder)})
    schema = schema_of(program, words)
    before: Any = parse(schema, words, program=program)
    after: Any = parse(schema, [*words, *flags], program=program)
    is_new = is_longer_run(before, after, program)
    config = found_again(after, saved.get("started_in"))
    return SavedRun(config, digest(before), start=folder if is_new else None)


def is_longer_run(before: TrainingConfig, after: TrainingConfig, program: str) -> bool:
    """Whether the flags of a resume ask for a new, longer run; InputError where they change what decides the result."""
    old, new = (flat(to_dict(config)) for config in (before, after))
    changed = {name for name in new if new[name] != old.get(name)}
    free = {name for name in changed if decides_nothing(name, before)} | ({"train.device"} & changed)
    deciding = sorted(changed - free)
    if not deciding:
        if "out" in changed:
            raise InputError(f"upreid {program} --resume goes on in the run's own folder; leave --out away")
        return False
    if set(deciding) <= LENGTH and "out" in changed:
        return True
    flag = f"--{deciding[0].replace('_', '-')}"
    if set(deciding) <= LENGTH:
        raise InputError(f"{flag} on a run that is there makes a new run, which needs a folder of its own: give --out")
    raise InputError(
        f"{flag} decides the result, and a run goes on as it was begun; leave it away, or start a new run (a resume takes "
        "--data.root, --train.workers and other settings that change no number)"
    )


def decides_nothing(name: str, config: TrainingConfig) -> bool:
    """Whether a setting has no effect on the result, by its full name or that of its section."""
    return any(name == free or name.startswith(f"{free}.") for free in config.without_effect)


def found_again(config: Any, started_in: str | None) -> Any:
    """Follow relative paths of the data from the folder that the run was started in, where they do not lead there from here."""
    for section in ("data", "source"):
        settings, moved = getattr(config, section, None), {}
        for name in ("root", "split", "tracklets"):
            path = getattr(settings, name, None)
            if path is None or str(path) in TRACKLET_WORDS or path.is_absolute() or path.exists() or started_in is None:
                continue
            moved[name] = Path(started_in) / path
        if moved:
            assert settings is not None
            config = replace(config, **{section: replace(settings, **moved)})
    return config


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
