"""The studies in docs/results/: they can be read, and a study of today goes on from them."""

from pathlib import Path

import pytest

from upreid.config.grid import read_grid, shipped_grids
from upreid.study.analysis import read_study
from upreid.study.cells import cells_of
from upreid.study.report import report

PUBLISHED = Path(__file__).parents[2] / "docs" / "results"
FILES = sorted(PUBLISHED.glob("*.jsonl"))
COUNTS = {
    "ablation-laptop": 167,
    "claim-laptop": 48,
    "controls-laptop": 137,
    "downstream-laptop": 42,
    "first-defaults": 108,
    "first-defaults-augmentation": 12,
    "first-defaults-strong": 22,
    "prediction-laptop": 41,
    "readings-laptop": 45,
    "usl-laptop": 135,
    "weights-laptop": 33,
}


def test_all_published_studies_are_there() -> None:
    assert {path.stem for path in PUBLISHED.iterdir()} == COUNTS.keys()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_published_study_counts_all_its_results(file: Path) -> None:
    study = read_study(file)
    assert len(study.results) == COUNTS[file.stem]
    assert "\n".join(report(study)).count("| n |") >= len(study.stages())
    assert f"docs/results/{file.name}" in "".join(page.read_text() for page in PUBLISHED.parent.glob("results*.md"))


@pytest.mark.parametrize("name", [name for name in shipped_grids() if name in COUNTS])
def test_the_cells_of_a_published_study_are_those_of_its_grid_today(name: str) -> None:
    today = {cell.name: cell.digest for cell in cells_of(read_grid(name))}
    records = read_study(PUBLISHED / f"{name}.jsonl").records
    assert {cell: record["digest"] for cell, record in records.items()}.items() <= today.items()
