"""A packed set is opened whole or refused; a damaged image in it is found when it is read."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from upreid.commands.pack import run
from upreid.config.commands import PackConfig
from upreid.data.dataset import OriginalImages, collate
from upreid.data.decode import UnreadableImage
from upreid.data.sources.index_file import NAMES, open_index, write_index
from upreid.data.sources.packed_set import KIND, WHERE
from upreid.data.sources.recognise import open_source
from upreid.errors import DataError, RunError


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_byte_that_was_swapped_makes_one_image_unreadable(packed, files):
    shard = packed / "shard-000001.tar"
    content = bytearray(shard.read_bytes())
    at = content.index(files["0012.png"]) + 40
    content[at : at + 2] = content[at + 1], content[at]
    shard.write_bytes(content)
    source = open_source(packed)
    with pytest.raises(
        UnreadableImage, match=r"shard-000001\.tar: 0012\.png': its bytes are not those that were packed"
    ):
        source.read(12)
    assert source.read(11) == files["0011.png"]
    images = OriginalImages(source, height=64, width=32, limit=1.0)
    sample = images[0, 12]
    assert (sample.index, [skip.index for skip in sample.skipped]) == (13, [12])


@pytest.mark.parametrize("change_size", [-1, -512, -10_000, 1, 512])
def test_a_shard_of_another_size_is_refused_at_once(packed, change_size):
    with (packed / "shard-000002.tar").open("r+b") as file:
        file.truncate(os.fstat(file.fileno()).st_size + change_size)
    with pytest.raises(DataError, match=r"shard-000002\.tar is (shorter|longer) than its index says"):
        open_source(packed)


def test_a_shard_that_is_gone_is_refused_at_once(packed):
    (packed / "shard-000002.tar").unlink()
    with pytest.raises(DataError, match=r"shard-000002\.tar is missing"):
        open_source(packed)


def test_a_shard_of_other_content_and_the_same_size_is_refused_at_once(packed):
    shard = packed / "shard-000002.tar"
    shard.write_bytes(bytes(shard.stat().st_size))
    with pytest.raises(DataError, match="is not the shard that index"):
        open_source(packed)


def test_a_shard_that_is_cut_while_it_is_read_stops_the_run(packed):
    source = open_source(packed, patience=0.0)
    with (packed / "shard-000002.tar").open("r+b") as file:
        file.truncate(600)
    with pytest.raises(DataError, match="is shorter than it was when this run began"):
        source.read(25)


def test_a_shard_that_goes_away_is_waited_for(packed, files, capsys):
    source = open_source(packed, patience=0.2)
    away = packed.rename(packed.with_name("elsewhere"))
    with pytest.raises(RunError, match="has not answered"):
        source.read(25)
    away.rename(packed)
    assert source.read(25) == files["0025.png"]
    assert "does not answer" in capsys.readouterr().err


def test_an_index_of_another_pack_is_refused(packed, pictures, tmp_path):
    run(PackConfig(src=pictures, out=tmp_path / "other", shard_size=16, workers=1))
    shutil.copy(tmp_path / "other" / "index.upreid", packed)
    with pytest.raises(DataError, match="not of the same pack"):
        open_source(packed)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"version": 2}, "of version 2"),
        ({"format": "zip"}, "no manifest"),
        ({"index": 3}, "no manifest"),
        ({"settings": 1}, "no man"),
    ],
)
def test_a_manifest_of_something_else_is_refused(packed, values, words):
    change(packed / "manifest.json", **values)
    with pytest.raises(DataError, match=words):
        open_source(packed)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_rubbish_is_no_manifest(packed, content):
    (packed / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match="no manifest of a packed set"):
        open_source(packed)


def forge(root: Path, shards: object, **arrays: np.ndarray) -> None:
    """Write an index with hashes that fit, and tell the manifest."""
    old = open_index(root / "index.upreid", KIND)
    pieces = {name: [arrays.get(name, array)] for name, array in old.arrays.items()}
    facts = {"shards": old.facts["shards"] if shards is None else shards}
    write_index(root / "forged", KIND, facts, pieces)
    (root / "forged").rename(root / "index.upreid")
    change(root / "manifest.json", index=open_index(root / "index.upreid", KIND).digest(*NAMES, *WHERE))


@pytest.mark.parametrize(
    "shards",
    [
        [{"name": "../../secret.tar", "bytes": 10, "end": 32}],
        [{"name": "/etc/passwd", "bytes": 10, "end": 32}],
        [{"name": "shard-000000.tar", "bytes": float("inf"), "end": 32}],
        [{"name": "shard-000000.tar", "bytes": 10, "end": 33}],
        [{"name": "shard-000000.tar", "bytes": 10, "end": -1}, {"name": "shard-000001.tar", "bytes": 10, "end": 32}],
        [{"name": "shard-000000.tar"}],
        [[]],
        [],
        7,
    ],
)
def test_an_index_that_names_what_is_no_shard_is_refused(packed, shards):
    forge(packed, shards)
    with pytest.raises(DataError, match=r"which is no shard|do not agree|does not say"):
        open_source(packed)


@pytest.mark.parametrize("value", [0, 2**63 - 1, 2**64 - 1])
def test_positions_outside_a_shard_are_never_followed(packed, value):
    positions = np.array(open_index(packed / "index.upreid", KIND).arrays["positions"])
    positions[5] = value
    forge(packed, None, positions=positions)
    with pytest.raises(UnreadableImage):
        open_source(packed).read(5)
    positions[:] = value
    forge(packed, None, positions=positions)
    with pytest.raises(DataError, match="is not the shard"):
        open_source(packed)


def test_every_byte_of_the_index_counts(packed):
    path = packed / "index.upreid"
    whole, source = path.read_bytes(), open_source(packed)
    refused = 0
    for place in range(0, len(whole), 13):
        content = bytearray(whole)
        content[place] ^= 0x5A
        path.write_bytes(content)
        try:
            opened = open_source(packed)
        except DataError:
            refused += 1
        else:  # a letter of a name, or padding: no byte of an image
            assert [opened.read(index) for index in range(32)] == [source.read(index) for index in range(32)]
    assert refused > len(whole) // 13 / 3


def test_a_global_shuffle_over_workers_reads_every_image_once(packed, files):
    images = OriginalImages(open_source(packed), height=64, width=32)
    keys = [(0, (7 * index) % 32) for index in range(32)]
    loader = DataLoader(images, batch_size=4, sampler=keys, num_workers=2, collate_fn=collate)
    assert [index for batch in loader for index in batch.indices.tolist()] == [index for _, index in keys]


def test_more_shards_than_open_files_are_read(pictures, files, files_of, tmp_path, monkeypatch):
    monkeypatch.setattr("upreid.data.sources.archives.MOST_OPEN", 3)
    run(PackConfig(src=pictures, out=tmp_path / "packed", shard_size=2, workers=1))
    source = open_source(tmp_path / "packed")
    assert files_of(source) == files
    assert files_of(source) == files
    assert len(source.handles) == 3
