"""Where the files of a study are."""

from dataclasses import dataclass
from pathlib import Path

from upreid.study.cells import Cell


@dataclass(frozen=True)
class Places:
    """Where the files of a study are.

    study.json                       the grid, and a digest of every cell's settings
    results/STAGE/ARM-sSEED.json     the result of a finished cell: all that tables need, and all that says it is done
    corpora/NAME/                    rendered people
    pretrain/ARM-sSEED/              a run of `upreid pretrain`
    SETTING/ARM-sSEED/               what followed it
    logs/                            what the cells said
    """

    out: Path

    @property
    def memory(self) -> Path:
        """The grid, as this folder knows it."""
        return self.out / "study.json"

    @property
    def results(self) -> Path:
        """What was found; may be copied from one machine to another by itself."""
        return self.out / "results"

    def corpus(self, name: str) -> Path:
        """Rendered people."""
        return self.out / "corpora" / name

    def wild(self, name: str) -> Path:
        """The unlabelled people of a corpus."""
        return self.corpus(name) / "wild"

    def labelled(self, name: str) -> Path:
        """The labelled people of a corpus."""
        return self.corpus(name) / "market1501"

    def run(self, cell: Cell) -> Path:
        """Folder that a cell works in."""
        return self.out / cell.name

    def encoder(self, cell: Cell) -> Path:
        """What a training cell leaves for others."""
        return self.run(cell) / "encoder.safetensors"

    def result(self, cell: Cell) -> Path:
        """The result of a cell, once it is finished."""
        return self.results / f"{cell.name}.json"
