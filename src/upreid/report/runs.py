"""The runs of a report: what their folders say of them, before anything is computed."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from upreid.config.files import read_json
from upreid.config.methods import METHODS
from upreid.config.recipe import flat
from upreid.errors import DataError, InputError
from upreid.models.encoder import ENCODER_FILE, read_file
from upreid.models.header import EncoderHeader
from upreid.runtime.journal import entry_of, lines_before, read_journal
from upreid.training.saved import saved_run, steps_of

NOT_COMPARED = ("out", "train.threads", "train.workers", "train.save_every", "train.keep_states", "tensorboard")
"""Settings that say nothing about how two runs differ."""


@dataclass(frozen=True)
class ReportedRun:
    """A run that has begun."""

    folder: Path
    name: str
    """What tells it from the other runs of the report."""
    facts: dict[str, Any]
    """Content of `config.json`."""
    journal: list[dict[str, Any]]

    @property
    def program(self) -> str:
        """Return the command that trains it."""
        return str(self.facts["program"])

    @property
    def settings(self) -> dict[str, Any]:
        """Return its settings by their full names."""
        return flat(self.facts["settings"])

    @cached_property
    def config(self) -> Any:
        """Return its configuration; paths lead to where its data are now."""
        return saved_run(self.folder, self.program).config

    @property
    def steps(self) -> int:
        """Return how many steps it will have."""
        return steps_of(self.folder)

    @property
    def steps_done(self) -> int:
        """Return how many steps its journal tells of."""
        return max(line["step"] for line in self.journal) + 1

    @property
    def batch(self) -> int | None:
        """Return the number of images in a step; None where its settings do not say."""
        train = self.facts["settings"].get("train", {})
        batch = train.get("batch") or train.get("identities", 0) * train.get("images", 0)
        return batch if isinstance(batch, int) and batch > 0 else None

    @property
    def minutes(self) -> float:
        """Return how long it has trained; of a run that was resumed the time before counts too."""
        seconds = [float(line["seconds"]) for line in self.journal if "seconds" in line]
        ends = [now for now, then in zip(seconds, [*seconds[1:], 0.0], strict=True) if then < now]
        return sum(ends) / 60

    @property
    def header(self) -> EncoderHeader | None:
        """Return the header of its encoder; None before its first save."""
        path = self.folder / ENCODER_FILE
        return read_file(path)[0] if path.is_file() else None

    @property
    def overview(self) -> dict[str, str]:
        """Describe it in a row of a table."""
        facts, settings = self.facts, self.settings
        resolved, machine = facts.get("resolved", {}), facts.get("hardware", {})
        done = self.steps_done
        gpu = machine.get("gpu", "none")
        return {
            "trained by": f"{self.program} {settings.get('method', '')}",
            "recipe": str(settings.get("recipe", "-")),
            "data": str(settings.get("data.root", "-")),
            "images": f"{resolved['images']:,}" if "images" in resolved else "-",
            "steps": f"{done:,}" if done == self.steps else f"{done:,} of {self.steps:,}",
            "minutes": f"{self.minutes:.1f}",
            "seed": str(settings.get("train.seed", "-")),
            "precision": "bfloat16" if resolved.get("bf16") else "single",
            "machine": f"{machine.get('cores', '?')} cores, {'no GPU' if gpu == 'none' else gpu}",
            "commit": str(facts.get("commit") or "installed package")[:10],
        }


def read_runs(folders: Sequence[Path]) -> list[ReportedRun]:
    """Read what the folders of some runs say; InputError for a folder that is no run, or one that has not begun."""
    places = [folder.resolve() for folder in folders]
    for place, folder in zip(places, folders, strict=True):
        if places.count(place) > 1:
            raise InputError(f"{folder} was given {places.count(place)} times; name each run once")
    return [
        ReportedRun(folder, *of) for folder, of in zip(folders, map(contents, folders, names_of(places)), strict=True)
    ]


def contents(folder: Path, name: str) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """Read configuration and journal of a run."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} holds no run that has started: no config.json; give the --out of a training")
    facts = read_json(folder / "config.json")
    if facts.get("program") not in {entry.program for entry in METHODS.values()}:
        raise DataError(f"{folder / 'config.json'} says not which command trains its run; give the --out of a training")
    if not isinstance(facts.get("settings"), dict):
        raise DataError(f"{folder / 'config.json'} has no table of settings; restore it")
    journal = journal_of(folder / "metrics.jsonl")
    if not any("lr" in line for line in journal):
        raise InputError(
            f"the run in {folder} has not started: its journal has no step yet; wait for its first steps, or go on with: "
            f"upreid {facts['program']} --resume {folder}"
        )
    return name, facts, journal


def journal_of(path: Path) -> list[dict[str, Any]]:
    """Read a journal; its last line may be cut short, because the run goes on or was killed."""
    if not path.is_file():
        return []
    whole = lines_before(path, sys.maxsize)
    if len(path.read_bytes().splitlines()) > len(whole) + 1:
        return read_journal(path)  # raises DataError, which names the line
    return [entry for line in whole if (entry := entry_of(line))]


def names_of(places: Sequence[Path]) -> list[str]:
    """Return the ends of some paths, as long as it takes to tell them apart."""
    for length in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-length:]) for place in places]
        if len(set(names)) == len(names):
            return names
    raise AssertionError(f"these are no different paths: {places}")


def differing_settings(runs: Sequence[ReportedRun]) -> dict[str, list[str]]:
    """Return the settings in which some runs differ, each with its value in every run; a dash where one has no such setting."""
    tables = [run.settings for run in runs]
    names = [name for name in dict.fromkeys(name for table in tables for name in table) if name not in NOT_COMPARED]
    rows = {name: [written(table.get(name)) for table in tables] for name in names}
    return {name: row for name, row in rows.items() if len(set(row)) > 1}


def written(value: Any) -> str:
    """Write the value of a setting."""
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)
