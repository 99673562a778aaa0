"""Every option of every command: its text, its range, and what is said of a value that will not do."""

import ast
import inspect
import itertools
import math
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from upreid.cli import COMMANDS, main
from upreid.config.command_line import parse
from upreid.config.commands import PackConfig
from upreid.config.methods import METHODS
from upreid.config.options import bare, known_flags, refusal, without_none
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.errors import InputError
from upreid.ranges import Range

PRETRAIN = "pretrain laptop --data.root images --out run"
FINETUNE = "finetune laptop-bot --init random --data.name market1501 --data.root images --out run"
EVALUATE = "evaluate encoder --data.name market1501 --data.root images"


def schema(row: str) -> Any:
    module, _, name = row.partition(":")
    return getattr(import_module(f"upreid.config.{module}"), name)


SCHEMAS = {name: schema(row.schema) for name, row in COMMANDS.items() if ":" in row.schema}
SCHEMAS |= {f"{entry.program} ({name})": entry.config for name, entry in METHODS.items()}


def texts(kind: Any) -> Iterator[tuple[str, str]]:
    """Name and text of each field of a schema and of its sections."""
    said = {}
    for one in reversed(kind.__mro__):
        if is_dataclass(one):
            said |= documented(one)
    for field in fields(kind):
        if is_dataclass(field.type):
            yield f"section {field.name}", field.type.__doc__ or ""
            yield from texts(field.type)
        else:
            yield f"{kind.__name__}.{field.name}", said.get(field.name, "")


def documented(kind: Any) -> dict[str, str]:
    """Field -> the string under it, in the source of a class."""
    body = ast.parse(inspect.getsource(kind)).body[0].body  # pyright: ignore[reportAttributeAccessIssue]
    pairs = itertools.pairwise(body)
    return {
        one.target.id: after.value.value
        for one, after in pairs
        if isinstance(one, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }


NO_NOUNS = (
    "Of So Where As With By To From In On For Likewise What How Which Any Also The A An At Per Only All Stop Take Keep"
)
FRAGMENTS = set(NO_NOUNS.split())


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_option_has_a_text_that_is_clear_alone(name: str) -> None:
    found = list(texts(SCHEMAS[name]))
    assert len(found) >= 2
    for field, text in found:
        words = text.split()
        assert len(words) >= 4, f"{field}: {text!r} is too short"
        assert text.endswith("."), f"{field}: {text!r} is no sentence"
        assert words[0] not in FRAGMENTS, f"{field}: {text!r} does not begin with a noun"
        assert words[0][0].isupper(), f"{field}: {text!r}"


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_number_has_a_range(name: str) -> None:
    for option in known_flags(SCHEMAS[name]).values():
        kind = without_none(option.kind)[0]
        if bare(kind) in (int, float):
            limits = [limit for limit in getattr(kind, "__metadata__", ()) if isinstance(limit, Range)]
            assert limits, f"{option.flag} of upreid {name} has no range"


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_default_is_in_its_range(name: str) -> None:
    def defaults(kind: Any) -> Iterator[tuple[str, Any]]:
        for field in fields(kind):
            if is_dataclass(field.type):
                yield from ((f"{field.name}.{path}", value) for path, value in defaults(field.type))
            elif field.default is not MISSING and field.default is not None:
                yield field.name, field.default

    options = {option.path: option for option in known_flags(SCHEMAS[name]).values()}
    for path, default in defaults(SCHEMAS[name]):
        for value in default if isinstance(default, tuple) else (default,):
            assert refusal(str(value), options[path].kind) == "" or isinstance(value, bool), f"{path} {value}"


CANNOT_BE = ["nan", "inf", "-inf", "-1", "1e400", "one", "", "0x1", "1;2", "None "]


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_option_takes_a_number_that_cannot_be(name: str) -> None:
    for option in known_flags(SCHEMAS[name]).values():
        if (kind := bare(without_none(option.kind)[0])) in (int, float):
            for word in CANNOT_BE if kind is float else [*CANNOT_BE, "99999999999999999999999"]:
                assert refusal(word, option.kind).startswith("give a "), f"{option.flag} {word}"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"{PRETRAIN} --augment.mean 123 117 104", "--augment.mean got '123'; give a number from 0 to 1, for pixels"),
        (f"{PRETRAIN} --augment.std 0.2 0 0.2", "--augment.std got '0'; give a number above 0 and up to 1"),
        (f"{PRETRAIN} --augment.mean nan 0.1 0.1", "--augment.mean got 'nan'"),
        (f"{PRETRAIN} --augment.height 0", "--augment.height got '0'; give a whole number from 1 to 4,096"),
        (f"{PRETRAIN} --train.batch 0", "--train.batch got '0'; give a whole number of at least 1"),
        (f"{PRETRAIN} --train.batch -1", "--train.batch got '-1'; give a whole number of at least 1"),
        (f"{PRETRAIN} --train.batch 8.0", "--train.batch got '8.0'; give a whole number of at least 1"),
        (
            f"{PRETRAIN} --train.seed 12345678901234567890",
            "--train.seed got '12345678901234567890'; give a whole number",
        ),
        (f"{PRETRAIN} --train.threads 0", "--train.threads got '0'; give a whole number of at least 1"),
        (f"{PRETRAIN} --train.workers -1", "--train.workers got '-1'; give a whole number of at least 0"),
        (f"{PRETRAIN} --optim.lr inf", "--optim.lr got 'inf'; give a number above 0"),
        (f"{PRETRAIN} --consistency.weight -1", "--consistency.weight got '-1'; give a number of at least 0"),
        (f"{PRETRAIN} --contrast.momentum 1.5", "--contrast.momentum got '1.5'; give a number from 0 to 1"),
        (f"{PRETRAIN} --monitor.every-epochs nan", "--monitor.every-epochs got 'nan'"),
        (f"{PRETRAIN} --data.cfs-share 0", "--data.cfs-share got '0'; give a number above 0 and up to 1"),
        (f"{PRETRAIN} --data.root=", "--data.root got ''; give a path"),
        (f"{PRETRAIN} --model.backbone=", "--model.backbone got ''; give a name"),
        (f"{FINETUNE} --input.mean 123 117 104", "--input.mean got '123'"),
        (f"{FINETUNE} --random.std 0 0 0", "--random.std got '0'"),
        (f"{FINETUNE} --train.images 1", "--train.images got '1'; give a whole number of at least 2"),
        (f"{FINETUNE} --optim.milestones 3 -4", "--optim.milestones got '-4'"),
        (f"{FINETUNE} --test.lambda-value 3", "--test.lambda-value got '3'; give a number from 0 to 1"),
        (f"{FINETUNE} --test.k1 0", "--test.k1 got '0'"),
        (f"{FINETUNE} --init=", "--init got ''"),
        (f"{EVALUATE} --batch 0", "--batch got '0'; give a whole number of at least 1"),
        (f"{EVALUATE} --batch -1", "--batch got '-1'"),
        (f"{EVALUATE} --height -5", "--height got '-5'; give a whole number from 1 to 4,096"),
        (f"{EVALUATE} --height 0", "--height got '0'; give a whole number from 1 to 4,096"),
        (f"{EVALUATE} --out=", "--out got ''; give a path"),
        ("diagnose run --images 1", "--images got '1'; give a whole number of at least 2"),
        ("split market1501 images --out s --seed -1", "--seed got '-1'"),
        ("split market1501 images --out s --identity-share 0", "--identity-share got '0'"),
        ("pack images out --patience nan", "--patience got 'nan'; give a number from 0 to 1,000,000,000"),
        ("study ablation-laptop --slots 0", "--slots got '0'; give a whole number of at least 1"),
        ("demo --epochs 0", "--epochs got '0'; give a number above 0"),
        ("demo --identities 100000", "--identities got '100000'; give a whole number from 4 to 9,999"),
        ("table runs --metrics rank50", "--metrics got 'rank50'; did you mean 'rank5'?"),
    ],
)
def test_a_number_outside_its_range_gets_one_line_back_and_nothing_is_written(
    line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[train]\nbatch = 0", "recipe 'mine.toml': --train.batch got '0'; give a whole number of at least 1"),
        ("[optim]\nlr = nan", "recipe 'mine.toml': --optim.lr got 'nan'; give a number above 0"),
        ("[optim]\nlrr = 1.0", "recipe 'mine.toml' has no option --optim.lrr; did you mean '--optim.lr'?"),
        ("[augment]\nmean = [0.1, 0.2]", "recipe 'mine.toml': --augment.mean takes 3 values and got '0.1', '0.2'"),
        ("[train]\nbatch = [1, 2]", "recipe 'mine.toml': --train.batch takes one value, and '2' follows it"),
        (
            '[train]\nbf16 = "yes"',
            "recipe 'mine.toml': --train.bf16 takes no value (write --train.bf16 or --train.no-bf16)",
        ),
        ("[train]\nbatch = true", "recipe 'mine.toml': --train.batch takes one value and got none"),
        ('[monitor]\nroot = ""', "recipe 'mine.toml': --monitor.root got ''; give a path"),
        ('[monitor]\nroot = "a\\u0000b"', "recipe 'mine.toml': --monitor.root got 'a b'; give a path"),
    ],
)
def test_what_a_recipe_sets_is_held_against_the_recipe(
    text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(f'program = "pretrain"\nbase = "laptop"\n{text}\n')
    assert main(["pretrain", "mine.toml", "--data.root", "images", "--out", "run"]) == 2
    assert words in capsys.readouterr().err


def test_a_home_folder_is_found_in_every_path_of_flags_and_recipes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = tmp_path / "mine.toml"
    recipe.write_text('program = "pretrain"\nbase = "laptop"\n[monitor]\nroot = "~/labelled"\n')
    words = ["--recipe=~/mine.toml", "--data.root=~/images", "--out", "~/runs/x", *read_recipe(str(recipe), "pretrain")]
    config = parse(MocoV2Config, words, program="pretrain")
    assert (config.out, config.data.root) == (tmp_path / "runs/x", tmp_path / "images")
    assert (config.monitor.root, config.recipe) == (tmp_path / "labelled", str(recipe))
    packing = parse(PackConfig, ["~/a", "~/b"], program="pack", places=["src", "out"])
    assert (packing.src, packing.out) == (tmp_path / "a", tmp_path / "b")
    with pytest.raises(InputError, match="--out got '~nobody-here/x'; give another path"):
        parse(PackConfig, ["a", "~nobody-here/x"], program="pack", places=["src", "out"])


def test_a_folder_called_tilde_can_still_be_named() -> None:
    packing = parse(PackConfig, ["a", "./~"], program="pack", places=["src", "out"])
    assert str(packing.out) == "~"


def test_ranges_are_said_in_words() -> None:
    ranges = [Range(least=1), Range(above=0), Range(least=0, most=1), Range(above=0, most=1), Range(least=4, most=9999)]
    words = [" of at least 1", " above 0", " from 0 to 1", " above 0 and up to 1", " from 4 to 9,999"]
    assert [str(one) for one in ranges] == words
    words = {
        0: " of at least 1",
        10**10: " of at most 1,000,000,000",
        math.inf: " of at least 1",
        None: " of at least 1",
    }
    assert {number: Range(least=1).beside(number) for number in words} == words
    assert [Range(least=1).admits(number) for number in (0, 1, 10**9, 10**10, math.nan)] == [
        False,
        True,
        True,
        False,
        False,
    ]
