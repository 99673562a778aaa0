"""A folder of images, in any nesting."""

import os
from pathlib import Path

from upreid.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


def index_folder(root: Path) -> list[Path]:
    """List the images under `root` once, sorted by their path relative to it.

    The order is that of the code points of the `/`-joined relative path: the same on every file system and locale.
    Hidden files and folders and everything without an image suffix (in any case; so also `Thumbs.db`) are left out.
    Links to folders are not followed: a loop would never end.

    Raises `InputError` where there is no such folder, or no image in it.
    """
    if not root.is_dir():
        found = "is a file" if root.exists() else "does not exist"
        raise InputError(f"image folder '{root}' {found}; give a folder that holds {_suffixes()} files")
    images = [relative for relative in _files_below(root) if Path(relative).suffix.lower() in SUFFIXES]
    if not images:
        raise InputError(f"no images in '{root}'; expected {_suffixes()} files in it or in folders below it")
    return [root / relative for relative in sorted(images)]


def _files_below(root: Path) -> list[str]:
    """Relative posix paths of all files that are not hidden."""
    found: list[str] = []
    for folder, subfolders, names in os.walk(root, onerror=_refuse):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        inside = Path(folder).relative_to(root)
        found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
    return found


def _refuse(error: OSError) -> None:
    """Stop at a folder that cannot be listed: leaving it out silently would change the data set."""
    raise InputError(f"cannot list '{error.filename}' ({error.strerror}); make it readable or move it away")


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))
