from pathlib import Path
from typing import Any

import pytest

from upreid.config.grid import grid_of, read_grid, shipped_grids, to_table
from upreid.errors import InputError

TABLE: dict[str, Any] = {
    "purpose": "choosing",
    "corpus": "people",
    "seeds": [1, 2],
    "corpora": {"people": {"seed": 1, "identities": 8}},
    "arms": {"random": {}, "moco": {"recipe": "moco-laptop"}},
    "settings": {"small": {"program": "finetune", "recipe": "laptop-bot"}, "frozen": {"program": "evaluate"}},
    "compare": [["*", "moco"]],
}


@pytest.mark.parametrize("name", shipped_grids())
def test_every_shipped_grid_is_read_and_comes_back_from_its_table(name: str) -> None:
    grid = read_grid(name)
    assert grid_of(to_table(grid), name) == grid
    assert grid.compare


@pytest.mark.parametrize("name", shipped_grids())
def test_a_shipped_grid_writes_out_what_defaults_could_change(name: str) -> None:
    grid = read_grid(name)
    for section in ("consistency", "intrinsic"):
        assert {"reading", "weight", "temperature", "ramp_up_epochs"} <= set(grid.flags[section])


def test_a_cross_makes_an_arm_of_every_combination() -> None:
    cross = {"recipe": "laptop", "flags": {"train": {"epochs": 2}}, "lists": {"intrinsic": {"weight": [1.0, 3.0]}}}
    cross["lists"] |= {"augment": {"preset": ["person", "luperson"]}}
    grid = grid_of(TABLE | {"cross": {"i": cross}}, "x")
    assert list(grid.arms)[2:] == ["i-1.0-person", "i-1.0-luperson", "i-3.0-person", "i-3.0-luperson"]
    flags = grid.arms["i-3.0-person"].flags
    assert flags == {"train": {"epochs": 2}, "intrinsic": {"weight": 3.0}, "augment": {"preset": "person"}}
    assert grid.compare == tuple((arm, "moco") for arm in grid.arms if arm != "moco")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"purpse": "x"}, "no key 'purpse'; did you mean 'purpose'"),
        ({"purpose": "proving"}, "'purpose' got 'proving'"),
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "different whole numbers"),
        ({"seeds": 3}, "give a list"),
        ({"corpus": "peple"}, "did you mean 'people'"),
        ({"compare": [["moco", "moc"]]}, "compare names arm 'moc'; did you mean 'moco'"),
        ({"compare": ["moco"]}, "give pairs of arms"),
        ({"arms": {"a": {"recipes": "laptop"}}}, "arms.a has no key 'recipes'; did you mean 'recipe'"),
        ({"arms": {"a/b": {}}, "compare": []}, "names a folder"),
        ({"arms": {"a": 3}}, "named tables"),
        ({"settings": {"pretrain": {"program": "evaluate"}}}, "every study has"),
        ({"settings": {"x": {"program": "finetune"}}}, "needs a recipe"),
        ({"settings": {"x": {"program": "evaluate", "of": "y"}}}, "must name a setting that trains"),
        ({"settings": {"x": {"program": "evaluate", "repeats": 2}}}, "repeats 2"),
        ({"settings": {"x": {"recipe": "laptop-bot"}}}, "lacks 'program'"),
        ({"corpora": {"people": {"seed": "one", "identities": 8}}}, "give a whole number"),
        ({"corpora": {"people": {"seed": 1, "identities": 8, "version": 3}}}, "'version' got 3; give 1 or 2"),
        ({"corpora": {"people": {"root": "crops", "version": 2}}}, "lacks 'seed'"),
        ({"purpose": "claiming"}, "corpus seed 1, which the defaults were chosen on"),
        ({"purpose": "claiming", "corpora": {"people": {"seed": 5, "identities": 8}}}, "corpus seed 5, which"),
    ],
)
def test_a_wrong_grid_gets_one_line_back(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        grid_of(TABLE | change, "study 'x'")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_study_is_named_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'ablation-laptop'"):
        read_grid("ablation-lapto")


def test_a_grid_of_ones_own_is_read_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(shipped_grids()["ablation-laptop"].read_text())
    assert read_grid(str(path)) == read_grid("ablation-laptop")
