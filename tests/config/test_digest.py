"""States that were saved before today are resumed: the digest of a configuration is what it was when they were saved."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from upreid.config.command_line import parse
from upreid.config.files import digest
from upreid.config.methods import schema_of
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.config.training import TrainingConfig

IMAGES = "--data.root images --out run"
PEOPLE = f"--init random --data.name market1501 {IMAGES}"
NUMBERS = "--train.compile --augment.mean 0.1 0.2 0.3 --train.steps 9 --train.accumulate 2"
DEVICES = "--intrinsic.hardest 2 --data.unreadable-share 0.2 --train.device cpu --train.threads 1 --train.workers 0"
WATCHED = "--monitor.every-epochs 2 --monitor.root m --tensorboard --data.patience 3"
KEPT = "--train.save-every 4 --train.keep-states 3"
SPLIT = "--data.split s.json --optim.milestones 1 2 --train.bf16 --test.rerank --train.threads 1 --input.height 64"


def read(program: str, line: str) -> TrainingConfig:
    recipe, *flags = line.split()
    required = (IMAGES if program == "pretrain" else PEOPLE).split()
    words = ["--recipe", recipe, *required, *read_recipe(recipe, program), *required, *flags]
    return parse(schema_of(program, words), words, program=program)


@pytest.mark.parametrize(
    ("program", "line", "saved"),
    [  # computed by commit 3bb9a3c, the last one whose digest knew no fields by their path
        ("pretrain", "laptop --intrinsic.weight 3", "ee8745a591c90f67"),
        ("pretrain", f"laptop --intrinsic.weight 3 {NUMBERS}", "88bf6def47d49fff"),
        ("pretrain", f"laptop --intrinsic.weight 3 {DEVICES} {WATCHED} {KEPT}", "82af4c55076aa04d"),
        ("pretrain", "moco-laptop", "41c3d6355c54f8fb"),
        ("pretrain", "luperson-resnet50 --intrinsic.weight 3", "a1ddf429652c8c08"),
        (
            "pretrain",
            f"luperson-vit-small --intrinsic.weight 3 --intrinsic.source pixels {NUMBERS}",
            "c1d5972fc2b27abf",
        ),
        ("finetune", "laptop-bot", "ddd5dd22133de338"),
        ("finetune", f"laptop-bot {SPLIT}", "2f2e106debdd9b7d"),
        ("finetune", "market1501-mgn", "270f5fc2951ef21c"),
        ("finetune", f"transreid {SPLIT}", "e8abee120ff9587f"),
    ],
)
def test_a_state_saved_by_an_earlier_version_belongs_to_the_same_configuration(
    program: str, line: str, saved: str
) -> None:
    assert digest(read(program, f"{line} --train.no-auto-precision")) == saved  # the recipes for laptops have it since


@pytest.mark.parametrize(
    ("line", "saved"),
    [  # computed by commit 2bf058e, when an adaptation had no source
        ("laptop-usl", "473ce9d73eaca0b2"),
        ("msmt17-usl --memory.update hardest --train.accumulate 2", "2ac329e0d1532474"),
    ],
)
def test_an_adaptation_without_a_source_belongs_to_the_same_configuration(line: str, saved: str) -> None:
    assert digest(read("adapt", line)) == saved
    assert digest(read("adapt", f"{line} --source.name personx --source.root x")) != saved


def test_where_a_source_lies_does_not_count() -> None:
    one, two = (digest(read("adapt", f"laptop-uda --source.root {root}")) for root in "ab")
    assert one == two != digest(read("adapt", "laptop-uda --source.root a --source.alone-epochs 3"))


@pytest.mark.parametrize("flags", ["--data.root b", "--out b", WATCHED, KEPT, "--train.threads 1 --train.workers 0"])
@pytest.mark.parametrize("line", ["pretrain laptop", "finetune laptop-bot"])
def test_where_and_how_closely_watched_a_run_is_does_not_count(line: str, flags: str) -> None:
    program, recipe = line.split()
    assert digest(read(program, f"{recipe} {flags}")) == digest(read(program, recipe))


@pytest.mark.parametrize(
    ("line", "flags"),
    [
        ("pretrain laptop", "--train.seed 2"),
        ("pretrain laptop", "--data.cfs-share 0.5"),
        ("finetune laptop-bot", "--train.accumulate 2"),
        ("finetune laptop-bot", "--train.compile"),
        ("finetune laptop-bot", "--data.unreadable-share 0.5"),
    ],
)
def test_what_decides_a_result_counts_also_where_the_setting_is_young(line: str, flags: str) -> None:
    program, recipe = line.split()
    assert digest(read(program, f"{recipe} {flags}")) != digest(read(program, recipe))


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A section that a later version has."""

    root: Path = Path("memory")
    """Folder of the memory that is read."""
    threads: int = 1
    """Number of threads of the memory."""


@dataclass(frozen=True, kw_only=True)
class LaterConfig(MocoV2Config):
    """MoCo v2 as a later version has it."""

    added_later: ClassVar[tuple[str, ...]] = (*MocoV2Config.added_later, "patience", "memory")

    patience: int = 3
    """Number of epochs to be patient."""
    memory: Memory = field(default_factory=Memory)


def test_a_setting_that_a_later_version_adds_counts_where_it_is_not_at_its_default() -> None:
    now = digest(read("pretrain", "laptop"))
    words = ["--recipe", "laptop", *IMAGES.split(), *read_recipe("laptop", "pretrain"), *IMAGES.split()]

    def later(*flags: str) -> str:
        return digest(parse(LaterConfig, [*words, *flags], program="pretrain"))

    assert later() == later("--train.threads", "3") == now
    different = {later(*flags) for flags in (["--patience", "4"], ["--memory.root", "b"], ["--memory.threads", "2"])}
    assert len(different - {now}) == 3
