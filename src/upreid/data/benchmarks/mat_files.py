"""CUHK03's MATLAB files, in version 5 or in version 7.3, which is HDF5; which one it is, the content says.

`cuhk-03.mat` holds `labeled` and `detected`: five cells, one per pair of cameras, of people x 10 cells, the first five from
one camera and the last five from the other; an image is uint8 [height, width, 3], and a missing one an empty cell. HDF5
stores every array transposed, and cells as references.
"""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from upreid.errors import DataError, InputError

PLACES_PER_VIEW = 5
SIGNATURE = b"\x89HDF\r\n\x1a\n"
FAILURES = (OSError, ValueError, LookupError, TypeError, RuntimeError, zlib.error)
"""What h5py and scipy raise over a file that is damaged or another."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a config of the 767/700 protocol says: every image, its person, and three lists of places from 0."""

    names: list[str]
    people: list[int]
    train: list[int]
    query: list[int]
    gallery: list[int]


def read_images(path: Path, kind: str) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Yield name and pixels [height, width, 3] of every image; names are `1_001_1_01.png`: pair, person, view, image."""
    with _readable(path):
        for pair, row, place, image in (_images_73 if is_hdf5(path) else _images_5)(path, kind):
            view = 1 if place < PLACES_PER_VIEW else 2
            yield f"{pair + 1}_{row + 1:03d}_{view}_{place + 1:02d}.png", image


def _images_5(path: Path, kind: str) -> Iterator[tuple[int, int, int, NDArray[np.uint8]]]:
    pairs = _loadmat(path, [kind])[kind]
    for pair, cells in enumerate(pairs.ravel()):
        for (row, place), image in np.ndenumerate(cells):
            if np.ndim(image) == 3:
                yield pair, row, place, np.asarray(image)


def _images_73(path: Path, kind: str) -> Iterator[tuple[int, int, int, NDArray[np.uint8]]]:
    with _h5py().File(path, "r") as file:
        for pair, reference in enumerate(_array(file, kind).ravel()):
            if "MATLAB_empty" in file[reference].attrs:
                continue
            for (place, row), cell in np.ndenumerate(_array(file, reference)):
                image = _array(file, cell)
                if image.ndim == 3:
                    yield pair, row, place, image.T


def read_protocol(path: Path) -> Protocol:
    """Read a config: the variables `filelist`, `labels` and `{train,query,gallery}_idx`, which count from 1."""
    with _readable(path):
        content = _config_73(path) if is_hdf5(path) else _config_5(path)
        places = {part: [int(place) - 1 for place in content[f"{part}_idx"]] for part in ("train", "query", "gallery")}
        people = [int(label) for label in content["labels"]]
        found = Protocol(names=content["filelist"], people=people, **places)
        if len(people) != len(found.names) or not all(
            0 <= place < len(people) for some in places.values() for place in some
        ):
            raise ValueError("its lists do not fit together")
    return found


VARIABLES = ("labels", "train_idx", "query_idx", "gallery_idx")


def _config_5(path: Path) -> dict[str, Any]:
    content = _loadmat(path)
    names = [str(np.ravel(name)[0]) for name in content["filelist"].ravel()]
    return {"filelist": names, **{variable: content[variable].ravel() for variable in VARIABLES}}


def _config_73(path: Path) -> dict[str, Any]:
    with _h5py().File(path, "r") as file:
        codes = [_array(file, name).ravel() for name in _array(file, "filelist").ravel()]
        names = ["".join(map(chr, some)) for some in codes]
        return {"filelist": names, **{variable: _array(file, variable).ravel() for variable in VARIABLES}}


def _array(file: Any, key: Any) -> NDArray[Any]:
    """Return the content of a dataset, by name or reference."""
    return np.asarray(file[key][()])


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5, which MATLAB writes behind a header of 512 bytes."""
    with path.open("rb") as file:
        start = file.read(512 + len(SIGNATURE))
    return start.startswith(SIGNATURE) or start.endswith(SIGNATURE)


def _h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise InputError("reading CUHK03's release needs the package h5py: pip install 'upreid[cuhk03]'") from error
    return h5py


def _loadmat(path: Path, variables: list[str] | None = None) -> dict[str, Any]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(path, variable_names=variables)
    except MatReadError as error:
        raise ValueError(str(error)) from error


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say in one line that a file is not what it should be; a half-copied HDF5 file fails in many ways."""
    try:
        yield
    except InputError:
        raise
    except FAILURES as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} cannot be read as CUHK03's MATLAB file ({reason}); copy it anew") from error
