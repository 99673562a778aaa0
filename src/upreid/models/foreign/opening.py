"""Open a checkpoint of another program: its tensors by dotted name, and nothing that could run code."""

import re
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from upreid.errors import DataError, InputError, first_line
from upreid.models.file_kinds import CHECKPOINT, PICKLE, SAFETENSORS, TORCHSCRIPT, kind_of
from upreid.runtime.files import check_archive


class PassedOver:
    """Stand-in for an object that is no tensor, such as a numpy number; it keeps nothing of it, and calls nothing."""

    def __init__(self, *_: Any) -> None: ...

    def __new__(cls, *_: Any) -> "PassedOver":
        """Make a stand-in, whatever the arguments of the class that it stands for."""
        return super().__new__(cls)

    def __setstate__(self, _: Any) -> None:
        """Forget what the object held."""


class Table:
    """Stand-in for a kind of dictionary, such as a node of yacs, which becomes a plain one with all that it holds."""

    def __new__(cls, *_: Any) -> OrderedDict[Any, Any]:  # pyright: ignore[reportInconsistentConstructor]
        """Make an empty dictionary, which the unpickler then fills."""
        return OrderedDict()


class Row:
    """Stand-in for a kind of list, which becomes a plain one."""

    def __new__(cls, *_: Any) -> list[Any]:  # pyright: ignore[reportInconsistentConstructor]
        """Make an empty list, which the unpickler then fills."""
        return []


STAND_INS: dict[type, str] = {
    PassedOver: """
        numpy.core.multiarray.scalar numpy._core.multiarray.scalar numpy.dtype numpy.ndarray
        numpy.core.multiarray._reconstruct numpy._core.multiarray._reconstruct
        argparse.Namespace types.SimpleNamespace builtins.slice builtins.range builtins.object builtins.NoneType
        builtins.dict builtins.list builtins.tuple builtins.int builtins.float builtins.str builtins.bool
        pathlib.Path pathlib.PosixPath pathlib.WindowsPath pathlib.PurePosixPath pathlib.PureWindowsPath
        pathlib._local.Path pathlib._local.PosixPath pathlib._local.WindowsPath
        datetime.date datetime.time datetime.datetime datetime.timedelta datetime.timezone
        torch.torch_version.TorchVersion typing.Any
        omegaconf.base.ContainerMetadata omegaconf.base.Metadata omegaconf.dictconfig.DictConfig
        omegaconf.listconfig.ListConfig omegaconf.nodes.AnyNode omegaconf.nodes.BooleanNode omegaconf.nodes.FloatNode
        omegaconf.nodes.IntegerNode omegaconf.nodes.StringNode
    """,
    Table: """
        collections.defaultdict yacs.config.CfgNode fvcore.common.config.CfgNode fastreid.config.config.CfgNode
        detectron2.config.config.CfgNode easydict.EasyDict addict.addict.Dict
        mmcv.utils.config.ConfigDict mmengine.config.config.ConfigDict
        pytorch_lightning.utilities.parsing.AttributeDict lightning.pytorch.utilities.parsing.AttributeDict
        lightning_fabric.utilities.data.AttributeDict lightning.fabric.utilities.data.AttributeDict
    """,
    Row: "collections.deque",
}
"""Classes of objects that training programs save beside their tensors, by the stand-in that is made for each.

The names are compared as text: no module is imported, and no class, function or method of theirs is called.
"""


def open_checkpoint(path: Path) -> Mapping[Any, Any]:
    """Return the dictionary that a file holds.

    The tensors of `.safetensors` files, and of what torch >= 1.6 wrote, stay on the disk until they are read. Raises
    InputError where the file is missing; DataError where it is empty, cut short, no checkpoint, a state of upreid, or holds
    objects that only unpickling could make.
    """
    if not path.is_file():
        raise InputError(f"no file {path}; give a checkpoint of torch.save or safetensors")
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty (0 bytes); fetch it again")
    kind = kind_of(path)
    is_safetensors = kind == SAFETENSORS or (not kind and path.suffix == ".safetensors")
    content = read_safetensors(path) if is_safetensors else read_torch(path)
    if not isinstance(content, Mapping):
        raise DataError(
            f"{path} holds a {type(content).__name__}; expected a dictionary of tensors: write it with "
            f"torch.save(model.state_dict(), FILE)"
        )
    if {"step", "hash", "world_size"} <= content.keys():
        raise DataError(
            f"{path} is the state of a run of upreid, from which only that run can go on; give the run's "
            f"encoder.safetensors"
        )
    return content


def open_tensors(path: Path, content: Mapping[Any, Any] | None = None) -> dict[str, Tensor]:
    """Return every tensor of a file under its path through the nested dictionaries: `state_dict.module.conv1.weight`.

    `content` is what `open_checkpoint` returned. Raises what that raises, and DataError for a file without tensors.
    """
    content = open_checkpoint(path) if content is None else content
    tensors = dict(flatten(content))
    if not tensors:
        keys = first_few([str(key) for key in content])
        raise DataError(f"{path} holds a dictionary without tensors (its keys: {keys}); give a checkpoint of a model")
    return tensors


def flatten(value: object, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of nested dictionaries; numbers, texts and lists are passed over."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in dict.items(value):  # what a file gives a dictionary for attributes is not to be called
            yield from flatten(inner, f"{name}.{key}" if name else str(key))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path} is cut short or no safetensors file ({first_line(error)}); fetch it again") from error


def read_torch(path: Path) -> object:
    """Read what torch.save wrote, as far as it is made of tensors, numbers, texts, lists, dictionaries and STAND_INS."""
    names: list[Any] = [(kind, name) for kind, listed in STAND_INS.items() for name in listed.split()]
    try:
        refuse_bombs(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(names):
            warnings.simplefilter("ignore")  # on pickle protocols and TorchScript, ahead of the error that we word
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zipfile(path))
    except Exception as error:  # strange bytes make torch's readers fail in a dozen ways
        raise DataError(refusal(path, error)) from error


def refuse_bombs(path: Path) -> None:
    """Raise an error, which `refusal` turns into words, where a small file would make torch ask for much memory."""
    if is_zipfile(path):
        check_archive(path)
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        if content.find(b"bytearray") >= 0:  # the one call that torch admits whose argument is a number of bytes
            raise UnpicklingError("GLOBAL builtins.bytearray")


def refusal(path: Path, error: Exception) -> str:
    """Return the message for a file that was not read: why, and what to do."""
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
    kind = kind_of(path)
    if kind == TORCHSCRIPT:
        return (
            f"{path} is {kind}, which is code; where you trust its source, write its tensors with "
            f"torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE), and give that file"
        )
    if kind in (CHECKPOINT, PICKLE) and path.suffix == ".safetensors":  # torch goes by the suffix here
        return f"{path} is {kind}, and no safetensors file; rename it to end in .pth"
    came = "cut short or" if kind in ("", CHECKPOINT, PICKLE) else f"{kind} and"
    return (  # without torch's reason, which would advise to unpickle it all the same
        f"{path} ({path.stat().st_size:,} bytes) is {came} no checkpoint; fetch it again, or give a file of torch.save or "
        f"safetensors"
    )


def first_few(names: list[str], count: int = 5) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")
