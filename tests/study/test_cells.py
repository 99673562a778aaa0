from pathlib import Path
from typing import Any

import pytest

from upreid.config.grid import grid_of, read_grid, shipped_grids
from upreid.config.pretrain import MocoV2Config
from upreid.config.study import Grid
from upreid.errors import InputError
from upreid.study.cells import cells_of
from upreid.study.command_lines import Machine, check_lines, line_of, machine, parsed
from upreid.study.folder import StudyFolder, recall, remember

CPU = Machine(device="cpu", workers=0, slots=({},))
TABLE: dict[str, Any] = {
    "purpose": "choosing",
    "corpus": "people",
    "seeds": [1, 2],
    "corpora": {"people": {"seed": 1, "identities": 8}, "other": {"seed": 5, "identities": 8}},
    "flags": {"train": {"epochs": 20.0}},
    "arms": {"random": {}, "moco": {"recipe": "moco-laptop", "flags": {"train": {"batch": 32}}}},
    "settings": {
        "elsewhere": {"program": "evaluate", "of": "small", "corpus": "other"},
        "small": {"program": "finetune", "recipe": "laptop-bot", "repeats": 2},
        "frozen": {"program": "evaluate"},
    },
}


GRIDS = [
    pytest.param(name, marks=() if name in ("claim-laptop", "usl-laptop", "ablation-own") else pytest.mark.slow)
    for name in shipped_grids()
]


def digests(**change: Any) -> dict[str, str]:
    return {cell.name: cell.digest for cell in cells_of(grid_of(TABLE | change, "x"))}


@pytest.mark.parametrize("name", GRIDS)
def test_every_cell_of_a_shipped_grid_has_a_command_line_that_its_program_reads(name: str, tmp_path: Path) -> None:
    grid = read_grid(name)
    cells = cells_of(grid)
    assert len({cell.name for cell in cells}) == len(cells)
    if all(corpus.is_rendered for corpus in grid.corpora.values()):  # what folders are is known when there are paths
        assert len({cell.digest for cell in cells}) == len(cells)
    check_lines(grid, cells, StudyFolder(tmp_path), CPU)


@pytest.mark.parametrize("name", GRIDS)
def test_pre_trainings_of_a_shipped_grid_can_be_planned(name: str, tmp_path: Path) -> None:
    from upreid.commands.pretrain import check_batch
    from upreid.data.augment import PatchGrid
    from upreid.runtime.distributed import World

    for cell in cells_of(read_grid(name)):
        if cell.program != "pretrain" or cell.seed != 1:
            continue
        config = parsed(line_of(cell, StudyFolder(tmp_path), CPU))
        assert isinstance(config, MocoV2Config)
        check_batch(config, 12 * (cell.people.identities or 1000), World())
        if config.intrinsic.source == "pixels":
            grid = PatchGrid(rows=config.intrinsic.rows, columns=config.intrinsic.columns)
            grid.patch_size(config.augment.height, config.augment.width)


def test_downstream_starts_from_the_encoders_that_the_ablation_made() -> None:
    """So that its folders can be copied."""
    first, second = (
        {cell.name: cell.digest for cell in cells_of(read_grid(f"{name}-laptop"))}
        for name in ("ablation", "downstream")
    )
    pretrainings = {name: digest for name, digest in first.items() if name.startswith("pretrain/")}
    assert pretrainings
    assert pretrainings.items() <= second.items()


def test_cells_stand_seed_by_seed_and_each_behind_what_it_needs() -> None:
    cells = cells_of(grid_of(TABLE, "x"))
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
    for place, cell in enumerate(cells):
        assert cell.source is None or cell.source.name in [before.name for before in cells[:place]]
    assert [cell.name for cell in cells if cell.arm == "random" and cell.seed == 1] == [
        "small/random-s1", "small/random-s1-r2", "elsewhere/random-s1", "elsewhere/random-s1-r2",
    ]  # fmt: skip
    assert [cell.train_seed for cell in cells if cell.stage == "small" and cell.arm == "moco"] == [1, 1001, 2, 1002]


def test_a_command_line_says_what_the_grid_does() -> None:
    cells = {cell.name: cell for cell in cells_of(grid_of(TABLE, "x"))}
    config = parsed(line_of(cells["pretrain/moco-s2"], StudyFolder(Path("out")), CPU))
    assert (config.train.epochs, config.train.batch, config.train.seed) == (20.0, 32, 2)
    assert (config.train.threads, config.train.workers, config.train.device) == (1, 0, "cpu")
    assert config.data.root == Path("out/corpora/people/wild")
    tuned = parsed(line_of(cells["small/moco-s2-r2"], StudyFolder(Path("out")), CPU))
    assert (tuned.init, tuned.train.seed) == ("out/pretrain/moco-s2/encoder.safetensors", 1002)
    assert parsed(line_of(cells["small/random-s1"], StudyFolder(Path("out")), CPU)).init == "random"
    crossed = parsed(line_of(cells["elsewhere/moco-s1"], StudyFolder(Path("out")), CPU))
    assert crossed.encoder == Path("out/small/moco-s1/encoder.safetensors")
    assert crossed.data.root == Path("out/corpora/other/market1501")


def test_a_digest_follows_all_that_decides_a_result_and_nothing_else() -> None:
    before = digests()
    more = {"arms": TABLE["arms"] | {"both": {"recipe": "both-terms-laptop"}}, "seeds": [2, 1, 3]}
    assert before.items() <= digests(**more).items()
    changed = digests(flags={"train": {"epochs": 21.0}})
    assert {name for name in before if changed[name] != before[name]} == {name for name in before if "moco" in name}
    corpus = digests(corpora=TABLE["corpora"] | {"other": {"seed": 6, "identities": 8}})
    assert all((corpus[name] != before[name]) == name.startswith("elsewhere/") for name in before)
    spelt = TABLE["settings"] | {"frozen": {"program": "evaluate", "flags": {"batch": 64}}}
    assert digests(settings=spelt)["frozen/moco-s1"] != before["frozen/moco-s1"]


def test_a_study_may_grow_and_not_change(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)

    def keep(name: str, grid: Grid) -> None:
        remember(name, grid, {cell.name: cell.digest for cell in cells_of(grid)}, folder)

    grid = grid_of(TABLE, "x")
    keep("mine", grid)
    assert recall(folder)[:2] == ("mine", grid)
    larger = grid_of(TABLE | {"seeds": [1, 2, 3]}, "x")
    keep("mine", larger)
    for change, words in [
        ({"seeds": [1, 2]}, "holds 10 cells that 'mine' has no more"),
        ({"seeds": [1, 2, 3], "flags": {"train": {"epochs": 3.0}}}, "or with other settings"),
    ]:
        other = grid_of(TABLE | change, "x")
        with pytest.raises(InputError, match=words):
            keep("mine", other)
    with pytest.raises(InputError, match="holds the study 'mine', not 'yours'"):
        keep("yours", larger)


def test_slots_follow_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(machine("cpu", 3).slots) == 3
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in machine("auto", 3).slots] == ["4", "7", "4"]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(InputError, match="no GPU"):
        machine("cuda", None)
