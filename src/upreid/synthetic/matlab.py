"""MATLAB files of both kinds in use: version 5, and version 7.3, which is HDF5 behind a header of 512 bytes.

The files are those that MATLAB would write, so that a reader is tested on the real format: arrays transposed in HDF5, cells as
references into `#refs#`, text as 16-bit codes, and an empty array as its size with the mark `MATLAB_empty`.
"""

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HEADER = b"MATLAB 5.0 MAT-file, written without MATLAB".ljust(116)
HEADER_73 = b"MATLAB 7.3 MAT-file, written without MATLAB, HDF5 schema 1.00 .".ljust(116)
VERSION_73 = b"\0" * 8 + b"\x00\x02IM"


class Cells:
    """A cell array: rows of text, numbers, cell arrays, paths of images (read when they are written) or None (empty)."""

    def __init__(self, rows: Sequence[Sequence[Any]], *, columns: int = 1) -> None:
        self.rows = rows
        self.shape = (len(rows), len(rows[0]) if rows else columns)


def write_v5(path: Path, variables: dict[str, Any]) -> None:
    """Write version 5; the header says no date, so the same content gives the same bytes."""
    import scipy.io

    scipy.io.savemat(path, {name: _plain(value) for name, value in variables.items()})
    with path.open("r+b") as file:
        file.write(HEADER)


def _plain(value: Any) -> Any:
    """Convert a value for scipy, where cells are arrays of objects."""
    if isinstance(value, Cells):
        array = np.empty(value.shape, dtype=object)
        for place in np.ndindex(value.shape):
            array[place] = _plain(value.rows[place[0]][place[1]])
        return array
    return _loaded(value)


def _loaded(value: Any) -> Any:
    """Read the pixels [height, width, 3] of a path; None becomes an empty array."""
    if value is None:
        return np.empty((0, 0))
    if isinstance(value, Path):
        with Image.open(value) as image:
            return np.asarray(image.convert("RGB"))
    return value


def write_v73(path: Path, variables: dict[str, Any]) -> None:
    """Write version 7.3, image by image."""
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        names = (f"r{number}" for number in count())
        for name, value in variables.items():
            _put(file, name, value, names)
    with path.open("r+b") as raw:
        raw.write(HEADER_73 + VERSION_73)


def _put(file: Any, name: str, value: Any, names: Any) -> Any:
    """Write one value under a name, and what it refers to under others; return its HDF5 dataset."""
    import h5py

    if isinstance(value, Cells) and all(value.shape):
        references = np.empty(value.shape[::-1], dtype=h5py.ref_dtype)
        for row, column in np.ndindex(value.shape):
            references[column, row] = _put(file, f"#refs#/{next(names)}", value.rows[row][column], names).ref
        return _dataset(file, name, references, "cell")
    if isinstance(value, Cells):
        return _empty(file, name, value.shape, "cell")
    if isinstance(value, str):
        codes = np.frombuffer(value.encode("utf-16-le"), dtype=np.uint16)[:, None]
        return _dataset(file, name, codes, "char", MATLAB_int_decode=np.int32(2))
    array = _loaded(value)
    kind = "uint8" if array.dtype == np.uint8 else "double"
    return _dataset(file, name, array.T, kind) if array.size else _empty(file, name, array.shape, kind)


def _dataset(file: Any, name: str, data: np.ndarray, kind: str, **attributes: Any) -> Any:
    dataset = file.create_dataset(name, data=data)
    dataset.attrs["MATLAB_class"] = np.bytes_(kind)
    dataset.attrs.update(attributes)
    return dataset


def _empty(file: Any, name: str, shape: tuple[int, ...], kind: str) -> Any:
    return _dataset(file, name, np.array(shape, dtype=np.uint64), kind, MATLAB_empty=np.uint8(1))
