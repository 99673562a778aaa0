"""Small pictures, and every form in which a source may hold them."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from upreid.commands.pack import run
from upreid.config.commands import PackConfig
from upreid.data.sources.source import Source


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own; short lists are kept in it too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("upreid.data.sources.recognise.WORTH_A_FILE", 1)
    return tmp_path / "cache" / "upreid"


@pytest.fixture
def files_of() -> Callable[[Source], dict[str, bytes]]:
    """All the files of a source, by name, in its order."""
    return lambda source: {source.name(index): source.read(index) for index in range(len(source))}


@pytest.fixture
def files(pictures: Path) -> dict[str, bytes]:
    """What the pictures hold."""
    return {path.name: path.read_bytes() for path in sorted(pictures.iterdir())}


@pytest.fixture
def stored(files: dict[str, bytes], tmp_path: Path) -> Path:
    """The pictures in an lmdb, without a list of keys; a key is the picture's name."""
    root = tmp_path / "stored"
    root.mkdir()
    with lmdb.open(str(root / "lmdb"), map_size=2**24, lock=False) as environment, environment.begin(write=True) as put:
        for name, content in files.items():
            put.put(name.encode(), content)
    return root


@pytest.fixture
def archive(pictures: Path, tmp_path: Path) -> Path:
    """The pictures in a tar archive, as Python's own module writes it."""
    with tarfile.open(tmp_path / "archive.tar", "w") as tar:
        for path in sorted(pictures.iterdir()):
            tar.add(path, arcname=path.name)
    return tmp_path / "archive.tar"


@pytest.fixture
def packed(pictures: Path, tmp_path: Path) -> Path:
    """The 32 pictures in shards of 10."""
    run(PackConfig(src=pictures, out=tmp_path / "packed", shard_size=10, workers=1))
    return tmp_path / "packed"
