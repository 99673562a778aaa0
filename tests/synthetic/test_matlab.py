"""MATLAB files, checked with the libraries that read the real ones."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from upreid.synthetic.matlab import Cells, write_v5, write_v73

PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)


@pytest.fixture
def content(tmp_path: Path) -> dict[str, object]:
    Image.fromarray(PIXELS).save(tmp_path / "image.png")
    cells = Cells([[Cells([[tmp_path / "image.png", None, "name"]])], [Cells([], columns=10)]])
    return {"cells": cells, "numbers": np.array([[1.0, 2.0, 3.0]])}


def test_version_5_is_what_scipy_expects(content: dict[str, object], tmp_path: Path) -> None:
    write_v5(tmp_path / "five.mat", content)
    found = scipy.io.loadmat(tmp_path / "five.mat")
    inner, empty = found["cells"][0, 0], found["cells"][1, 0]
    assert (found["cells"].shape, inner.shape, empty.shape) == ((2, 1), (1, 3), (0, 10))
    np.testing.assert_array_equal(inner[0, 0], PIXELS)
    assert inner[0, 1].size == 0
    assert inner[0, 2].item() == "name"
    np.testing.assert_array_equal(found["numbers"], [[1, 2, 3]])
    assert not h5py.is_hdf5(tmp_path / "five.mat")


def test_version_73_is_transposed_hdf5_with_references_behind_matlabs_header(
    content: dict[str, object], tmp_path: Path
) -> None:
    write_v73(tmp_path / "seven.mat", content)
    header = (tmp_path / "seven.mat").read_bytes()[:128]
    assert header.startswith(b"MATLAB 7.3 MAT-file")
    assert header[124:] == b"\x00\x02IM"
    assert scipy.io.matlab.matfile_version(tmp_path / "seven.mat")[0] == 2
    with h5py.File(tmp_path / "seven.mat") as file:
        assert file["cells"].shape == (1, 2)
        inner, empty = (file[reference] for reference in file["cells"][0])
        assert inner.shape == (3, 1)
        image, nothing, text = (file[reference] for reference in inner[:, 0])
        assert image.shape == (3, 2, 4)
        np.testing.assert_array_equal(image[()].T, PIXELS)
        assert nothing.attrs["MATLAB_empty"] == 1
        assert nothing[()].tolist() == [0, 0]
        assert empty[()].tolist() == [0, 10]
        assert "".join(map(chr, text[:, 0])) == "name"
        assert [one.attrs["MATLAB_class"] for one in (file["cells"], image, text)] == [b"cell", b"uint8", b"char"]
        np.testing.assert_array_equal(file["numbers"][()].T, [[1, 2, 3]])


@pytest.mark.parametrize("write", [write_v5, write_v73])
def test_the_same_content_gives_the_same_bytes(write, content: dict[str, object], tmp_path: Path) -> None:
    write(tmp_path / "one.mat", content)
    write(tmp_path / "two.mat", content)
    assert (tmp_path / "one.mat").read_bytes() == (tmp_path / "two.mat").read_bytes()
