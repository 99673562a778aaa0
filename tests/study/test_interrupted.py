"""What becomes of the folders that an interrupted study left."""

import json
from pathlib import Path
from typing import Any

import pytest

from upreid.config.files import to_dict
from upreid.config.grid import grid_of
from upreid.study.cells import Cell, cells_of
from upreid.study.command_lines import Machine, line_of, parsed
from upreid.study.folder import StudyFolder
from upreid.study.program import jobs_of, to_do

CPU = Machine(device="cpu", workers=0, slots=({},))
TABLE: dict[str, Any] = {
    "purpose": "choosing",
    "corpus": "people",
    "seeds": [1],
    "corpora": {"people": {"seed": 1, "identities": 8}},
    "arms": {"moco": {"recipe": "moco-laptop", "flags": {"train": {"batch": 32}}}},
    "settings": {
        "small": {"program": "finetune", "recipe": "laptop-bot"},
        "frozen": {"program": "evaluate"},
    },
}
GRID = grid_of(TABLE, "x")


def cell_of(name: str) -> Cell:
    return next(cell for cell in cells_of(GRID) if cell.name == name)


def interrupted(cell: Cell, out: Path, **settings: Any) -> Path:
    """Leave what a training leaves that was stopped after its first save."""
    config = to_dict(parsed(line_of(cell, StudyFolder(out), CPU)))
    folder = StudyFolder(out).run(cell)
    folder.mkdir(parents=True)
    saved = {"program": cell.program, "settings": config | settings}
    (folder / "config.json").write_text(json.dumps(saved))
    (folder / "state.pt").write_text("hours of work")
    return folder


def command(cell: Cell, out: Path) -> list[str]:
    """What a study that is started again would run for a cell."""
    jobs = jobs_of(GRID, cells_of(GRID), StudyFolder(out), CPU, "mine")
    return next(job for job in jobs if job.name == cell.name).words()


def work_kept(out: Path) -> list[str]:
    return [path.read_text() for path in sorted(out.rglob("state.pt"))]


@pytest.mark.parametrize("name", ["pretrain/moco-s1", "small/moco-s1"])
def test_a_run_is_continued_however_the_path_of_its_study_is_spelt(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cell = cell_of(name)
    interrupted(cell, Path("out"))
    (tmp_path / "link").symlink_to(tmp_path)
    for out in (Path("out"), tmp_path / "out", Path("./out"), tmp_path / "link" / "out"):
        assert command(cell, out) == [cell.program, "--resume", str(out / name)]
    assert work_kept(tmp_path / "out") == ["hours of work"]


def test_a_run_is_continued_from_another_folder_than_it_was_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cell = cell_of("pretrain/moco-s1")
    config = interrupted(cell, Path("out")) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"started_in": str(tmp_path)}))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for out in (tmp_path / "out", Path("../out")):
        assert command(cell, out) == ["pretrain", "--resume", str(out / cell.name)]


def test_the_root_of_the_data_may_be_a_flag_of_the_grid(tmp_path: Path) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / "a.png").touch()
    own = grid_of(TABLE | {"flags": {"data": {"root": str(tmp_path / "crops")}}}, "x")
    cell = next(cell for cell in cells_of(own) if cell.program == "pretrain")
    interrupted(cell, tmp_path / "out")
    jobs = jobs_of(own, [cell], StudyFolder(tmp_path / "out"), CPU, "mine")
    assert jobs[-1].words()[:2] == ["pretrain", "--resume"]


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("pretrain/moco-s1", {"data": {"root": "elsewhere"}}, "its --data.root is elsewhere and not "),
        ("pretrain/moco-s1", {"train": {"batch": 64, "seed": 1}}, "its --train.batch is 64 and not 32"),
        ("small/moco-s1", {"init": "random"}, "its --init is random and not "),
    ],
)
def test_a_run_that_cannot_be_continued_is_moved_aside_and_named(
    name: str, settings: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = cell_of(name)
    folder = interrupted(cell, tmp_path, **settings)
    assert command(cell, tmp_path) == line_of(cell, StudyFolder(tmp_path), CPU)
    assert not folder.exists()
    assert work_kept(tmp_path) == ["hours of work"]
    said = capsys.readouterr().err
    assert words in said
    assert f"moved to {folder}.aside-1" in said
    interrupted(cell, tmp_path, **settings)
    command(cell, tmp_path)
    assert (tmp_path / f"{name}.aside-2" / "state.pt").exists()
    assert len(work_kept(tmp_path)) == 2


@pytest.mark.parametrize("text", [None, '{"program": "pretr', "[]", '{"program": "pretrain", "settings": []}'])
def test_a_folder_with_a_damaged_configuration_is_moved_aside(text: str | None, tmp_path: Path) -> None:
    cell = cell_of("pretrain/moco-s1")
    folder = interrupted(cell, tmp_path)
    (folder / "config.json").unlink()
    if text is not None:
        (folder / "config.json").write_text(text)
    assert command(cell, tmp_path) == line_of(cell, StudyFolder(tmp_path), CPU)
    assert work_kept(tmp_path) == ["hours of work"]


def test_a_finished_training_that_is_damaged_is_computed_again_where_another_cell_needs_it(tmp_path: Path) -> None:
    cell, folder = cell_of("pretrain/moco-s1"), StudyFolder(tmp_path)
    interrupted(cell, tmp_path)
    (folder.run(cell) / "config.json").write_text("{")
    (folder.run(cell) / "encoder.safetensors").touch()
    folder.result(cell).parent.mkdir(parents=True)
    origin = {"versions": {}, "commit": None, "hardware": {}}
    record = {"digest": cell.digest, "metrics": {}, "protocol": {}, "seconds": 1.0} | origin
    folder.result(cell).write_text(json.dumps(record))
    assert cell.name in to_do(cells_of(GRID), folder)


def test_what_an_evaluation_left_is_kept(tmp_path: Path) -> None:
    cell = cell_of("frozen/moco-s1")
    left = StudyFolder(tmp_path).run(cell) / "retrieval.json"
    left.parent.mkdir(parents=True)
    left.write_text("{}")
    assert command(cell, tmp_path) == line_of(cell, StudyFolder(tmp_path), CPU)
    assert (tmp_path / "frozen" / "moco-s1.aside-1" / "retrieval.json").exists()


def test_a_run_that_was_stopped_before_it_had_begun_is_begun_where_it_is(tmp_path: Path) -> None:
    cell = cell_of("pretrain/moco-s1")
    folder = StudyFolder(tmp_path).run(cell)
    (folder / "logs").mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / ".config.json.123.aside").touch()
    assert command(cell, tmp_path) == line_of(cell, StudyFolder(tmp_path), CPU)
    assert [path.name for path in folder.parent.iterdir()] == ["moco-s1"]
