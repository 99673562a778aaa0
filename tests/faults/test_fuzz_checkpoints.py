"""States, encoder files and foreign checkpoints with damaged or hostile bytes: each is read, or refused in one line."""

import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from upreid.errors import UpreidError
from upreid.models.backbone import create_backbone
from upreid.models.encoder import KEY, Encoder, is_encoder_file, load_encoder, save_encoder
from upreid.models.foreign import read_checkpoint
from upreid.models.foreign.opening import open_tensors
from upreid.models.header import EncoderHeader
from upreid.training.states import in_bytes, load_state

pytestmark = pytest.mark.slow
often = settings(settings.get_profile("often"), max_examples=300)
STATE = {
    "step": 3,
    "hash": "ab",
    "world_size": 1,
    "network": {"a": torch.arange(12.0).reshape(3, 4)},
    "skipped": [(1, "b")],
}
TINY = {"height": 32, "width": 16, "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}


@st.composite
def edits(draw: st.DrawFn, size: int = 3000) -> list[tuple[str, int, bytes]]:
    kinds = st.sampled_from(["overwrite", "insert", "cut", "repeat"])
    return draw(st.lists(st.tuples(kinds, st.integers(0, size), st.binary(min_size=1, max_size=8)), max_size=4))


def edited(whole: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    content = bytearray(whole)
    for kind, place, some in changes:
        place %= len(content) + 1
        if kind == "overwrite":
            content[place : place + len(some)] = some
        elif kind == "insert":
            content[place:place] = some
        elif kind == "repeat":
            content[place:place] = content[max(place - 40, 0) : place]
        else:
            del content[place:]
    return bytes(content)


def accepts(action: Any, *words: Any) -> Any:
    """What an action returns; None where it refuses in one line. Every other exception is a failure."""
    refusal = ""
    try:
        return action(*words)
    except UpreidError as error:
        refusal = str(error)
    assert len(refusal.splitlines()) == 1
    return None


@often
@given(changes=edits(), raw=st.none() | st.binary(max_size=300))
def test_a_state_is_what_was_written_or_is_refused(tmp_path: Path, changes: list[Any], raw: bytes | None) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(edited(in_bytes(STATE), changes) if raw is None else raw)
    state = accepts(load_state, path)
    if state is not None:
        assert torch.equal(state["network"]["a"], STATE["network"]["a"])
        assert {**state, "network": 0} == {**STATE, "network": 0}


@pytest.fixture(scope="module")
def encoder_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    header = EncoderHeader(backbone="resnet18", channels=4, last_stride=None, **TINY)
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_encoder(path, Encoder(create_backbone("resnet18", height=32, width=16, channels=4), header))
    return path.read_bytes()


@often
@given(changes=edits(), raw=st.none() | st.binary(max_size=300))
def test_an_encoder_file_is_read_or_refused(
    tmp_path: Path, encoder_bytes: bytes, changes: list[Any], raw: bytes | None
) -> None:
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(edited(encoder_bytes, changes) if raw is None else raw)
    accepts(load_encoder, path)
    is_encoder_file(path)
    accepts(open_tensors, path)


values = st.none() | st.integers(-2, 10**9) | st.text(max_size=5) | st.lists(st.floats(), max_size=4) | st.booleans()
FIELDS = [
    "backbone",
    "channels",
    "last_stride",
    "height",
    "width",
    "mean",
    "std",
    "interpolation",
    "head",
    "format",
    "step",
]


@settings(often, max_examples=150)
@given(wrong=st.dictionaries(st.sampled_from(FIELDS), values, max_size=3))
@example(wrong={"channels": 10**8})
@example(wrong={"height": 10**9})
@example(wrong={"backbone": "vit_giant_patch14_224"})
@example(wrong={"backbone": "vit_tiny_patch16_224", "height": 16 * 10**6, "width": 16})
@example(wrong={"head": {"name": "mgn", "embed_dim": 10**9}})
def test_a_header_that_lies_costs_no_memory(tmp_path: Path, wrong: dict[str, Any]) -> None:
    header = {"backbone": "resnet18", "channels": 4, "last_stride": None, "format": 2, **TINY} | wrong
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(save({"backbone.a": torch.zeros(2)}, metadata={KEY: json.dumps(header)}))
    assert accepts(load_encoder, path) is None


@often
@given(changes=edits(1500), zipped=st.booleans(), suffix=st.sampled_from([".pth", ".safetensors"]))
def test_a_foreign_checkpoint_is_read_or_refused(tmp_path: Path, changes: list[Any], zipped: bool, suffix: str) -> None:
    path, whole = tmp_path / f"weights{suffix}", io.BytesIO()
    content = {"state_dict": OrderedDict(conv1=torch.zeros(2, 3)), "epoch": 3}
    torch.save(content, whole, _use_new_zipfile_serialization=zipped)
    path.write_bytes(edited(whole.getvalue(), changes))
    accepts(read_checkpoint, path)
    accepts(open_tensors, path)


class Claims:
    """Pickles as a call with an argument."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("call", [Claims(bytearray, 10**9), Claims(torch.FloatTensor, 10**13), Claims(print, "code")])
def test_a_pickle_that_asks_for_memory_or_for_code_is_refused(tmp_path: Path, call: Claims, protocol: int) -> None:
    whole = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, whole)
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for part in old.infolist():
            name, content = part.filename, old.read(part)
            new.writestr(name, pickle.dumps({"a": call}, protocol) if name.endswith("data.pkl") else content)
    tracemalloc.start()
    assert accepts(open_tensors, path) is None
    path.write_bytes(pickle.dumps({"a": call}, protocol))
    assert accepts(open_tensors, path) is None
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_an_archive_that_unpacks_to_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", bytes(50_000_000))
    assert path.stat().st_size < 100_000
    for action in (open_tensors, load_state):
        assert accepts(action, path) is None
    with zipfile.ZipFile(path, "w") as bomb:
        bomb.writestr("archive/data.pkl", b"x")
    claimed = path.read_bytes().replace(struct.pack("<II", 1, 1), struct.pack("<II", 2**31, 2**31))
    path.write_bytes(claimed)
    for action in (open_tensors, load_state):
        assert accepts(action, path) is None


@pytest.mark.parametrize("length", [2**20, 2**40, 2**63])
def test_a_safetensors_header_longer_than_its_file_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "encoder.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    for claimed in (length, len(header)):
        path.write_bytes(struct.pack("<Q", claimed) + header)
        for action in (load_encoder, open_tensors):
            assert accepts(action, path) is None
