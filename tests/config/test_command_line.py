from pathlib import Path

import pytest

from upreid.config.command_line import parse
from upreid.config.files import to_dict, to_flags
from upreid.config.finetune import FinetuneConfig
from upreid.config.pretrain import ConsistencyReading, IntrinsicReading, MocoV2Config
from upreid.config.recipe import read_recipe, recipe_names
from upreid.errors import InputError

REQUIRED = ["--recipe", "laptop", "--data.root", "images", "--out", "run"]
SCHEMAS = {
    "pretrain": (MocoV2Config, REQUIRED),
    "finetune": (FinetuneConfig, ["--init", "random", "--data.name", "market1501", *REQUIRED]),
}
RECIPES = [(program, name) for program in SCHEMAS for name in recipe_names(program)]


def pretrain(*flags: str) -> MocoV2Config:
    return parse(MocoV2Config, [*REQUIRED, *flags], program="pretrain")


@pytest.mark.parametrize(("program", "name"), RECIPES)
def test_every_shipped_recipe_parses(program: str, name: str) -> None:
    schema, required = SCHEMAS[program]
    parse(schema, [*required, *read_recipe(name, program)], program=program)


def test_the_last_of_a_repeated_flag_wins_so_a_user_overrides_a_recipe() -> None:
    config = pretrain("--train.batch", "7", "--train.bf16", "--train.batch", "8", "--train.no-bf16")
    assert (config.train.batch, config.train.bf16) == (8, False)


def test_the_baseline_recipe_differs_from_its_base_by_one_zero_only() -> None:
    base, baseline = (to_dict(pretrain(*read_recipe(name, "pretrain"))) for name in ("laptop", "moco-laptop"))
    base["consistency"]["weight"] = 0.0
    assert base == baseline


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--optim.lrr", "1"], ["--optim.lrr", "--optim.lr"]),
        (["--consistency.reading", "g-coss"], ["g-coss", "'g-cos'"]),
        (["--augment.preset", "lupersn"], ["lupersn", "'luperson'"]),
        (["--model.last-stride", "3"], ["--model.last-stride", "3", "1, 2"]),
        (["--optim.lr", "fast"], ["--optim.lr", "fast"]),
        (["--train.steps", "1.5"], ["--train.steps", "1.5"]),
        (["stray"], ["stray"]),
    ],
)
def test_a_wrong_flag_is_named_in_one_line_with_what_was_expected(flags: list[str], words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        pretrain(*flags)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_missing_flag_is_named() -> None:
    with pytest.raises(InputError, match=r"--out"):
        parse(MocoV2Config, ["--recipe", "x", "--data.root", "images"], program="pretrain")


@pytest.mark.parametrize(
    ("name", "words"),
    [("laptp", "did you mean 'laptop'"), ("laptop-bot", "program"), ("no/such.toml", "no recipe file")],
)
def test_a_recipe_that_is_not_one_is_refused(name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_recipe(name, "pretrain")


def test_a_recipe_of_the_user_may_build_on_a_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('program = "pretrain"\nbase = "laptop"\n[train]\nbatch = 24\nbf16 = true\n')
    config = pretrain(*read_recipe(str(path), "pretrain"))
    assert (config.train.batch, config.train.bf16, config.augment.height) == (24, True, 64)


def test_a_broken_recipe_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("program = \n")
    with pytest.raises(InputError, match="not valid TOML"):
        read_recipe(str(path), "pretrain")


def test_a_saved_configuration_comes_back_as_it_was() -> None:
    config = pretrain("--train.compile", "--augment.mean", "0.1", "0.2", "0.3", "--train.steps", "9")
    assert parse(MocoV2Config, to_flags(to_dict(config)), program="pretrain") == config


def test_the_words_of_the_configuration_are_the_readings_there_are() -> None:
    from typing import get_args

    from upreid.losses import consistency, intrinsic

    assert set(get_args(ConsistencyReading)) == set(consistency.READINGS)
    assert set(get_args(IntrinsicReading)) == set(intrinsic.LOSSES)


def test_the_words_of_the_configuration_are_the_presets_there_are() -> None:
    from typing import get_args

    from upreid.config.pretrain import AugmentPreset
    from upreid.data.augment.presets import PRESETS

    assert set(get_args(AugmentPreset)) == set(PRESETS)
