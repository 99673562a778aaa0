"""`state.pt`: plain tensors and values, written aside and renamed, loaded with `weights_only=True`."""

import io
import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from upreid.errors import InputError
from upreid.runtime.files import write_aside


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write `state`; a crash or a full disk leaves the old file whole."""
    whole = io.BytesIO()  # torch's own writer hides what the system said behind a RuntimeError
    torch.save(state, whole)
    with write_aside(path) as aside:
        aside.write_bytes(whole.getbuffer())


def load_state(path: Path) -> dict[str, Any]:
    """Read a state onto the CPU; InputError where it is missing, cut short, or holds code."""
    if not path.is_file():
        raise InputError(f"no {path.name} in {path.parent}: the run was stopped before its first save; start it anew")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, BadZipFile, ValueError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({short(error)}); it is cut short or not a state of ours") from error


def short(error: Exception) -> str:
    """First line of an error."""
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__
