import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from upreid.data.benchmarks import cuhk03, read_benchmark
from upreid.data.benchmarks.benchmark import Benchmark
from upreid.errors import DataError, InputError

KINDS = ("labeled", "detected")
RELEASE = "cuhk03_release/cuhk-03.mat"


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def content(found: Benchmark) -> dict[str, list[Any]]:
    return {
        part: sorted((record.person, record.camera, pixels(record.path).tobytes()) for record in getattr(found, part))
        for part in ("train", "query", "gallery")
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_both_versions_of_matlab_give_the_same_records_and_pixels_as_the_folders(
    kind: str, copied: Callable[[str], Path]
) -> None:
    newer = read_benchmark(f"cuhk03-raw-{kind}", copied("cuhk03-raw"))
    older = read_benchmark(f"cuhk03-raw-{kind}", copied("cuhk03-raw-v5"))
    folders = read_benchmark(f"cuhk03-np-{kind}", copied(f"cuhk03-np-{kind}"))
    assert [record.path.name for record in newer.train] == [record.path.name for record in older.train]
    assert content(newer) == content(older) == content(folders)


def test_each_file_is_in_the_version_that_its_layout_says(rendered: Callable[[str], Path]) -> None:
    config = "cuhk03_new_protocol_config_detected.mat"
    for layout, images_are_hdf5 in (("cuhk03-raw", True), ("cuhk03-raw-v5", False)):
        assert h5py.is_hdf5(rendered(layout) / RELEASE) == images_are_hdf5
        assert h5py.is_hdf5(rendered(layout) / config) != images_are_hdf5


@pytest.mark.parametrize("layout", ["cuhk03-raw", "cuhk03-raw-v5"])
def test_a_pair_of_cameras_that_saw_nobody_does_not_matter(layout: str, four_people: Callable[[str], Path]) -> None:
    found = read_benchmark("cuhk03-raw-labeled", four_people(layout))
    assert {record.person for record in (*found.train, *found.gallery)} == {1, 2, 3, 4}


def test_names_say_pair_person_view_and_image(copied: Callable[[str], Path]) -> None:
    found = read_benchmark("cuhk03-raw-labeled", copied("cuhk03-raw"))
    assert found.train[0].path == found.root / "images_labeled" / "1_001_1_01.png"
    assert {(record.path.name[6], record.camera) for record in found.gallery} == {("1", 1), ("2", 2)}
    missing = {"4_001_2_10.png", "3_002_2_10.png"}  # of people 4 and 8
    assert not missing & {path.name for path in (found.root / "images_labeled").iterdir()}


def test_images_are_extracted_once_and_used_without_the_release_afterwards(copied: Callable[[str], Path]) -> None:
    root = copied("cuhk03-raw")
    first = read_benchmark("cuhk03-raw-labeled", root)
    (root / RELEASE).unlink()
    assert read_benchmark("cuhk03-raw-labeled", root) == first
    with pytest.raises(InputError, match=r"has no cuhk03_release/cuhk-03\.mat"):
        read_benchmark("cuhk03-raw-detected", root)


def test_an_extraction_that_fails_leaves_nothing_and_the_next_is_whole(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied("cuhk03-raw")
    before = sorted(root.rglob("*"))
    complete = cuhk03.read_images

    def broken(path: Path, kind: str) -> Iterator[tuple[str, Any]]:
        for number, one in enumerate(complete(path, kind)):
            if number == 10:
                raise KeyboardInterrupt
            yield one

    with monkeypatch.context() as patch:
        patch.setattr(cuhk03, "read_images", broken)
        with pytest.raises(KeyboardInterrupt):
            read_benchmark("cuhk03-raw-labeled", root)
    assert sorted(root.rglob("*")) == before
    assert len(read_benchmark("cuhk03-raw-labeled", root).train) == 39


def test_what_a_killed_extraction_left_aside_is_not_used(copied: Callable[[str], Path]) -> None:
    root = copied("cuhk03-raw")
    (root / ".images_labeled.partial").mkdir()
    (root / ".images_labeled.partial" / "1_001_1_01.png").write_bytes(b"half")
    found = read_benchmark("cuhk03-raw-labeled", root)
    assert pixels(found.train[0].path).shape == (32, 16, 3)
    assert not (root / ".images_labeled.partial").exists()


def test_processes_that_start_together_extract_once(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, calls, complete = copied("cuhk03-raw"), [], cuhk03.read_images

    def counted(path: Path, kind: str) -> Iterator[tuple[str, Any]]:
        calls.append(kind)
        return complete(path, kind)

    monkeypatch.setattr(cuhk03, "read_images", counted)
    release, folder = root / RELEASE, root / "images_labeled"
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: cuhk03.extract(release, "labeled", folder, total=78), range(3)))
    assert calls == ["labeled"]
    assert len(list(folder.iterdir())) == 78


def test_a_folder_that_cannot_be_written_is_one_clear_line(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied("cuhk03-raw")
    if os.geteuid():
        root.chmod(0o555)
    else:  # root may write anywhere

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match=r"cannot extract the images to .*: Permission denied; free or unlock"):
        read_benchmark("cuhk03-raw-labeled", root)
    root.chmod(0o755)


def test_images_that_are_missing_from_an_extraction_are_named(copied: Callable[[str], Path]) -> None:
    root = copied("cuhk03-raw")
    lost = read_benchmark("cuhk03-raw-labeled", root).train[0].path
    lost.unlink()
    with pytest.raises(DataError, match=f"lacks 1 of the 78 images that .* such as {lost.name}; delete it"):
        read_benchmark("cuhk03-raw-labeled", root)


def test_a_missing_protocol_is_named_with_its_origin(copied: Callable[[str], Path]) -> None:
    root = copied("cuhk03-raw")
    file = "cuhk03_new_protocol_config_labeled.mat"
    (root / file).rename(root / "cuhk03_release" / file)  # some keep it there
    assert read_benchmark("cuhk03-raw-labeled", root).train
    (root / "cuhk03_release" / file).unlink()
    with pytest.raises(InputError, match=rf"lacks {file}; it comes with zhunzhong07/person-re-ranking"):
        read_benchmark("cuhk03-raw-labeled", root)


@pytest.mark.parametrize("layout", ["cuhk03-raw", "cuhk03-raw-v5"])
@pytest.mark.parametrize("file", [RELEASE, "cuhk03_new_protocol_config_labeled.mat"])
def test_a_file_that_was_half_copied_is_one_clear_line(layout: str, file: str, copied: Callable[[str], Path]) -> None:
    root = copied(layout)
    data = (root / file).read_bytes()
    (root / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="cannot be read as CUHK03's MATLAB file") as caught:
        read_benchmark("cuhk03-raw-labeled", root)
    assert "\n" not in str(caught.value)
    assert not [path for path in root.iterdir() if "images" in path.name]


def test_another_matlab_file_is_one_clear_line(copied: Callable[[str], Path]) -> None:
    root = copied("cuhk03-raw")
    config = root / "cuhk03_new_protocol_config_labeled.mat"
    config.write_bytes((root / RELEASE).read_bytes())
    with pytest.raises(DataError, match="cannot be read as CUHK03's MATLAB file"):
        read_benchmark("cuhk03-raw-labeled", root)


def test_without_the_package_one_line_says_what_to_install(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied("cuhk03-raw")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"needs the package h5py: pip install 'upreid\[cuhk03\]'"):
        read_benchmark("cuhk03-raw-labeled", root)
    assert not [path for path in root.iterdir() if "images" in path.name]
