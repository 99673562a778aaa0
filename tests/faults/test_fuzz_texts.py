"""Recipes, command lines, journals, configurations and lists with any content: each works, or is refused."""

import contextlib
import json
import os
import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upreid.config.command_line import known_flags, parse
from upreid.config.finetune import FinetuneConfig
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.data.benchmarks import read_benchmark
from upreid.data.records import Record
from upreid.data.sources.recognise import open_source
from upreid.data.splits import select
from upreid.errors import InputError, UpreidError
from upreid.runtime.journal import Journal, read_journal
from upreid.training.saved import saved_run, share_done

pytestmark = pytest.mark.slow
often = settings(settings.get_profile("often"), max_examples=250)
SCHEMAS = {"pretrain": MocoV2Config, "finetune": FinetuneConfig}
visible = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=8)
numbers = st.integers().map(str) | st.floats().map(str)
anything = visible | numbers | st.sampled_from(["", "-", "--", "=", "None", "true"])


def accepts(action: Any, *words: Any, **settings: Any) -> Any:
    """What an action returns; None where it refuses. Every other exception is a failure."""
    with contextlib.suppress(UpreidError):
        return action(*words, **settings)
    return None


@pytest.mark.parametrize("program", SCHEMAS)
@often
@given(data=st.data())
def test_a_command_line_is_understood_or_refused(program: str, data: st.DataObject) -> None:
    schema = SCHEMAS[program]
    word = st.sampled_from(list(known_flags(schema))) | anything.filter(
        lambda text: "help" not in text and text != "-h"
    )
    required = ["--recipe", "laptop", "--init", "random", "--data.name", "market1501", "--data.root", "x", "--out", "y"]
    words = [*required[: 2 if program == "pretrain" else 6], *required[6:], *data.draw(st.lists(word, max_size=6))]
    found = accepts(parse, schema, words, program=program)
    assert found is None or isinstance(found, schema)


known = ["program", "base", "data", "train", "optim", "lr", "batch", "model", "augment", "mean"]
keys = st.sampled_from(known) | st.text(string.ascii_lowercase + "_-.", min_size=1, max_size=6)
few_bytes = st.none() | st.binary(max_size=30)
leaves = st.text(max_size=5) | st.integers() | st.floats() | st.booleans() | st.lists(st.integers(), max_size=3)


tables = st.dictionaries(keys, leaves | st.dictionaries(keys, leaves, max_size=3), max_size=4)


@often
@given(text=st.text(max_size=60), table=tables, raw=st.binary(max_size=40))
@pytest.mark.parametrize("form", ["text", "table", "bytes"])
def test_a_recipe_is_read_or_refused(tmp_path: Path, form: str, text: str, table: dict[str, Any], raw: bytes) -> None:
    path = tmp_path / "recipe.toml"
    written = {"text": text.encode("utf-8", "replace"), "table": as_toml(table).encode(), "bytes": raw}
    path.write_bytes(b'program = "pretrain"\n' * (form != "table") + written[form])
    flags = accepts(read_recipe, str(path), "pretrain")
    if flags is not None:
        accepts(parse, MocoV2Config, ["--recipe", "r", "--data.root", "x", "--out", "y", *flags], program="pretrain")


def test_recipes_that_are_each_others_base_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, base in (("a", "b"), ("b", "a")):
        Path(f"{name}.toml").write_text(f'program = "pretrain"\nbase = "{base}.toml"\n')
    with pytest.raises(InputError, match=r"its own base, by way of a\.toml, b\.toml"):
        read_recipe("a.toml", "pretrain")


def as_toml(table: dict[str, Any]) -> str:
    """Lines of `key = value`, then the sections."""
    plain = {"program": "pretrain"} | {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [
                f"[{json.dumps(key)}]",
                *(f"{json.dumps(name)} = {json.dumps(inner)}" for name, inner in value.items()),
            ]
    return "\n".join(lines)


like_ours = [b'{"step": 1}', b'{"step": 2, "a": NaN}', b"[1]", b"{}", b'{"step": "x"}']


@often
@given(lines=st.lists(st.binary(max_size=20) | st.sampled_from(like_ours)), step=st.integers(0, 4))
def test_a_journal_is_taken_up_whatever_it_holds(tmp_path: Path, lines: list[bytes], step: int) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\n".join(lines))
    accepts(read_journal, path)
    (tmp_path / "config.json").write_text('{"resolved": {"steps": 5}}')
    assert 0 <= share_done(tmp_path) <= 1
    with Journal(path, resume_at=step) as journal:
        journal.write(step=step, loss=0.5)
    entries = read_journal(path)
    assert entries[-1] == {"step": step, "loss": 0.5}
    assert all(entry["step"] < step for entry in entries[:-1])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@often
@given(table=st.dictionaries(st.sampled_from(["program", "settings", "resolved"]), json_values), raw=few_bytes)
def test_a_saved_runuration_is_read_or_refused(tmp_path: Path, table: dict[str, Any], raw: bytes | None) -> None:
    (tmp_path / "config.json").write_bytes(json.dumps({"program": "pretrain"} | table).encode() if raw is None else raw)
    accepts(saved_run, tmp_path, "pretrain")
    assert share_done(tmp_path) == 0


fields = ["format", "dataset", "identity_share", "image_share", "seed", "names", "hash"]
people = tuple(
    Record(path=Path(f"{person:04d}_c1_{shot}.jpg"), person=person) for person in range(3) for shot in range(2)
)


@often
@given(table=st.dictionaries(st.sampled_from(fields), json_values), raw=few_bytes)
def test_a_split_file_is_read_or_refused(tmp_path: Path, table: dict[str, Any], raw: bytes | None) -> None:
    path = tmp_path / "split.json"
    path.write_bytes(json.dumps({"format": 1} | table).encode() if raw is None else raw)
    accepts(select, people, path)


rows = st.lists(
    st.lists(st.text(max_size=6) | st.sampled_from(["a.jpg", "1", "train", "query", "../a.jpg"]), max_size=5)
)


@often
@given(rows=rows, raw=few_bytes)
def test_a_table_of_images_is_read_or_refused(tmp_path: Path, rows: list[list[str]], raw: bytes | None) -> None:
    text = "path,person,camera,split\n" + "\n".join(",".join(row) for row in rows)
    (tmp_path / "a.jpg").touch()
    (tmp_path / "images.csv").write_bytes(text.encode("utf-8", "replace") if raw is None else raw)
    accepts(read_benchmark, "csv", tmp_path / "images.csv")


LAYOUTS = ["market1501", "cuhk03-np-labeled", "msmt17-v2", "msmt17-ecn", "personx", "personx-original", "market-style"]
FOLDERS = [
    "bounding_box_train",
    "bounding_box_test",
    "query",
    "train",
    "test",
    "1",
    "labeled/query",
    "MSMT17_V2/list_train.txt",
]
like_theirs = ["0001_c1s1_000001_01.jpg", "-1_c9s1_000001_01.jpg", "0001_c1_1.png", "0000_c12_0036.jpg", "a b.JPG"]
file_names = st.binary(min_size=1, max_size=12).filter(lambda name: not {0, 47} & set(name) and name.strip(b"."))
trees = st.lists(
    st.tuples(st.sampled_from(FOLDERS), file_names | st.sampled_from(like_theirs).map(str.encode)), max_size=8
)


@settings(often, max_examples=100)
@given(tree=trees)
@pytest.mark.parametrize("name", LAYOUTS)
def test_folders_with_any_names_in_them_are_read_or_refused(name: str, tree: list[tuple[str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as root:
        for folder, file in tree:
            (Path(root) / folder).mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(IsADirectoryError):
                (Path(root) / folder / os.fsdecode(file)).touch()
        accepts(read_benchmark, name, Path(root))
        accepts(open_source, Path(root))
