"""A state on disk: plain tensors and values, checked and loaded with `weights_only=True`."""

import io
import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from upreid.errors import InputError
from upreid.runtime.archive import check_archive


def in_bytes(state: dict[str, Any]) -> memoryview:
    """A state as torch.save writes it: an archive whose every part carries a checksum."""
    whole = io.BytesIO()  # torch's own writer hides what the system said behind a RuntimeError
    torch.save(state, whole)
    return whole.getbuffer()


def load_state(path: Path) -> dict[str, Any]:
    """Read a state onto the CPU; InputError where it is missing, cut short, changed since it was written, or holds code."""
    if not path.is_file():
        raise InputError(f"no {path.name} in {path.parent}: the run was stopped before its first save; start it anew")
    try:
        check_archive(path, checksums=True)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, BadZipFile, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({short(error)}); it is damaged or not a state of ours") from error
    if not isinstance(state, dict) or not {"step", "hash", "world_size"} <= state.keys():
        raise InputError(f"{path} is not a state of ours: it has no step, hash and world_size")
    return state


def short(error: Exception) -> str:
    """First line of an error."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
