"""Files that are whole or not there: written aside, flushed to the disk, renamed; archives, checked before they are believed."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile

from upreid.errors import InputError

ASIDE = "aside"
LARGEST_CHECKED = 2**26
"""Bytes of a file that are read to see what it holds."""


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes its place at the end, or goes away on an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{ASIDE}")
    try:
        yield aside
        flush(aside)
        aside.replace(path)
    except OSError as error:
        if error.filename == str(aside):  # what was to be written is what a user knows
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        aside.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Bring what was written to the disk; OSError where it does not fit."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a small file whole."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")  # names of files may be no UTF-8


def check_target(path: Path, flag: str, is_ours: Callable[[str], bool]) -> None:
    """Refuse a path to write to, before time is spent; `is_ours` tells by its text whether a file there may be written over.

    Raises InputError for a folder, for a file that somebody else wrote, and where nothing can be written.
    """
    if path.is_dir():
        raise InputError(f"{flag} {path} is a folder; give the name of a file in it")
    if path.exists():
        if not path.is_file():
            raise InputError(f"{flag} {path} is no file that can be written as a whole; give another name")
        with path.open("rb") as file:
            text = file.read(LARGEST_CHECKED).decode(errors="replace")
        if not is_ours(text):
            raise InputError(f"{flag} {path} exists and holds something else; give another name, or move it away")
    home = next(folder for folder in path.absolute().parents if folder.exists())
    if not home.is_dir() or not os.access(home, os.W_OK):
        raise InputError(
            f"{flag} {path} cannot be written: {home} is no folder that you may write to; give another place"
        )


def sha256(path: Path) -> str:
    """Return the hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_with(*keys: str) -> Callable[[str], bool]:
    """Return what tells by its keys whether a text is a JSON object of ours."""

    def is_ours(text: str) -> bool:
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            return False
        return isinstance(content, dict) and content.keys() >= set(keys)

    return is_ours


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written; only for who holds the folder."""
    for left in folder.glob(f".*.{ASIDE}"):
        left.unlink(missing_ok=True)


def check_archive(path: Path, *, checksums: bool = False) -> None:
    """Raise BadZipFile for what torch.save never writes: parts that unpack to more bytes than the file has.

    torch stores its parts as they are, each once, with a checksum; `checksums` also reads everything and compares
    them, so that one changed byte is noticed.
    """
    try:
        complaint = what_is_wrong(path, checksums=checksums)
    except OSError:
        raise
    except Exception as error:  # strange bytes make zipfile fail in a dozen ways
        raise BadZipFile(str(error) or type(error).__name__) from error
    if complaint:
        raise BadZipFile(complaint)


def what_is_wrong(path: Path, *, checksums: bool) -> str:
    """Name the first fault; an empty text where there is none."""
    with ZipFile(path) as archive:
        parts = archive.infolist()
        if any(part.compress_type != ZIP_STORED for part in parts):
            return "its parts are compressed, as torch never does"
        if sum(part.file_size for part in parts) > path.stat().st_size:
            return "its parts claim more bytes than the file has"
        damaged = archive.testzip() if checksums else None
    return f"the checksum of its part {damaged} is wrong" if damaged else ""
