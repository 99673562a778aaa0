import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from upreid.config.grid import grid_of
from upreid.errors import DataError, InputError
from upreid.study.analysis import read_study
from upreid.study.cells import Cell, cells_of
from upreid.study.folder import StudyFolder, remember
from upreid.study.report import report, show

TABLE: dict[str, Any] = {
    "purpose": "choosing",
    "corpus": "people",
    "seeds": [1, 2, 3],
    "corpora": {"people": {"seed": 1, "identities": 8}},
    "arms": {"moco": {"recipe": "moco-laptop"}, "both": {"recipe": "both-terms-laptop"}},
    "settings": {"frozen": {"program": "evaluate"}, "diagnosis": {"program": "diagnose"}},
    "compare": [["both", "moco"]],
}
ORIGIN = {"versions": {}, "commit": "a" * 40, "hardware": {"machine": "x86", "cores": 2, "gpu": "none", "torch": "2"}}


def begun(out: Path, **change: Any) -> tuple[StudyFolder, dict[str, Cell]]:
    grid = grid_of(TABLE | change, "x")
    cells = cells_of(grid)
    remember("mine", grid, {cell.name: cell.digest for cell in cells}, StudyFolder(out))
    return StudyFolder(out), {cell.name: cell for cell in cells}


def put(folder: StudyFolder, cell: Cell, metrics: dict[str, float | None], **change: Any) -> None:
    folder.result(cell).parent.mkdir(parents=True, exist_ok=True)
    table = {"digest": cell.digest, "metrics": metrics, "protocol": {}, "seconds": 60.0} | ORIGIN | change
    folder.result(cell).write_text(json.dumps(table))


def rows(lines: list[str], first: str) -> list[list[str]]:
    cells = [[text.strip() for text in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] == first]


def test_tables_hold_means_spreads_and_paired_differences_of_what_is_there(tmp_path: Path) -> None:
    folder, cells = begun(tmp_path)
    for seed, (moco, both) in enumerate([(10.0, 11.0), (20.0, 23.0)], start=1):
        put(folder, cells[f"frozen/moco-s{seed}"], {"mAP": moco, "rank1": 1.0, "mINP": 1.0})
        put(folder, cells[f"frozen/both-s{seed}"], {"mAP": both, "rank1": 1.0, "mINP": 1.0})
    put(folder, cells["frozen/moco-s3"], {"mAP": 90.0, "rank1": 1.0, "mINP": 1.0})  # has no partner
    lines = report(read_study(tmp_path))
    assert rows(lines, "moco")[0] == ["moco", "-", "40.00 ± 43.59", "1.00 ± 0.00", "1.00 ± 0.00", "1.0", "3"]
    assert rows(lines, "both - moco")[0][1] == "+2.00 [-10.71, +14.71]"
    assert rows(lines, "both - moco")[0][-1] == "2"
    text = "\n".join(lines)
    assert "(n = 2): screening, no claim" in text
    assert "is for choosing" in text
    assert "Unfinished: 13 of 18 cells" in text
    assert "frozen/both-s3" in text


def test_eight_pairs_clear_of_zero_are_bold_and_without_the_warning(tmp_path: Path) -> None:
    folder, cells = begun(tmp_path, seeds=list(range(1, 9)))
    for seed in range(1, 9):
        put(folder, cells[f"frozen/moco-s{seed}"], {"mAP": float(seed)})
        put(folder, cells[f"frozen/both-s{seed}"], {"mAP": seed + 1.0 + 0.1 * (seed % 2)})
    lines = report(read_study(tmp_path))
    assert rows(lines, "both - moco")[0][1].startswith("**+1.05 [")
    assert "screening" not in "\n".join(lines)


def test_a_result_of_other_settings_is_none(tmp_path: Path) -> None:
    folder, cells = begun(tmp_path)
    put(folder, cells["frozen/moco-s1"], {"mAP": 1.0}, digest="other")
    assert cells["frozen/moco-s1"].name in [cell.name for cell in read_study(tmp_path).unfinished]
    assert any("1 have a result that was made with other settings" in line for line in report(read_study(tmp_path)))


def test_a_broken_result_is_named(tmp_path: Path) -> None:
    folder, cells = begun(tmp_path)
    put(folder, cells["frozen/moco-s1"], {"mAP": 1.0})
    table = json.loads(folder.result(cells["frozen/moco-s1"]).read_text())
    del table["commit"]
    folder.result(cells["frozen/moco-s1"]).write_text(json.dumps(table))
    with pytest.raises(DataError, match=r"frozen/moco-s1 is damaged .*commit"):
        read_study(tmp_path)


def test_different_commits_are_pointed_out(tmp_path: Path) -> None:
    folder, cells = begun(tmp_path)
    put(folder, cells["frozen/moco-s1"], {"mAP": 1.0})
    assert any(line.startswith("Commit: aaa") for line in report(read_study(tmp_path)))
    put(folder, cells["frozen/both-s1"], {"mAP": 1.0}, commit=None)
    assert any(
        "come from different commits" in line and "installed package" in line for line in report(read_study(tmp_path))
    )


def test_what_measured_much_stands_a_row_a_metric_and_gaps_stay_gaps(tmp_path: Path) -> None:
    folder, cells = begun(tmp_path)
    put(folder, cells["diagnosis/moco-s1"], {"alignment": 0.5, "position_share": None})
    put(folder, cells["diagnosis/both-s1"], {"alignment": 0.25, "gradient_intrinsic": 3.0})
    lines = report(read_study(tmp_path))
    assert rows(lines, "alignment") == [["alignment", "0.50", "0.25"], ["alignment", "-0.25"]]
    assert rows(lines, "gradient_intrinsic") == [["gradient_intrinsic", "", "3.00"]]


def test_the_report_is_kept_with_its_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, cells = begun(tmp_path)
    show(tmp_path)
    assert "Unfinished: 18 of 18" in capsys.readouterr().out
    put(folder, cells["frozen/moco-s1"], {"mAP": 1.0, "rank1": 2.0, "mINP": 3.0})
    put(folder, cells["frozen/moco-s2"], {"mAP": 2.0, "rank1": 2.0, "mINP": 3.0})
    put(folder, cells["diagnosis/moco-s1"], {f"m{number}": 1.0 for number in range(4)})
    show(tmp_path)
    assert (tmp_path / "table.md").read_text() == capsys.readouterr().out
    assert "moco (2)" not in (tmp_path / "diagnosis.svg").read_text()
    assert not (tmp_path / "frozen-differences.svg").exists()
    put(folder, cells["frozen/both-s2"], {"mAP": 2.5, "rank1": 2.0, "mINP": 3.0})
    show(tmp_path)
    assert (tmp_path / "frozen-differences.svg").exists()
    drawn = ElementTree.parse(tmp_path / "frozen.svg").getroot()
    texts = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text in ("mAP", "Rank-1", "mINP", "moco (2)", "both (1)")].count("moco (2)") == 3
    kinds = [one.get("class") for one in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    assert (kinds.count("seed"), kinds.count("mean")) == (9, 6)  # three metrics: two seeds of moco, one of both


def test_curves_join_the_means_of_the_arms_that_have_results(tmp_path: Path) -> None:
    lines = {"MoCo v2": {"both": 30, "moco": 10}, "alone": {"both": 30}}
    folder, cells = begun(tmp_path, curves={"length": {"axis": "steps", "lines": lines}})
    show(tmp_path)
    assert not (tmp_path / "frozen-length.svg").exists()
    for name, score in (("moco-s1", 10.0), ("moco-s2", 20.0), ("both-s1", 30.0)):
        put(folder, cells[f"frozen/{name}"], {"mAP": score})
    show(tmp_path)
    drawn = ElementTree.parse(tmp_path / "frozen-length.svg").getroot()
    name = "{http://www.w3.org/2000/svg}"
    assert "MoCo v2 (seeds: 1 to 2): 15 at 10, 30 at 30" in (drawn.findtext(f"{name}desc") or "")
    kinds = [one.get("class") for one in drawn.iter(f"{name}circle")]
    # two seeds of moco, one of both, which lies on both lines
    assert (kinds.count("seed"), kinds.count("mean")) == (4, 3)
    assert len([one for one in drawn.iter(f"{name}path") if one.get("class") == "interval"]) == 1  # one seed has none
    texts = [one.text for one in drawn.iter(f"{name}text")]
    assert {"mAP", "steps", "MoCo v2 (seeds: 1 to 2)", "alone (seeds: 1)"} <= set(texts)


@pytest.mark.parametrize(
    ("curves", "words"),
    [
        ({"length": {"axis": "steps", "lines": {"MoCo v2": {"mocco": 10}}}}, "names arm 'mocco'; did you mean 'moco'?"),
        ({"length": {"axis": "steps", "lines": {"MoCo v2": {"moco": "ten"}}}}, "puts 'moco' at 'ten'; give a number"),
        ({"length": {"axis": "steps", "lines": {"MoCo v2": {}}}}, "line 'MoCo v2' got {}; give a table of arms"),
        ({"length": {"lines": {}}}, "lacks 'axis'"),
        ({"differences": {"axis": "steps", "lines": {}}}, "curves cannot be called 'differences'"),
    ],
)
def test_curves_through_what_there_is_not_are_refused(curves: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        grid_of(TABLE | {"curves": curves}, "x")


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no study at"):
        show(tmp_path)
