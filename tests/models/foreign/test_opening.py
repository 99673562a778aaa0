import argparse
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from upreid.errors import InputError
from upreid.models.foreign import read_checkpoint
from upreid.models.foreign.opening import open_tensors


class WritesAFile:
    """A pickle of it, once loaded, makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
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


@pytest.mark.parametrize("zipped", [True, False])
def test_a_namespace_is_refused_by_name_with_what_to_do(save, zipped):
    content = {"teacher": {"a": torch.zeros(3)}, "args": argparse.Namespace(lr=0.1)}
    message = refused(save(content, _use_new_zipfile_serialization=zipped))
    assert "argparse.Namespace" in message
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


@pytest.mark.parametrize("content", [b"this is a text\n", b"\x89PNG\r\n\x1a\n" + bytes(99), b"\0" * 64, b"PK\x03\x04"])
@pytest.mark.parametrize("name", ["checkpoint.pth", "checkpoint.safetensors"])
def test_what_is_no_checkpoint_is_refused_without_advice_to_unpickle_it(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert "is cut short or no" in message
    assert "weights_only" not in message


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "no checkpoint" in refused(tmp_path / "a.pth")


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
