"""What a study is: a declared grid of corpora, arms, seeds and downstream settings; and the knobs of `upreid study`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from upreid.ranges import Count

Table = dict[str, Any]
"""Flags as a TOML table holds them: `train.epochs = 20` is `{"train": {"epochs": 20}}`."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Run a declared grid of pre-trainings and what follows them, or show what there is of it."""

    grid: str | None = None
    """Grid of the study: the name of a shipped one, or a path to a TOML file."""
    out: Path | None = None
    """Folder of the study, by default studies/GRID; what is done there already is not done again."""
    table: Path | None = None
    """Folder of a study, or its file study.jsonl, of which the tables are printed; nothing is run."""
    slots: Count | None = None
    """Number of cells that are computed side by side; by default one for each GPU, or one for each core."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto takes GPUs where there are any."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Synthetic people: unlabelled ones to pre-train on, others with labels to measure on."""

    seed: int
    """Seed of the renderer."""
    identities: int
    """Number of people in the labelled set; the unlabelled one shows three times as many others."""
    flags: Table = field(default_factory=dict)
    """Further flags of `upreid synth`."""


@dataclass(frozen=True, kw_only=True)
class StudyArm:
    """A way to pre-train."""

    recipe: str | None = None
    """Recipe of `upreid pretrain`; without one the arm is a random start, and nothing is pre-trained."""
    corpus: str | None = None
    """Corpus whose unlabelled people are pre-trained on; that of the grid where not given."""
    flags: Table = field(default_factory=dict)
    """Flags over those of the recipe and those of every arm."""


@dataclass(frozen=True, kw_only=True)
class Cross(StudyArm):
    """Arms for every combination of some lists; each is named after the cross and its values."""

    lists: Table = field(default_factory=dict)
    """Table of flag -> values."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What follows a pre-training: a fine-tuning, a retrieval, a diagnosis."""

    program: Literal["finetune", "evaluate", "diagnose"]
    """Command of `upreid`: finetune and evaluate measure retrieval, diagnose examines the pre-training run."""
    recipe: str | None = None
    """Recipe of `upreid finetune`."""
    of: str | None = None
    """Fine-tuning setting whose encoder is evaluated; where not given, the pre-trained encoder is."""
    corpus: str | None = None
    """Corpus whose labelled people are used; that of the grid where not given."""
    repeats: int = 1
    """Number of fine-tunings of each pre-training, which are averaged; the first has the seed of the pre-training."""
    flags: Table = field(default_factory=dict)
    """Flags of the program."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A study as it is declared."""

    purpose: Literal["choosing", "claiming"]
    """Use of the results: a corpus that served to choose settings bears no claim about them."""
    corpus: str
    """Corpus of every arm and setting that names no other."""
    seeds: tuple[int, ...]
    """Seeds of the pre-trainings; arms are compared seed by seed."""
    corpora: dict[str, Corpus]
    settings: dict[str, Setting]
    arms: dict[str, StudyArm]
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of arms whose differences are reported, the first minus the second; `*` for the first is every other arm."""
    flags: Table = field(default_factory=dict)
    """Flags of every pre-training, over those of its recipe."""
