"""The cells of a grid: every pre-training, and everything that follows one."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from upreid.config.files import hash_of
from upreid.config.flag_tables import merged
from upreid.config.grid_checks import SEEDS_APART
from upreid.config.recipe import recipe_table
from upreid.config.study import Arm, Grid, Setting
from upreid.study.fingerprints import fingerprints
from upreid.synthetic.corpus_folder import GENERATOR

PRETRAIN = "pretrain"
WITHOUT_EFFECT = {
    "out",
    "monitor",
    "tensorboard",
    "root",
    "split",
    "unlabelled",
    "threads",
    "workers",
    "save_every",
    "keep_states",
    "patience",
}
"""Flags that decide where, how fast and how closely watched a cell is computed, but not its result; for the data that some
of them name, `fingerprints` stand in the settings."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of one program."""

    stage: str
    """`pretrain`, or the name of a downstream setting."""
    program: str
    arm: str
    seed: int
    """Of the pre-training."""
    repeat: int = 0
    """Which of the fine-tunings of that pre-training."""
    recipe: str | None = None
    flags: dict[str, Any]
    corpus: str
    """Whose people are trained or measured on."""
    people: dict[str, Any]
    """What that corpus was made from."""
    source: "Cell | None" = None
    """What made the encoder that this begins with; None: nothing, or a random start."""

    @property
    def name(self) -> str:
        """Folder and file of the cell, relative to those of the study."""
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
        data = fingerprints(self.program, flags)
        return {
            "program": self.program,
            "flags": flags,
            "seed": self.train_seed,
            "people": {**self.people, "generator": GENERATOR},
            **({"data": data} if data else {}),
            "source": self.source.settings if self.source else None,
        }

    @cached_property
    def digest(self) -> str:
        """Of the settings. A recipe that says otherwise gives another; a new flag of a program, at its default, does not.

        Nor does a changed default: a grid that is to outlive one writes its flags out, as those of the package do.
        """
        return hash_of(effective(self.settings))


def cells_of(grid: Grid) -> list[Cell]:
    """Every cell, all arms of one seed before the next seed: what is there at any moment can be compared in pairs."""
    return [
        cell for seed in grid.seeds for name, arm in grid.arms.items() for cell in cells_of_arm(grid, name, arm, seed)
    ]


def cells_of_arm(grid: Grid, name: str, arm: Arm, seed: int) -> list[Cell]:
    """A pre-training and all that follows it; a random start can only be fine-tuned."""
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
    ordered = sorted(grid.settings.items(), key=lambda item: item[1].of is not None)
    for stage, setting in ordered:
        for repeat in range(repeats(grid, setting)):
            source = pretraining if setting.of is None else cells[setting.of, repeat]
            if source is not None or setting.program == "finetune":
                cells[stage, repeat] = downstream(grid, stage, setting, name, seed, repeat, source)
    return [*([pretraining] if pretraining else []), *cells.values()]


def repeats(grid: Grid, setting: Setting) -> int:
    """How many runs follow each pre-training: an evaluation has as many as the fine-tuning it looks at."""
    return setting.repeats if setting.of is None else grid.settings[setting.of].repeats


def downstream(grid: Grid, stage: str, setting: Setting, arm: str, seed: int, repeat: int, source: Cell | None) -> Cell:
    """One run of a downstream setting."""
    return Cell(
        stage=stage,
        program=setting.program,
        arm=arm,
        seed=seed,
        repeat=repeat,
        recipe=setting.recipe,
        flags=merged(setting.flags),
        source=source,
        **people(grid, setting.corpus),
    )


def people(grid: Grid, corpus: str | None) -> dict[str, Any]:
    """Name of a corpus, and what it is made from."""
    name = corpus or grid.corpus
    return {"corpus": name, "people": asdict(grid.corpora[name])}


def effective(table: dict[str, Any]) -> dict[str, Any]:
    """Drop what has no effect, at every level."""
    kept = {key: value for key, value in table.items() if key not in WITHOUT_EFFECT}
    return {key: effective(value) if isinstance(value, dict) else value for key, value in kept.items()}
