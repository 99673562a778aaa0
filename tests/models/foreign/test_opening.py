import argparse
import datetime
import fractions
import os
import pickle
import sys
import types
import warnings
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from upreid.errors import UpreidError
from upreid.models.foreign import read_checkpoint
from upreid.models.foreign.opening import open_tensors


class WritesAFile:
    """A pickle of it, once loaded, makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refused(path: Path) -> str:
    with pytest.raises(UpreidError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_come_under_their_path_through_the_dictionaries_and_the_rest_is_passed_over(save, zipped):
    content = {"epoch": 3, "model": {"a.b": torch.ones(2), "list": [torch.ones(1)]}, "c": {0: {"d": torch.zeros(1)}}}
    tensors = open_tensors(save(content, _use_new_zipfile_serialization=zipped))
    assert list(tensors) == ["model.a.b", "c.0.d"]
    assert tensors["model.a.b"].tolist() == [1.0, 1.0]


def test_large_files_stay_on_the_disk_until_they_are_read(save, monkeypatch):
    options = {}
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda path, **given: options.update(given) or load(path, **given))
    open_tensors(save({"a": torch.zeros(3)}))
    assert options == {"map_location": "cpu", "weights_only": True, "mmap": True}


class CfgNode(dict):
    """A node of settings as yacs has: a dictionary with attributes."""


CfgNode.__module__ = "yacs.config"


@pytest.fixture
def yacs(monkeypatch):
    """A module of yacs while a file is written, and none while it is read."""
    module = types.ModuleType("yacs.config")
    module.CfgNode = CfgNode
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    return monkeypatch


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=0.1, betas=(0.9, np.float64(0.99)), out=Path("runs")),
        types.SimpleNamespace(a=1),
        np.float64(0.91),
        np.int64(3),
        np.bool_(True),
        np.arange(6).reshape(2, 3),
        np.dtype("float32"),
        OrderedDict(a=1),
        Counter("aab"),
        defaultdict(list, a=[1]),
        deque([1, 2], maxlen=5),
        datetime.datetime(2024, 1, 2),
        datetime.timedelta(seconds=3),
        Path("a/b"),
        slice(1, 2),
        range(3),
        {1, 2},
        1j,
        b"bytes",
        torch.float16,
        torch.device("cpu"),
        torch.torch_version.TorchVersion("2.1.0"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_training_programs_leave_beside_their_tensors_is_passed_over(save, zipped, beside):
    content = {"args": beside, "model": {"a": torch.ones(3)}, "best": [beside, {"nested": beside}]}
    tensors = open_tensors(save(content, _use_new_zipfile_serialization=zipped))
    assert list(tensors) == ["model.a"]
    assert tensors["model.a"].tolist() == [1.0] * 3


@pytest.mark.parametrize("zipped", [True, False])
def test_dictionaries_of_a_kind_of_their_own_are_read_without_their_module(save, yacs, zipped):
    node = CfgNode(lr=0.1, inner=CfgNode(weights=torch.ones(2)))
    node.__dict__["__immutable__"] = True
    path = save({"cfg": node, "model": {"a": torch.zeros(3)}}, _use_new_zipfile_serialization=zipped)
    yacs.undo()
    assert list(open_tensors(path)) == ["cfg.inner.weights", "model.a"]


class Shadowed:
    """Pickles as a dictionary with an attribute in place of its method `items`."""

    def __reduce__(self):
        return OrderedDict, (), {"items": 3}, None, iter([("a", torch.ones(2))])


def test_an_attribute_that_a_file_gives_a_dictionary_is_not_called_in_place_of_a_method(save):
    assert list(open_tensors(save({"cfg": Shadowed()}))) == ["cfg.a"]


def test_nothing_of_a_module_that_a_file_names_is_imported_or_called(save, yacs, monkeypatch):
    path = save({"cfg": CfgNode(a=1), "model": {"a": torch.zeros(3)}})
    monkeypatch.setattr(CfgNode, "__new__", lambda *_: pytest.fail("called"))
    monkeypatch.setattr(CfgNode, "__setitem__", lambda *_: pytest.fail("called"))
    open_tensors(path)


def test_what_may_be_in_a_file_is_forgotten_after_it_was_read(save):
    before = set(torch.serialization.get_safe_globals())
    open_tensors(save({"args": argparse.Namespace(lr=0.1), "a": torch.zeros(3)}))
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("zipped", [True, False])
def test_an_object_of_no_known_kind_is_refused_by_name_with_what_to_do(save, zipped):
    content = {"teacher": {"a": torch.zeros(3)}, "args": fractions.Fraction(1, 3)}
    message = refused(save(content, _use_new_zipfile_serialization=zipped))
    assert "fractions.Fraction" in message
    assert "weights_only=False" in message
    assert "save only" in message


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", ["checkpoint.pth", "checkpoint.safetensors"])
def test_a_pickle_is_never_executed(tmp_path, protocol, name):
    mark, path = tmp_path / "mark", tmp_path / name
    path.write_bytes(pickle.dumps({"state_dict": WritesAFile(mark)}, protocol=protocol))
    refused(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_code_inside_a_checkpoint_is_never_executed(tmp_path, save, zipped):
    content = {"state_dict": {"a": torch.zeros(3)}, "args": WritesAFile(tmp_path / "mark")}
    message = refused(save(content, _use_new_zipfile_serialization=zipped))
    assert "mkdir" in message
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_file_cut_short_is_refused_with_its_size(save, share, zipped):
    path = save({"a": torch.zeros(30_000)}, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert f"({int(len(whole) * share):,} bytes) is cut short or no checkpoint" in refused(path)


def test_a_safetensors_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut short" in refused(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"this is a text\n", "is cut short or no"),
        (b"\0" * 64, "is cut short or no"),
        (b"PK\x03\x04", "is cut short or no"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "is a picture and no checkpoint"),
        (b"<!DOCTYPE html><html>Quota exceeded</html>", "is a web page, as a failed download leaves it"),
        (b"\n <html><body>Sign in</body></html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n", "is a Git LFS pointer"),
        (b"\x1f\x8b\x08" + bytes(40), "gzip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
        (bytes(257) + b"ustar" + bytes(300), "is a tar archive"),
    ],
)
@pytest.mark.parametrize("name", ["checkpoint.pth", "checkpoint.safetensors"])
def test_what_is_no_checkpoint_is_refused_for_what_it_is_without_advice_to_unpickle_it(tmp_path, content, words, name):
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert words in message
    assert "weights_only" not in message


def test_a_torchscript_program_is_refused_for_what_it_is(tmp_path):
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "model.pt")
    message = refused(tmp_path / "model.pt")
    assert "is a TorchScript program" in message
    assert "state_dict" in message


def test_a_file_whose_suffix_says_something_else_is_read_or_named(tmp_path, save):
    save_file({"a": torch.ones(3)}, tmp_path / "weights.pth")
    assert list(open_tensors(tmp_path / "weights.pth")) == ["a"]
    for zipped in (True, False):
        path = save({"b": torch.ones(3)}, "weights.safetensors", _use_new_zipfile_serialization=zipped)
        assert "rename it to end in .pth" in refused(path)


def test_the_state_of_a_run_is_no_checkpoint_and_its_encoder_is_named(save):
    content = {"step": 3, "hash": "ab", "world_size": 1, "network": {"backbone": {"conv1.weight": torch.zeros(3)}}}
    assert "give the run's encoder.safetensors" in refused(save(content, "state.pt"))


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "is a zip archive of other things and no checkpoint" in refused(tmp_path / "a.pth")


def test_empty_and_missing_files_are_refused(tmp_path):
    (tmp_path / "empty.pth").touch()
    assert "is empty" in refused(tmp_path / "empty.pth")
    assert "no file" in refused(tmp_path / "missing.pth")
    assert "no file" in refused(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3, "best": {"rank1": 0.9}}, "without tensors (its keys: epoch, best)"),
        ({}, "without tensors"),
        ([torch.zeros(2)], "holds a list"),
        (torch.zeros(2), "holds a Tensor"),
    ],
)
def test_what_holds_no_dictionary_of_tensors_is_refused(save, content, said):
    assert said in refused(save(content))
