"""Bytes that a stranger wrote: tensors by dotted name, and never an object."""

import re
import warnings
from collections.abc import Iterator, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from pickle import UnpicklingError
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from upreid.errors import InputError, first_line
from upreid.runtime.archive import check_archive


def open_tensors(path: Path) -> dict[str, Tensor]:
    """Return every tensor of a file under its path through the nested dictionaries: `state_dict.module.conv1.weight`.

    The tensors of `.safetensors` files, and of what torch >= 1.6 wrote, stay on the disk until they are read. Raises
    InputError where the file is missing, empty, cut short, no checkpoint, without tensors, or holds objects that only
    unpickling could make.
    """
    if not path.is_file():
        raise InputError(f"no file {path}; give a checkpoint of torch.save or safetensors")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); fetch it again")
    content = read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path)
    if not isinstance(content, Mapping):
        raise InputError(
            f"{path} holds a {type(content).__name__}; expected a dictionary of tensors: write it with "
            f"torch.save(model.state_dict(), FILE)"
        )
    tensors = dict(flatten(content))
    if not tensors:
        keys = first_few([str(key) for key in content])
        raise InputError(f"{path} holds a dictionary without tensors (its keys: {keys}); give a checkpoint of a model")
    return tensors


def flatten(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Walk nested dictionaries; numbers, texts and lists are passed over."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flatten(inner, f"{name}.{key}" if name else str(key))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is cut short or no safetensors file ({first_line(error)}); fetch it again") from error


def read_torch(path: Path) -> object:
    """Read what torch.save wrote, as far as it is made of tensors, numbers, texts, lists and dictionaries."""
    try:
        refuse_bombs(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols and TorchScript, ahead of the error that we word
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except Exception as error:  # strange bytes make torch's readers fail in a dozen ways
        raise InputError(refusal(path, error)) from error


def refuse_bombs(path: Path) -> None:
    """Raise what `refusal` words, where a small file would make torch ask for much memory."""
    if is_zipfile(path):
        check_archive(path)
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if content.find(b"bytearray") >= 0:  # the one call that torch admits whose argument is a number of bytes
            raise UnpicklingError("GLOBAL builtins.bytearray")


def refusal(path: Path, error: Exception) -> str:
    """Say why a file was not read, and what to do."""
    objects = re.findall(r"GLOBAL ([\w.]+)", str(error))
    if objects:
        return (
            f"{path} holds objects besides tensors ({objects[0]}); making them could run code that came with the "
            f"file, so nothing was loaded; where you trust its source, load it once with torch.load(FILE, "
            f"map_location='cpu', weights_only=False), save only its dictionary of tensors with torch.save, and "
            f"give that file"
        )
    if isinstance(error, PermissionError):
        return f"{path} cannot be read ({error.strerror}); change its permissions, or give a copy"
    return (  # without torch's reason, which would advise to unpickle it all the same
        f"{path} ({path.stat().st_size:,} bytes) is cut short or no checkpoint; fetch it again, or give a file of "
        f"torch.save or safetensors"
    )


def first_few(names: list[str], count: int = 3) -> str:
    """List the first names, and whether there are more."""
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
