"""A run's own files: its folder opened, and read back to resume it or to see how far it is."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from upreid.config.command_line import parse
from upreid.config.files import digest, read_json, to_flags
from upreid.config.methods import schema_of
from upreid.errors import InputError
from upreid.models.encoder import read_file
from upreid.runtime.console import logging_to, say
from upreid.runtime.distributed import World, from_lead
from upreid.runtime.folder import claim
from upreid.runtime.journal import read_journal
from upreid.runtime.states import States


def saved_config(folder: Path, program: str) -> Any:
    """The configuration that the run in `folder` was started with; the folder may have moved."""
    if not (folder / "config.json").is_file():
        raise InputError(f"nothing to resume at {folder}: no config.json; give the --out of an earlier run")
    saved = read_json(folder / "config.json")
    if saved.get("program") != program:
        raise InputError(f"{folder} holds a run of {saved.get('program')}, not of {program}; resume it with that")
    settings = saved.get("settings")
    if not isinstance(settings, dict):
        raise InputError(f"{folder / 'config.json'} has no table of settings; restore it, or start anew")
    flags = to_flags(settings | {"out": str(folder)})
    return parse(schema_of(program, flags), flags, program=program)


def open_run(
    config: Any, program: str, world: World, stack: ExitStack, *, resumes: bool
) -> tuple[States, dict[str, Any] | None]:
    """Claim the run's folder until `stack` closes, and read the last whole state for every rank.

    Rank 0 alone touches the folder; what it cannot do is raised on all. None: there is nothing to go on from, because the
    run is new or was stopped before its first save.
    """
    states = States(config.out, config.train.keep_states)

    def open_folder() -> dict[str, Any] | None:
        stack.enter_context(claim(config.out, resume=resumes))
        stack.enter_context(logging_to(config.out / "logs" / f"{program}.log"))
        return saved_state(config, states)

    state = from_lead(open_folder, world)
    if world.is_lead and (resumes or state):
        say(f"resuming {config.out} at step {state['step'] if state else 0}")
    return states, state


def saved_state(config: Any, states: States) -> dict[str, Any] | None:
    """Load the last whole state; None where there is none. InputError where it is of another configuration."""
    state = states.load()
    if state is not None and state["hash"] != digest(config):
        raise InputError(
            f"the state in {config.out} was saved with another configuration than {config.out / 'config.json'} says, "
            "or by another version of upreid; restore that file, go on with that version, or start a new run"
        )
    return state


def encoder_is_whole(folder: Path) -> bool:
    """Whether a pre-training came to its end."""
    encoder = folder / "encoder.safetensors"
    if not (encoder.exists() and (folder / "config.json").exists()):
        return False
    return read_file(encoder)[0].step == steps_of(folder)


def steps_of(folder: Path) -> int:
    """How many steps a run will have; InputError where its configuration does not say."""
    resolved = read_json(folder / "config.json").get("resolved")
    steps = resolved.get("steps") if isinstance(resolved, dict) else None
    if type(steps) is not int or steps < 1:
        raise InputError(f"{folder / 'config.json'} does not say how many steps its run has; restore it")
    return steps


def share_done(folder: Path) -> float:
    """How far a run has come, by its journal."""
    try:
        return (read_journal(folder / "metrics.jsonl")[-1]["step"] + 1) / steps_of(folder)
    except (OSError, IndexError, ValueError):
        return 0.0
