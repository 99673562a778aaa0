"""Every form holds the same pictures, and is called by its name."""

import pickle
import shutil
import tarfile
from pathlib import Path

import pytest

from upreid.data.sources.recognise import open_source
from upreid.errors import DataError, InputError


def form(name, pictures, stored, archive, packed, tmp_path):
    if name == "tars":
        (tmp_path / "tars").mkdir()
        shutil.copy(archive, tmp_path / "tars" / "a.tar")
    if name == "ranked":
        shutil.copytree(pictures, tmp_path / "ranked" / "images")
        (tmp_path / "ranked" / "CFS_list.pkl").write_bytes(pickle.dumps(sorted(p.name for p in pictures.iterdir())))
    places = {"folder": pictures, "lmdb": stored, "tar": archive, "packed": packed}
    return places.get(name, tmp_path / name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "a folder of images (32 in 1 folders)"),
        ("lmdb", "an lmdb of 32 images, keys from the lmdb itself"),
        ("tar", "1 tar archives made elsewhere (32 images)"),
        ("tars", "1 tar archives made elsewhere"),
        ("packed", "a packed set (32 images in 4 shards, original files)"),
        ("ranked", "a folder ranked by CFS_list.pkl, all 32 names"),
    ],
)
def test_a_form_is_recognised_and_holds_the_same_files(
    name, words, pictures, files, files_of, stored, archive, packed, tmp_path
):
    root = form(name, pictures, stored, archive, packed, tmp_path)
    source = open_source(root)
    assert source.description.startswith(f"{root}: ")
    assert words in source.description
    assert files_of(source) == files
    again = pickle.loads(pickle.dumps(source))  # as a worker gets it
    assert files_of(again) == files
    assert again.fingerprint == open_source(root).fingerprint


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_an_impossible_share_is_refused(share, pictures):
    with pytest.raises(InputError, match="is impossible"):
        open_source(pictures, cfs_share=share)


def test_a_share_of_what_is_not_ranked_is_refused(pictures):
    with pytest.raises(InputError, match="has none"):
        open_source(pictures, cfs_share=0.5)


def test_archives_beside_images_or_folders_are_not_guessed_about(pictures, archive, tmp_path):
    shutil.copy(archive, pictures / "a.tar")
    with pytest.raises(InputError, match=r"holds tar archives \(a.tar\) beside \d+.png"):
        open_source(pictures)
    (tmp_path / "mixed" / "images").mkdir(parents=True)
    shutil.copy(archive, tmp_path / "mixed" / "a.tar")
    with pytest.raises(InputError, match="beside images"):
        open_source(tmp_path / "mixed")


@pytest.mark.parametrize("name", ["a.tgz", "a.tar.gz", "a.zip"])
def test_a_compressed_archive_is_refused_by_that_word(name, tmp_path):
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    with pytest.raises(InputError, match="is compressed"):
        open_source(tmp_path / name)


def test_a_compressed_archive_called_tar_is_no_tar(pictures, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w:gz") as tar:
        tar.add(pictures)
    with pytest.raises(DataError, match="decompress it first"):
        open_source(tmp_path / "a.tar")


def test_a_pack_under_way_is_not_trained_on(packed):
    (packed / ".pack").mkdir()
    (packed / "manifest.json").unlink()
    with pytest.raises(InputError, match="not finished; run the same upreid pack again"):
        open_source(packed)


def test_a_wrong_path_is_said(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        open_source(tmp_path / "nowhere")
