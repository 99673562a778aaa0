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
    paths: tuple[str, ...] = ()
    """Paths of corpora that are folders, as in luperson=/data/LUPerson market1501=/data/Market-1501; over those of the grid."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto takes GPUs where there are any."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Images of people: rendered (`seed`, `identities`), an unlabelled folder (`root`), or a labelled set (`name`, `root`)."""

    use: Literal["choosing", "claiming"] | None = None
    """Use of the results on this corpus; the purpose of the grid where not given."""
    root: str | None = None
    """Path of the images, in any form that `upreid pretrain` or `upreid finetune` takes; `--paths` may give it instead."""
    name: str | None = None
    """Layout and variant of a labelled set, such as market1501 or market-style; without it, a folder is an unlabelled source."""
    cfs_share: float | None = None
    """Share of images to take from the top of a ranked CFS_list.pkl."""
    seed: int | None = None
    """Seed of the renderer."""
    identities: int | None = None
    """Number of rendered people in the labelled set; the unlabelled one shows others."""
    version: int = 1
    """Version of the renderer; 1 where a file does not say, so that older studies stay what they were."""
    flags: Table = field(default_factory=dict)
    """Further flags of `upreid synth`."""

    @property
    def is_rendered(self) -> bool:
        """Whether `upreid synth` makes the images, unlabelled and labelled ones."""
        return self.identities is not None

    @property
    def has_unlabelled(self) -> bool:
        """Whether a pre-training can read it."""
        return self.name is None

    @property
    def has_labels(self) -> bool:
        """Whether retrieval can be measured on it."""
        return self.is_rendered or self.name is not None


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

    program: Literal["finetune", "adapt", "evaluate", "diagnose"]
    """Command of `upreid`: finetune, adapt and evaluate measure retrieval, diagnose examines the pre-training run."""
    recipe: str | None = None
    """Recipe of `upreid finetune` or `upreid adapt`."""
    of: str | None = None
    """Setting that trains the encoder to evaluate, or SETTING@CORPUS; where not given, the pre-trained encoder is evaluated."""
    corpus: str | None = None
    """Corpus whose labelled people are used; where neither it nor `corpora` is given, that of the grid or all labelled sets."""
    corpora: tuple[str, ...] | None = None
    """Corpora whose labelled people are used, one after the other; their results stand side by side."""
    source: str | None = None
    """Corpus whose people an adaptation learns with their labels beside those it adapts to; where not given, it has none."""
    repeats: int = 1
    """Number of trainings that follow each pre-training, which are averaged; the first has the seed of the pre-training."""
    flags: Table = field(default_factory=dict)
    """Flags of the program."""

    @property
    def trains(self) -> bool:
        """Whether the program trains an encoder, from a pre-trained one or from a random start."""
        return self.program in ("finetune", "adapt")


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Arms that lie on curves: each line joins the means of its arms."""

    axis: str
    """Label of the horizontal axis, such as steps of MoCo v2 that the pre-training costs."""
    lines: Table
    """Name of a line -> arm -> place of the arm on the axis."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A study as it is declared."""

    purpose: Literal["choosing", "claiming"]
    """Use of the results on corpora that declare none: one that served to choose settings bears no claim about them."""
    corpus: str
    """Corpus of every arm and setting that names no other."""
    seeds: tuple[int, ...]
    """Seeds of the pre-trainings; arms are compared seed by seed."""
    corpora: dict[str, Corpus]
    settings: dict[str, Setting]
    arms: dict[str, StudyArm]
    compare: tuple[tuple[str, str], ...] = ()
    """Pairs of arms whose differences are reported, the first minus the second; `*` for the first is every other arm."""
    curves: dict[str, Curves] = field(default_factory=dict)
    """Curves to draw for each setting, such as the gain against the length of the pre-training."""
    flags: Table = field(default_factory=dict)
    """Flags of every pre-training, over those of its recipe."""

    def stages(self, name: str) -> dict[str, str]:
        """Return stage -> corpus of a setting: SETTING alone, or SETTING@CORPUS where corpora stand side by side."""
        setting, default = self.settings[name], self.corpora[self.corpus]
        if setting.corpora is None and (setting.corpus is not None or default.is_rendered):
            return {name: setting.corpus or self.corpus}
        every = [corpus for corpus, one in self.corpora.items() if one.has_labels]
        return {f"{name}@{corpus}": corpus for corpus in setting.corpora or every}

    def source_of(self, name: str, stage: str) -> str | None:
        """Return the stage whose encoder an evaluation takes; None for the pre-trained encoder."""
        of = self.settings[name].of
        if of is None or "@" in of or of in self.stages(of):
            return of
        return f"{of}@{self.stages(name)[stage]}"

    def use(self, corpus: str) -> str:
        """Return what the results on a corpus are for."""
        return self.corpora[corpus].use or self.purpose
