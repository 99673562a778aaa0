import os
import shutil
import time
from threading import Timer

import pytest

from upreid.data.decode import UnreadableImage
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import place
from upreid.errors import InputError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(root):
    source = open_source(root)
    return [source.name(index) for index in range(len(source))]


def test_images_of_any_nesting_and_suffix_are_found_in_the_order_of_their_paths(tmp_path):
    touch(tmp_path, "b/2.JPG", "b/10.png", "a.webp", "Ä/人/ü.Bmp", "b.jpeg", "Z.jpg", "b/c/d/e/f.jpg")
    assert names(tmp_path) == ["Z.jpg", "a.webp", "b.jpeg", "b/10.png", "b/2.JPG", "b/c/d/e/f.jpg", "Ä/人/ü.Bmp"]


def test_hidden_files_and_other_files_are_left_out(tmp_path):
    touch(tmp_path, "a.jpg", ".b.jpg", "._a.jpg", ".cache/c.jpg", "Thumbs.db", "notes.txt", "jpg", "a.jpg.part")
    assert names(tmp_path) == ["a.jpg"]


def test_a_hidden_root_is_as_good_as_any(tmp_path):
    touch(tmp_path, ".data/a.jpg")
    assert names(tmp_path / ".data") == ["a.jpg"]


def test_a_loop_of_links_ends(tmp_path):
    touch(tmp_path, "a/b.jpg")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert names(tmp_path) == ["a/b.jpg"]


@pytest.mark.parametrize(
    ("root", "words"), [("nowhere", "does not exist"), ("file.jpg", "is a file"), ("empty", "no images in")]
)
def test_folders_without_images_are_refused_in_one_line(tmp_path, root, words):
    touch(tmp_path, "file.jpg", "empty/notes.txt")
    with pytest.raises(InputError, match=words) as error:
        open_source(tmp_path / root)
    assert root in str(error.value)
    assert "\n" not in str(error.value)


def long_ago(root):
    """As if nothing had changed for an hour: a folder that has just changed is not trusted to be listed for good."""
    then = time.time() - 3600
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        os.utime(folder, (then, then))


def test_a_list_is_made_once_and_made_again_when_a_folder_changes(tmp_path, cache, monkeypatch):
    root = tmp_path / "images"
    touch(root, "b/2.jpg", "a.jpg")
    long_ago(root)
    first = open_source(root)
    assert len(list(cache.glob("folder-*.index"))) == 1
    monkeypatch.setattr("upreid.data.sources.folder._list", None)  # it is not listed again
    assert names(root) == ["a.jpg", "b/2.jpg"]
    assert open_source(root).fingerprint == first.fingerprint
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    touch(root, "b/1.jpg")
    assert names(root) == ["a.jpg", "b/1.jpg", "b/2.jpg"]
    assert open_source(root).fingerprint != first.fingerprint


def test_a_folder_that_has_just_changed_is_not_remembered(tmp_path, cache):
    touch(tmp_path / "images", "a.jpg")
    assert names(tmp_path / "images") == ["a.jpg"]
    assert not list(cache.glob("*.index"))


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_list_is_made_again(tmp_path, cache, damage):
    root = tmp_path / "images"
    touch(root, "a.jpg", "b.jpg")
    long_ago(root)
    names(root)
    (kept,) = cache.glob("folder-*.index")
    kept.write_bytes(kept.read_bytes()[:-7] if damage is None else damage)
    assert names(root) == ["a.jpg", "b.jpg"]


def test_without_a_place_for_the_list_it_is_made_every_time(tmp_path, monkeypatch, capsys):
    root = tmp_path / "images"
    touch(root, "a.jpg")
    long_ago(root)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert names(root) == ["a.jpg"]
    assert "cannot be kept" in capsys.readouterr().err


def test_nothing_is_written_beside_the_images(pictures):
    before = sorted(pictures.rglob("*"))
    long_ago(pictures)
    open_source(pictures).read(3)
    assert sorted(pictures.rglob("*")) == before


def test_names_that_are_no_text_survive(tmp_path, pictures):
    odd = tmp_path / "odd" / os.fsdecode(b"\xff\n.png")
    odd.parent.mkdir()
    shutil.copy(pictures / "0000.png", odd)
    source = open_source(tmp_path / "odd")
    assert source.read(0) == odd.read_bytes()
    assert place(source, 0).isprintable()


def test_a_file_that_is_gone_is_unreadable_but_a_folder_that_is_gone_is_waited_for(pictures, capsys):
    source = open_source(pictures, patience=0.2)
    (pictures / "0003.png").unlink()
    with pytest.raises(UnreadableImage, match=r"0003.png': No such file"):
        source.read(3)
    pictures.rename(pictures.with_name("elsewhere"))
    with pytest.raises(InputError, match=r"has not answered .*nothing was skipped"):
        source.read(4)
    pictures.mkdir()  # a mount point without its file system
    with pytest.raises(InputError, match="has not answered"):
        source.read(4)
    assert "does not answer" in capsys.readouterr().err


def test_a_folder_that_comes_back_is_read_on(pictures, capsys):
    source = open_source(pictures, patience=30.0)
    expected = source.read(4)
    away = pictures.rename(pictures.with_name("elsewhere"))
    Timer(0.3, away.rename, [pictures]).start()
    assert source.read(4) == expected
    assert "answers again" in capsys.readouterr().err


def test_a_file_too_large_for_an_image_is_not_read(pictures):
    with (pictures / "0003.png").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UnreadableImage, match="over the limit"):
        open_source(pictures).read(3)
