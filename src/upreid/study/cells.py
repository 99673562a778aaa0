"""The cells of a grid: every pre-training, everything that follows one, and what makes two of them the same."""

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from upreid.config.files import hash_of
from upreid.config.grid import SEEDS_APART
from upreid.config.recipe import merged, recipe_table
from upreid.config.study import Corpus, Grid, Setting, StudyArm
from upreid.data.benchmarks import open_benchmark
from upreid.data.benchmarks.benchmark import PARTS
from upreid.data.settings import TRACKLET_WORDS
from upreid.data.sources.recognise import open_source
from upreid.data.tracklet_lists import OWN, OWN_LIST, carries_tracklets, read_tracklets
from upreid.errors import InputError
from upreid.training.feeds.labelled import fingerprint

PRETRAIN = "pretrain"
WITHOUT_EFFECT = {
    "out",
    "monitor",
    "tensorboard",
    "root",
    "split",
    "tracklets",
    "unlabelled",
    "threads",
    "workers",
    "save_every",
    "keep_states",
    "patience",
}
"""Flags that decide where, how fast and how closely watched a cell is computed, but not its result; for the data that some
of them name, `fingerprints` stand in the settings."""
YOUNG = {"auto_precision": False}
"""Settings that published results do not have, with their defaults: written out they change no digest."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of one program."""

    stage: str
    """`pretrain`, or the name of a downstream setting, with `@` and the corpus where several stand side by side."""
    program: str
    """Command of `upreid` that computes the cell."""
    arm: str
    """Name of the way to pre-train."""
    seed: int
    """Seed of the pre-training."""
    repeat: int = 0
    """Number of the fine-tuning among those of one pre-training, from 0."""
    recipe: str | None = None
    """Recipe of the training; None for an evaluation or a diagnosis."""
    flags: dict[str, Any]
    """Flags over those of the recipe."""
    corpus: str
    """Name of the corpus whose people are trained or measured on."""
    people: Corpus
    """The corpus itself."""
    beside: tuple[str, Corpus] | None = None
    """Name of the corpus whose people an adaptation learns with their labels, beside its own, and that corpus."""
    source: "Cell | None" = None
    """Cell that makes the encoder which this one begins with; None for a pre-training and for a random start."""

    @property
    def name(self) -> str:
        """Path of the cell's folder, relative to that of the study."""
        return f"{self.stage}/{self.arm}-s{self.seed}{f'-r{self.repeat + 1}' if self.repeat else ''}"

    @property
    def train_seed(self) -> int:
        """Seed of the training that this cell is."""
        return self.seed + SEEDS_APART * self.repeat

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that decides the result: flags with the recipe's under them, data, seed, and the cell before."""
        recipe = recipe_table(self.recipe, self.program) if self.recipe else {}
        flags = merged(recipe, self.flags)
        data = fingerprints(self.program, flags, self.people.root)
        return {
            "program": self.program,
            "flags": flags,
            "seed": self.train_seed,
            "people": identity_of(self.people),
            **({"data": data} if data else {}),
            **({"beside": identity_of(self.beside[1])} if self.beside else {}),
            "source": self.source.settings if self.source else None,
        }

    @cached_property
    def digest(self) -> str:
        """Return sixteen hex digits over the settings that decide the result.

        A changed recipe changes them; a new flag of a program, or another default of one, does not: a grid that is to
        outlive a change of defaults writes its flags out, as those of the package do.
        """
        return hash_of(effective(self.settings))


def cells_of(grid: Grid) -> list[Cell]:
    """List every cell, all arms of one seed before the next seed: what is there at any moment can be compared in pairs."""
    return [
        cell for seed in grid.seeds for name, arm in grid.arms.items() for cell in cells_of_arm(grid, name, arm, seed)
    ]


def cells_of_arm(grid: Grid, name: str, arm: StudyArm, seed: int) -> list[Cell]:
    """List a pre-training and all that follows it; a random start can only be trained further."""
    pretraining = None
    if arm.recipe is not None:
        flags = merged(grid.flags, arm.flags)
        pretraining = Cell(
            stage=PRETRAIN,
            program="pretrain",
            arm=name,
            seed=seed,
            recipe=arm.recipe,
            flags=flags,
            **people(grid, arm.corpus),
        )
    cells: dict[tuple[str, int], Cell] = {}
    ordered = sorted(grid.settings, key=lambda setting: grid.settings[setting].of is not None)
    stages = [(setting, *stage) for setting in ordered for stage in grid.stages(setting).items()]
    for named, stage, corpus in stages:
        setting, before = grid.settings[named], grid.source_of(named, stage)
        for repeat in range(repeats(grid, setting)):
            source = pretraining if before is None else cells[before, repeat]
            if source is not None or setting.trains:
                cells[stage, repeat] = Cell(
                    stage=stage,
                    program=setting.program,
                    arm=name,
                    seed=seed,
                    repeat=repeat,
                    recipe=setting.recipe,
                    flags=merged(setting.flags),
                    source=source,
                    beside=(setting.source, grid.corpora[setting.source]) if setting.source else None,
                    **people(grid, corpus),
                )
    return [*([pretraining] if pretraining else []), *cells.values()]


def repeats(grid: Grid, setting: Setting) -> int:
    """Count the runs that follow each pre-training: an evaluation has as many as the fine-tuning whose encoder it takes."""
    return setting.repeats if setting.of is None else grid.settings[setting.of.partition("@")[0]].repeats


def people(grid: Grid, corpus: str | None) -> dict[str, Any]:
    """Return the name of a corpus, and the corpus."""
    name = corpus or grid.corpus
    return {"corpus": name, "people": grid.corpora[name]}


def identity_of(corpus: Corpus) -> dict[str, Any]:
    """Return what makes a corpus the same: what it is rendered from, or names and lists of its images; never a path or a word."""
    if corpus.is_rendered:
        settings = {"seed": corpus.seed, "identities": corpus.identities, "flags": corpus.flags}
        return {**settings, "generator": corpus.version}
    assert corpus.root is not None, "a folder without a path has no identity; with_paths refuses it first"
    if corpus.name is not None:
        return {"labelled": labelled(corpus.name, corpus.root)}
    return {"images": unlabelled(corpus.root, corpus.cfs_share or 1.0)}


def effective(table: dict[str, Any]) -> dict[str, Any]:
    """Drop what has no effect, and young settings that have their default, at every level."""
    kept = {
        key: value
        for key, value in table.items()
        if key not in WITHOUT_EFFECT and not (key in YOUNG and value == YOUNG[key])
    }
    return {key: effective(value) if isinstance(value, dict) else value for key, value in kept.items()}


def fingerprints(program: str, flags: dict[str, Any], root: str | None = None) -> dict[str, str]:
    """Return flag -> fingerprint of the data that `flags` name by path; none where all of it is rendered for the study.

    `root` is the folder of the cell's corpus, where it is one.

    Raises InputError or DataError where such data cannot be opened.
    """
    data = flags.get("data", {})
    found: dict[str, str] = {}
    if "root" in data and program == "pretrain":
        found["--data.root"] = unlabelled(data["root"], data.get("cfs_share", 1.0))
    elif "root" in data:
        found["--data.root"] = labelled(data.get("name", "market1501"), data["root"])
    if "split" in data:
        found["--data.split"] = contents(data["split"])
    if "tracklets" in data:
        found["--data.tracklets"] = tracklets(str(data["tracklets"]), data.get("root", root))
    if "unlabelled" in flags:
        found["--unlabelled"] = unlabelled(flags["unlabelled"], 1.0)
    return found


@cache  # every cell of an arm asks, and a source may have millions of files
def unlabelled(root: str, cfs_share: float) -> str:
    """Return the fingerprint of a source of unlabelled images: their names and order."""
    return open_source(Path(root), cfs_share=cfs_share).fingerprint


def tracklets(said: str, root: str | None) -> str:
    """Return the fingerprint of tracklets: a list by its bytes, a packed set's by what it carries, and a word as it is."""
    if said == OWN and root and carries_tracklets(Path(root)):
        return packed_tracklets_of(root)
    path = f"{root}/{OWN_LIST}" if said == OWN and root else said
    return path if path in TRACKLET_WORDS else contents(path)


@cache
def packed_tracklets_of(root: str) -> str:
    """Return the fingerprint of the tracklets that a packed set carries."""
    return read_tracklets(Path(OWN), open_source(Path(root))).fingerprint


@cache
def labelled(name: str, root: str) -> str:
    """Return the fingerprint of a labelled set: name, person and camera of every image in its three lists."""
    benchmark = open_benchmark(name, Path(root), quiet=True)
    return " ".join([benchmark.name, *(fingerprint(getattr(benchmark, part)) for part in PARTS)])


@cache
def contents(path: str) -> str:
    """Return the fingerprint of a small file."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}); give an existing file") from error
