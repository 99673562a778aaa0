"""What a study is: a declared grid of corpora, arms, seeds and downstream settings; and the knobs of `upreid study`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Table = dict[str, Any]
"""Flags as a TOML table holds them: `train.epochs = 20` is `{"train": {"epochs": 20}}`."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Run a declared grid of pre-trainings and what follows them, or show what there is of it."""

    grid: str | None = None
    """Name of a shipped grid, or a path to one."""
    out: Path | None = None
    """Folder of the study; what is done there already is not done again. By default studies/GRID."""
    table: Path | None = None
    """Print what is in the folder of a study, and run nothing."""
    slots: int | None = None
    """Cells side by side; by default one a GPU, or one a core."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Auto takes GPUs where there are any."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Synthetic people: unlabelled ones to pre-train on, others with labels to measure on."""

    seed: int
    """Of the renderer."""
    identities: int
    """People in the labelled set; the unlabelled one shows three times as many others."""
    flags: Table = field(default_factory=dict)
    """Further flags of `upreid synth`."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to pre-train."""

    recipe: str | None = None
    """Of `upreid pretrain`; without one the arm is a random start, and nothing is pre-trained."""
    corpus: str | None = None
    """Whose unlabelled people to pre-train on; the grid's where not given."""
    flags: Table = field(default_factory=dict)
    """Flags over those of the recipe and those of every arm."""


@dataclass(frozen=True, kw_only=True)
class Cross(Arm):
    """Arms for every combination of some lists; each is named after the cross and its values."""

    lists: Table = field(default_factory=dict)
    """Flag -> values."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What follows a pre-training: a fine-tuning, a retrieval, a diagnosis."""

    program: Literal["finetune", "evaluate", "diagnose"]
    """Finetune and evaluate measure retrieval; diagnose looks into the pre-training run."""
    recipe: str | None = None
    """Of `upreid finetune`."""
    of: str | None = None
    """Evaluate the encoder of this fine-tuning setting, not the pre-trained one."""
    corpus: str | None = None
    """Whose labelled people to use; the grid's where not given."""
    repeats: int = 1
    """Fine-tunings of each pre-training, averaged; the first has the pre-training's seed."""
    flags: Table = field(default_factory=dict)
    """Flags of the program."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A study as it is declared."""

    purpose: Literal["choosing", "claiming"]
    """A corpus that served to choose settings bears no claim about them."""
    corpus: str
    """The corpus of every arm and setting that names no other."""
    seeds: tuple[int, ...]
    """Of the pre-trainings; arms are compared seed by seed."""
    corpora: dict[str, Corpus]
    settings: dict[str, Setting]
    arms: dict[str, Arm]
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of arms whose differences are reported, the first minus the second; `*` for the first is every other arm."""
    flags: Table = field(default_factory=dict)
    """Flags of every pre-training, over those of its recipe."""
