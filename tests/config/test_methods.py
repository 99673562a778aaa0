"""A method brings a configuration of its own: one row of the table, one section, one recipe."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from upreid.config.command_line import parse, parse_training
from upreid.config.files import digest, to_dict, to_flags
from upreid.config.finetune import FinetuneConfig
from upreid.config.methods import METHODS, MethodEntry, schema_of
from upreid.config.pretrain import MocoV2Config, PretrainConfig
from upreid.errors import InputError
from upreid.ranges import Count

WHERE = ["--data.root", "images", "--out", "run"]


@dataclass(frozen=True, kw_only=True)
class Pairing:
    """Section of a method that pairs views."""

    width: Count = 8
    """Width of the layer that pairs views."""


@dataclass(frozen=True, kw_only=True)
class PairingConfig(PretrainConfig):
    """Pre-train an encoder by pairing views."""

    method: str = "pairing"
    """Name of the training method; the recipe chooses it."""
    pairing: Pairing = field(default_factory=Pairing)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipe of a method that this test adds."""
    monkeypatch.setitem(METHODS, "pairing", MethodEntry(program="pretrain", config=PairingConfig, module="nowhere"))
    path = tmp_path / "pairs.toml"
    path.write_text('program = "pretrain"\nmethod = "pairing"\n[pairing]\nwidth = 4\n[train]\nbatch = 32\n')
    return str(path)


def test_the_recipe_chooses_the_method_and_its_flags_go_over_it(recipe: str) -> None:
    config = parse_training("pretrain", [recipe, "--pairing.width", "6", *WHERE])
    assert (type(config), config.pairing.width, config.train.batch) == (PairingConfig, 6, 32)


def test_recipe_and_method_may_be_given_as_flags_too(recipe: str) -> None:
    config = parse_training("pretrain", [*WHERE, "--recipe", recipe, "--pairing.width=2"])
    assert config.pairing.width == 2
    assert (
        schema_of("pretrain", ["--method", "pairing"]) is schema_of("pretrain", ["--method=pairing"]) is PairingConfig
    )
    assert schema_of("pretrain", ["--method", "moco-v2", "--method", "pairing"]) is PairingConfig


def test_flags_of_another_method_are_unknown(recipe: str) -> None:
    with pytest.raises(InputError, match=r"no option --contrast\.queue"):
        parse_training("pretrain", [recipe, "--contrast.queue", "8", *WHERE])
    with pytest.raises(InputError, match=r"no option --pairing\.width"):
        parse_training("pretrain", ["laptop", "--pairing.width", "8", *WHERE])


def test_a_recipe_without_a_method_is_one_of_the_first_and_an_unknown_method_is_refused(tmp_path: Path) -> None:
    assert type(parse_training("pretrain", ["laptop", *WHERE])) is MocoV2Config
    people = ["--init", "random", "--data.name", "market1501"]
    config = parse_training("finetune", ["laptop-bot", *people, *WHERE])
    assert (type(config), config.method) == (FinetuneConfig, "supervised")
    path = tmp_path / "mine.toml"
    path.write_text('program = "pretrain"\nmethod = "supervised"\n')
    with pytest.raises(InputError, match="--method got 'supervised'; known: moco-v2"):
        parse_training("pretrain", [str(path), *WHERE])


def test_a_saved_run_comes_back_with_its_method(recipe: str) -> None:
    config = parse_training("pretrain", [recipe, *WHERE])
    flags = to_flags(to_dict(config))
    again = parse(schema_of("pretrain", flags), flags, program="pretrain")
    assert again == config
    assert digest(again) == digest(config)
