"""Studies on folders: identity, paths, refusals, tables side by side, and every command of docs/own-ablation.md."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from upreid.cli import main
from upreid.config.grid import grid_of, read_grid, to_table
from upreid.config.study import Grid
from upreid.errors import InputError
from upreid.study.analysis import read_study
from upreid.study.cells import Cell, cells_of, contents, labelled, unlabelled
from upreid.study.corpora import check_apart, facts_of, with_paths
from upreid.study.folder import StudyFolder, remember
from upreid.study.report import report

PAGE = Path(__file__).parents[2] / "docs" / "own-ablation.md"
TABLE: dict[str, Any] = {
    "purpose": "choosing",
    "corpus": "crops",
    "seeds": [1, 2],
    "corpora": {
        "crops": {},
        "first": {"name": "market-style", "use": "claiming"},
        "second": {"name": "market-style"},
    },
    "arms": {"moco": {"recipe": "moco-laptop"}, "both": {"recipe": "both-terms-laptop"}},
    "settings": {
        "small": {"program": "finetune", "recipe": "laptop-bot", "flags": {"data": {"identity_share": 0.3}}},
        "tuned": {"program": "evaluate", "of": "small"},
        "frozen": {"program": "evaluate"},
    },
    "compare": [["both", "moco"]],
}
ORIGIN = {"versions": {}, "commit": "a" * 40, "hardware": {"machine": "x86", "cores": 2, "gpu": "none", "torch": "2"}}


def market(folder: Path, seed: int, paint: Callable[..., Path]) -> Path:
    """Write eight people, each in two cameras, half of them to train on."""
    for part, people in (
        ("bounding_box_train", range(1, 5)),
        ("query", range(5, 9)),
        ("bounding_box_test", range(5, 9)),
    ):
        cameras = (1, 2) if part == "bounding_box_train" else (1,) if part == "query" else (2,)
        names = [f"{person:04d}_c{camera}s1_000001_00.png" for person in people for camera in cameras]
        paint(folder / part, len(names), seed=seed + len(part))
        for path, name in zip(sorted((folder / part).iterdir()), names, strict=True):
            path.rename(path.with_name(name))
    return folder


@pytest.fixture
def folders(tmp_path: Path, paint: Callable[..., Path]) -> dict[str, Path]:
    forget()
    crops = paint(tmp_path / "data" / "crops", 16, seed=99)
    sets = {name: market(tmp_path / "data" / name, seed, paint) for name, seed in (("first", 100), ("second", 200))}
    for path in sets["second"].rglob("0001_*.png"):
        path.rename(path.with_name(path.name.replace("0001", "0011")))
    return {"crops": crops, **sets}


def forget() -> None:
    for remembered in (unlabelled, labelled, contents):
        remembered.cache_clear()


def grid_on(folders: dict[str, Path], **change: Any) -> Grid:
    return with_paths(grid_of(TABLE | change, "x"), [f"{name}={path}" for name, path in folders.items()])


def digests(grid: Grid) -> dict[str, str]:
    forget()
    return {cell.name: cell.digest for cell in cells_of(grid)}


def test_a_cell_is_known_by_its_data_and_never_by_their_place(folders: dict[str, Path], tmp_path: Path) -> None:
    before = digests(grid_on(folders))
    assert len(before) == 2 * 2 * (1 + 3 * 2)
    shutil.move(tmp_path / "data", tmp_path / "moved")
    moved = {name: tmp_path / "moved" / path.name for name, path in folders.items()}
    assert digests(grid_on(moved)) == before
    (moved["second"] / "query" / "0009_c1s1_000001_00.png").touch()
    after = digests(grid_on(moved))
    assert {name for name in before if after[name] != before[name]} == {name for name in before if "@second" in name}


def test_tracklets_beside_the_images_are_known_by_what_they_say(folders: dict[str, Path]) -> None:
    def of(text: str) -> dict[str, str]:
        (folders["crops"] / "tracklets.csv").write_text(text)
        return digests(grid_on(folders, flags={"data": {"tracklets": "own"}}))

    first = of("file,tracklet\n0000.png,a\n0001.png,a\n")
    assert of("file,tracklet\n0000.png,a\n0001.png,a\n") == first
    assert not first.items() & of("file,tracklet\n0000.png,a\n0002.png,a\n").items()


def test_tracklets_that_a_packed_set_carries_are_known_by_what_they_say(folders: dict[str, Path]) -> None:
    crops = folders["crops"]

    def of(text: str) -> dict[str, str]:
        (crops / "tracklets.csv").write_text(text)
        packed = crops.parent / f"packed-{len(text)}"
        assert main(["pack", str(crops), str(packed), "--workers", "1", "--tracklets", "own"]) == 0
        return digests(grid_on(folders | {"crops": packed}, flags={"data": {"tracklets": "own"}}))

    first = of("file,tracklet\n0000.png,a\n0001.png,a\n")
    assert of("file,tracklet\n0000.png,as\n0001.png,as\n") == first
    assert not first.items() & of("file,tracklet\n0000.png,a\n0001.png,a\n0002.png,a\n").items()


def test_an_encoder_is_evaluated_on_the_set_that_it_was_trained_on_or_on_the_one_that_is_named() -> None:
    cells = {cell.name: cell for cell in cells_of(grid_of(TABLE, "x"))}
    assert source_name(cells["tuned@second/moco-s1"]) == "small@second/moco-s1"
    settings = TABLE["settings"] | {"tuned": {"program": "evaluate", "of": "small@first", "corpora": ["second"]}}
    cells = {cell.name: cell for cell in cells_of(grid_of(TABLE | {"settings": settings}, "x"))}
    assert source_name(cells["tuned@second/moco-s1"]) == "small@first/moco-s1"


def source_name(cell: Cell) -> str | None:
    return cell.source and cell.source.name


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"corpora": {"crops": {"seed": 2}}}, "lacks 'identities'"),
        ({"corpora": {"crops": {"seed": 2, "identities": 8, "root": "x"}}}, "takes no root"),
        ({"corpora": {"crops": {}}}, "no labelled corpus"),
        ({"corpora": TABLE["corpora"] | {"first": {"name": "market-style", "use": "proving"}}}, "'use' got 'proving'"),
        ({"corpus": "first"}, "pre-trains on 'first', a labelled set"),
        ({"settings": {"x": {"program": "evaluate", "corpora": ["crops"]}}}, "'crops', which has no labels"),
        ({"settings": {"x": {"program": "evaluate", "corpora": ["first", "first"]}}}, "one twice"),
        ({"settings": {"x": {"program": "evaluate", "corpora": [1]}}}, "give a list of words"),
        (
            {"settings": TABLE["settings"] | {"tuned": {"program": "evaluate", "of": "small@third"}}},
            "leaves open which encoder",
        ),
    ],
)
def test_what_does_not_fit_together_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        grid_of(TABLE | change, "x")


def test_paths_are_asked_for_and_checked(folders: dict[str, Path]) -> None:
    grid = grid_of(TABLE, "x")
    with pytest.raises(InputError, match=r"2 corpora of this grid have no path: --paths first=PATH second=PATH"):
        with_paths(grid, ["crops=x"])
    with pytest.raises(InputError, match="did you mean 'first'"):
        with_paths(grid, ["frst=x"])
    with pytest.raises(InputError, match="give CORPUS=PATH"):
        with_paths(grid, ["crops"])
    with pytest.raises(InputError, match=r"corpus second: .*nowhere"):
        facts_of(grid_on(folders | {"second": Path("nowhere")}))
    with pytest.raises(InputError, match="first and second are the same images"):
        facts_of(grid_on(folders | {"second": folders["first"]}))


def test_equal_files_in_an_unlabelled_source_and_a_labelled_set_are_found(folders: dict[str, Path]) -> None:
    grid = grid_on(folders)
    check_apart(grid, facts_of(grid), {})
    twin = next((folders["second"] / "query").iterdir())
    shutil.copy(twin, folders["crops"] / "inside.png")
    forget()
    facts = facts_of(grid)
    with pytest.raises(
        InputError, match=rf"1 images of the labelled set second .* crops, .*{twin.name} = .*inside.png"
    ):
        check_apart(grid, facts, {})
    check_apart(grid, facts, facts)  # compared before


def test_folders_that_changed_since_a_study_began_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    grid, folder = grid_on(folders), StudyFolder(tmp_path / "study")
    remember("mine", grid, digests(grid), folder, facts_of(grid))
    assert str(tmp_path) not in folder.grid.read_text()
    (folders["crops"] / "0003.png").unlink()
    forget()
    with pytest.raises(InputError, match=r"corpus crops at .*crops has changed .* 16 images .* 15 with"):
        remember("mine", grid, digests(grid), folder, facts_of(grid))


def test_results_of_several_labelled_sets_stand_side_by_side(folders: dict[str, Path], tmp_path: Path) -> None:
    grid, folder = grid_on(folders), StudyFolder(tmp_path / "study")
    remember("mine", grid, digests(grid), folder, facts_of(grid))
    for cell in cells_of(grid):
        bonus = (cell.arm == "both") + 10.0 * ("second" in cell.stage)
        metrics = {"steps": 100.0, "contrast": 1.0} if cell.stage == "pretrain" else {"mAP": 20.0 + bonus + cell.seed}
        table = {"digest": cell.digest, "metrics": metrics, "protocol": {}, "seconds": 60.0, "settings": cell.settings}
        folder.result(cell).parent.mkdir(parents=True, exist_ok=True)
        folder.result(cell).write_text(json.dumps(table | ORIGIN | {"precision": "bfloat16"}))
    lines = report(read_study(folder.out))
    text = "\n".join(lines)
    assert "Rendered" not in text
    assert "crops (unlabelled): 16 images, fingerprint" in text
    assert "on `first` (for claiming), `second` (for choosing)." in text
    assert "Precision: bfloat16." in text
    assert "| arm | cost | first mAP | second mAP | minutes | n |" in re.sub(" +", " ", text)
    row = next(line for line in lines if line.startswith("| both "))
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "both", "225", "22.50 ± 0.71", "32.50 ± 0.71", "1.0", "2",
    ]  # fmt: skip
    assert "| both - moco | +1.00 [+1.00, +1.00] | +1.00 [+1.00, +1.00] | 2 |" in re.sub(" +", " ", text)


def commands() -> list[list[str]]:
    return [line.split()[1:] for line in PAGE.read_text().splitlines() if line.startswith("    upreid ")]


def test_the_grid_for_real_benchmarks_needs_only_paths() -> None:
    (words,) = [words for words in commands() if "ablation-own" in words]
    grid = read_grid("ablation-own")
    paths = [word for word in words if "=" in word]
    assert all(corpus.root for corpus in with_paths(grid, paths).corpora.values())
    assert grid_of(to_table(grid), "x") == grid


@pytest.mark.slow
def test_the_commands_for_a_laptop_run_and_their_cells_are_used_again(
    folders: dict[str, Path], tmp_path: Path, run_upreid: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """With a grid of one arm and one epoch in place of the shipped one, whose name and paths it has."""
    begin, look = (words for words in commands() if "ablation-own" not in words)
    table = to_table(read_grid("ablation-own-laptop"))
    flags = {"train": {"epochs": 1.0, "batch": 16}, "contrast": {"queue": 32}}
    few = {"train": {"epochs": 1.0, "identities": 2, "images": 2}, "data": {"identity_share": 0.5}}
    table |= {"seeds": [1], "compare": [], "arms": {"moco": {"recipe": "moco-laptop", "flags": flags}}}
    table["settings"]["small-30"]["flags"] = few
    grid = tmp_path / "ablation-own-laptop.toml"
    grid.write_text(toml(table))
    words = [str(grid) if word == "ablation-own-laptop" else word for word in begin]
    first = run_in(tmp_path, run_upreid, words)
    assert first.returncode == 0, first.stderr
    assert "no image of first is in crops" in first.stderr
    assert "first mAP" in first.stdout
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    shown = run_in(tmp_path, run_upreid, look)
    assert shown.stdout == first.stdout
    moved = run_in(tmp_path, run_upreid, [word.replace("=data/", "=elsewhere/") for word in words])
    assert moved.returncode == 0, moved.stderr
    assert moved.stdout == first.stdout


def run_in(
    folder: Path, run: Callable[..., subprocess.CompletedProcess[str]], words: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run a line as if it were typed in `folder`."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        return run(*words)
    finally:
        os.chdir(before)


def toml(table: dict[str, Any], prefix: str = "") -> str:
    """Write plain values and tables as TOML."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [f"[{prefix}{key}]", toml(value, f"{prefix}{key}.")]
    return "\n".join(lines)


def test_the_grid_on_the_page_is_read() -> None:
    import tomllib

    text = PAGE.read_text().partition("```toml\n")[2].partition("```")[0]
    grid = grid_of(TABLE | {"corpus": "crops"} | tomllib.loads(text), "x")
    assert grid.use("market1501") == "claiming"
    assert list(grid.stages("frozen")) == ["frozen@people", "frozen@market1501"]
