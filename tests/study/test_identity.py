"""What makes two cells the same: settings and data, never where the data lie."""

import json
from pathlib import Path
from typing import Any

import pytest

from upreid.config.grid import grid_of, read_grid
from upreid.study.analysis import read_study
from upreid.study.cells import cells_of, contents, labelled, unlabelled
from upreid.study.command_lines import Machine
from upreid.study.folder import StudyFolder
from upreid.study.program import jobs_of

FIRST_FORM = Path(__file__).parent / "ablation-laptop"
"""A part of a real study, as the first version wrote it."""
TABLE: dict[str, Any] = {
    "purpose": "choosing",
    "corpus": "people",
    "seeds": [1],
    "corpora": {"people": {"seed": 1, "identities": 8}},
    "arms": {"moco": {"recipe": "moco-laptop"}},
    "settings": {
        "small": {"program": "finetune", "recipe": "laptop-bot"},
        "frozen": {"program": "evaluate"},
        "diagnosis": {"program": "diagnose"},
    },
}
CROPS = ("a.png", "b.png")
MARKET = ("0001_c1s1_000001_00.jpg", "0001_c2s1_000001_00.jpg", "0002_c1s1_000001_00.jpg", "0002_c2s1_000001_00.jpg")


def digests(**change: Any) -> dict[str, str]:
    for remembered in (unlabelled, labelled, contents):
        remembered.cache_clear()
    return {cell.name: cell.digest for cell in cells_of(grid_of(TABLE | change, "x"))}


def crops(folder: Path, names: tuple[str, ...] = CROPS) -> str:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return str(folder)


def market(folder: Path, names: tuple[str, ...] = MARKET) -> str:
    for part in ("bounding_box_train", "query", "bounding_box_test"):
        crops(folder / part, names)
    return str(folder)


def flagged(name: str, **flags: Any) -> dict[str, Any]:
    return {"settings": TABLE["settings"] | {name: TABLE["settings"][name] | {"flags": flags}}}


def test_the_digests_of_results_that_were_published_are_those_of_today() -> None:
    before = json.loads((FIRST_FORM / "study.json").read_text())["cells"]
    assert {cell.name: cell.digest for cell in cells_of(read_grid("ablation-laptop"))} == before
    study = read_study(FIRST_FORM)
    assert len(study.results) == 9
    assert study.stale == 0


def test_unlabelled_images_named_by_a_flag_are_known_by_their_names_and_not_by_their_place(tmp_path: Path) -> None:
    def of(root: str) -> dict[str, str]:
        return digests(flags={"data": {"root": root}})

    first, moved = of(crops(tmp_path / "first")), of(crops(tmp_path / "moved"))
    other = of(crops(tmp_path / "other", ("a.png", "c.png")))
    assert first == moved
    assert not first.items() & other.items()
    assert not first.items() & digests().items()


def test_a_labelled_set_named_by_a_flag_is_known_by_its_lists(tmp_path: Path) -> None:
    def of(root: str) -> dict[str, str]:
        return digests(**flagged("small", data={"root": root}))

    first, moved = of(market(tmp_path / "first")), of(market(tmp_path / "moved"))
    other = of(market(tmp_path / "other", (*MARKET, "0003_c1s1_000001_00.jpg", "0003_c2s1_000001_00.jpg")))
    assert first == moved
    assert {name for name in first if first[name] != other[name]} == {"small/moco-s1"}


def test_images_of_a_diagnosis_are_known_by_their_names(tmp_path: Path) -> None:
    first = digests(**flagged("diagnosis", unlabelled=crops(tmp_path / "first")))
    other = digests(**flagged("diagnosis", unlabelled=crops(tmp_path / "other", ("c.png",))))
    assert {name for name in first if first[name] != other[name]} == {"diagnosis/moco-s1"}
    assert digests(**flagged("diagnosis", unlabelled=crops(tmp_path / "moved"))) == first


def test_a_split_file_is_known_by_what_it_says(tmp_path: Path) -> None:
    split = tmp_path / "split.json"
    split.write_text("one")
    first = digests(**flagged("small", data={"split": str(split)}))
    moved = split.rename(tmp_path / "moved.json")
    assert digests(**flagged("small", data={"split": str(moved)})) == first
    moved.write_text("two")
    assert digests(**flagged("small", data={"split": str(moved)}))["small/moco-s1"] != first["small/moco-s1"]


def test_a_list_of_tracklets_is_known_by_what_it_says(tmp_path: Path) -> None:
    def of(tracklets: Path | str) -> dict[str, str]:
        return digests(flags={"data": {"tracklets": str(tracklets)}})

    tracklets = tmp_path / "tracklets.csv"
    tracklets.write_text("one")
    first = of(tracklets)
    moved = tracklets.rename(tmp_path / "moved.csv")
    assert of(moved) == first
    moved.write_text("two")
    assert not first.items() & of(moved).items()
    assert not digests().items() & of("own").items()


@pytest.mark.slow
def test_another_version_of_the_renderer_makes_other_cells_and_its_pictures_are_not_reused(tmp_path: Path) -> None:
    from upreid.commands.synth import run
    from upreid.study.command_lines import parsed, synth_line

    def with_version(**version: int) -> dict[str, Any]:
        flags = {"height": 32, "width": 16}
        return {"corpora": {"people": {"seed": 1, "identities": 4, "flags": flags, **version}}}

    def rendered(**version: int) -> bool:
        grid = grid_of(TABLE | with_version(**version), "x")
        jobs = jobs_of(grid, cells_of(grid), folder, Machine(device="cpu", workers=0, slots=({},)), "mine")
        return next(job for job in jobs if job.name == "synth-people").is_done()

    folder, grid = StudyFolder(tmp_path), grid_of(TABLE | with_version(), "x")
    assert not rendered()
    run(parsed(synth_line("people", grid.corpora["people"], folder)))
    assert rendered()
    assert rendered(version=1)
    assert not rendered(version=2)
    assert digests(**with_version()) == digests(**with_version(version=1))
    assert not digests(**with_version()).items() & digests(**with_version(version=2)).items()
