"""`study.jsonl`: all of a study in one file, and nothing lost on the way there and back."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upreid.config.grid import read_grid
from upreid.errors import DataError, InputError
from upreid.study.analysis import read_study
from upreid.study.cells import cells_of
from upreid.study.folder import StudyFolder, remember
from upreid.study.report import report, show
from upreid.study.results import is_finished
from upreid.study.study_file import common, joined, read_study_file, without

FIRST_FORM = Path(__file__).parent / "ablation-laptop"
"""A part of a real study, as the first version wrote it."""

values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0, "a"]) | st.lists(st.integers(0, 1)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
tables = st.lists(st.dictionaries(st.sampled_from("abcd"), values), min_size=1, max_size=4)


@given(tables)
def test_what_tables_share_and_what_they_do_not_are_the_tables(some: list[dict[str, Any]]) -> None:
    shared = common(some)
    assert json.dumps(shared, sort_keys=True) == json.dumps(common(some[::-1]), sort_keys=True)
    for table in some:
        rest = without(table, shared)
        assert json.dumps(joined(shared, rest), sort_keys=True) == json.dumps(table, sort_keys=True)


def test_what_all_tables_say_is_said_once() -> None:
    some = [{"a": {"b": 1, "c": 2}, "d": 1}, {"a": {"b": 1, "c": 3}, "d": 1}]
    assert common(some) == {"a": {"b": 1}, "d": 1}
    assert without(some[1], common(some)) == {"a": {"c": 3}}


def written(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    shutil.copytree(FIRST_FORM, folder)
    show(folder)
    return Path(shutil.move(folder / "study.jsonl", tmp_path / "mine.jsonl"))


def test_the_file_of_a_study_gives_the_tables_of_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path)
    table = (tmp_path / "old" / "table.md").read_text()
    assert capsys.readouterr().out == table
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    show(file)
    assert capsys.readouterr().out == table
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert len(file.read_text().splitlines()) == 1 + 9


def test_the_file_of_a_study_holds_all_that_its_results_say(tmp_path: Path) -> None:
    name, grid, records = read_study_file(written(tmp_path))
    assert (name, grid) == ("ablation-laptop", read_study(FIRST_FORM).grid)
    sources = {record["digest"] for record in records.values()}
    for path in (FIRST_FORM / "results").rglob("*.json"):
        before = json.loads(path.read_text())
        cell = path.relative_to(FIRST_FORM / "results").with_suffix("").as_posix()
        record = records[cell]
        arm, _, seed = path.stem.rpartition("-s")
        implied = {name: before.pop(name) for name in ("stage", "arm", "seed", "repeat")}
        assert implied == {"stage": path.parent.name, "arm": arm, "seed": int(seed), "repeat": 0}
        source = record["settings"].pop("source")
        assert (source in sources) == bool(before["settings"].pop("source"))
        assert {key: value for key, value in record.items() if key != "cell"} == before


def test_a_study_goes_on_from_its_file_and_keeps_what_was_in_it(tmp_path: Path) -> None:
    (tmp_path / "on").mkdir()
    written(tmp_path).rename(tmp_path / "on" / "study.jsonl")
    folder = StudyFolder(tmp_path / "on")
    assert folder.is_begun
    grid = read_grid("ablation-laptop")
    cells = cells_of(grid)
    remember("ablation-laptop", grid, {cell.name: cell.digest for cell in cells}, folder)
    assert sum(is_finished(cell, folder) for cell in cells) == 9
    show(folder.out)
    assert len(read_study_file(folder.file)[2]) == 9
    newer = json.loads((FIRST_FORM / "results/frozen/moco-s1.json").read_text())
    newer["metrics"]["mAP"] = 99.0
    folder.result(cells[0]).parent.parent.joinpath("frozen").mkdir(parents=True)
    (folder.results / "frozen/moco-s1.json").write_text(json.dumps(newer))
    show(folder.out)
    assert read_study_file(folder.file)[2]["frozen/moco-s1"]["metrics"]["mAP"] == 99.0
    assert len(read_study_file(folder.file)[2]) == 9


def test_a_file_with_results_that_are_not_counted_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = written(tmp_path).read_text()
    folder = tmp_path / "old"
    other = text.replace('"cell": "frozen/moco-s1", "digest": "', '"cell": "frozen/moco-s1", "digest": "0')
    (folder / "study.jsonl").write_text(other)
    show(folder)
    assert (folder / "study.jsonl.aside-1").read_text() == other
    assert (folder / "study.jsonl").read_text() == text
    assert "held results that are not counted here; it was moved to" in capsys.readouterr().err
    show(folder)
    assert not (folder / "study.jsonl.aside-2").exists()


def test_another_study_is_not_mixed_with_that_of_a_file(tmp_path: Path) -> None:
    written(tmp_path).rename(tmp_path / "study.jsonl")
    grid = read_grid("controls-laptop")
    with pytest.raises(InputError, match="holds the study 'ablation-laptop', not 'mine'"):
        remember("mine", grid, {}, StudyFolder(tmp_path))
    with pytest.raises(InputError, match="holds 9 cells that 'ablation-laptop' has no more"):
        remember("ablation-laptop", grid, {}, StudyFolder(tmp_path))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda text: text[: len(text) // 2], "is damaged"),
        (lambda text: "\n".join(text.splitlines()[:-1]), "holds 8 of its 9 results: it was cut short"),
        (lambda text: "\n".join(text.splitlines()[1:]), "is damaged, or is no study.jsonl"),
        (lambda text: "", "is damaged, or is no study.jsonl"),
        (lambda text: text.replace('"metrics"', '"numbers"'), "the result of .* is damaged"),
        (lambda text: text.replace('"shared": {', '"shared": 3, "x": {'), "is damaged, or is no study.jsonl"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(damage: Any, words: str, tmp_path: Path) -> None:
    file = written(tmp_path)
    file.write_text(damage(file.read_text()))
    with pytest.raises(DataError, match=words):
        report(read_study(file))
