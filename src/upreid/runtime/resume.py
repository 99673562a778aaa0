"""The folder of an interrupted run: the run is continued, or its folder is moved aside; it is never deleted."""

import json
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from upreid.runtime.console import say
from upreid.runtime.folder import claim, is_left_over, wait_until_free

RESUMABLE = ("pretrain", "finetune", "adapt")


def continued(line: Sequence[str], folder: Path, settings: Mapping[str, Any]) -> list[str]:
    """Return the command that continues the run in `folder`, or `line`, which begins it, where there is none.

    `settings` are those by which `line` and the saved run are known to be the same, such as `{"train.seed": 1}`; two
    spellings of one path are equal. A folder that holds anything else is moved aside, and that is said. Raises
    InputError where a process still works in it.
    """
    wait_until_free(folder)  # a tour that was killed outright leaves processes that are still saving
    if is_begun(folder):
        reason = obstacle(line[0], folder, settings)
        if reason is None:
            return [line[0], "--resume", str(folder)]
        move_aside(folder, reason)
    return list(line)


def is_begun(folder: Path) -> bool:
    """Whether a run, or something else, has left more in `folder` than a new run may find there."""
    entries = folder.iterdir() if folder.is_dir() else ()
    return any(not is_left_over(entry.name) for entry in entries)


def obstacle(program: str, folder: Path, settings: Mapping[str, Any]) -> str | None:
    """Say why the run in `folder` cannot be continued with `settings`; None where it can."""
    if program not in RESUMABLE:
        return f"upreid {program} starts anew"
    places = [place for place in (folder / "config.json", folder / "trials" / "config.json") if place.exists()]
    try:
        saved = json.loads(places[0].read_text(encoding="utf-8"))
        owner, found = saved["program"], {name: value_of(saved["settings"], name) for name in settings}
        started_in = Path(saved.get("started_in") or ".")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return "its config.json is missing or damaged"
    if owner != program:
        return f"it holds a run of {owner}"
    name = next((name for name, value in settings.items() if not is_same(found[name], value, started_in)), None)
    return None if name is None else f"its --{name.replace('_', '-')} is {found[name]} and not {settings[name]}"


def value_of(table: Mapping[str, Any], name: str) -> Any:
    """Look up a dotted name such as `train.seed`; None where there is no such setting."""
    first, _, rest = name.partition(".")
    return value_of(table[first], rest) if rest and table.get(first) is not None else table.get(first)


def is_same(saved: Any, value: Any, started_in: Path) -> bool:
    """Whether two values are equal, or two spellings of one path, the saved one as seen from where the run was started."""
    if isinstance(saved, str) and isinstance(value, str):
        return saved == value or (started_in / saved).resolve() == Path(value).resolve()
    return saved == value


def move_aside(folder: Path, reason: str) -> None:
    """Rename `folder` to a free name beside it; InputError where another process works in it."""
    free = free_name(folder)
    with claim(folder, resume=True):
        folder.rename(free)
    say(f"{folder} cannot be continued ({reason}); it was moved to {free}")


def free_name(path: Path) -> Path:
    """Return a name beside `path` that nothing has."""
    return next(free for free in (path.with_name(f"{path.name}.aside-{n}") for n in count(1)) if not free.exists())
