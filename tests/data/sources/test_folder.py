import os
import shutil
import socket
import time
from pathlib import Path
from threading import Timer

import pytest

from upreid.data.decode import UnreadableImage
from upreid.data.sources.folder import ImageFolder
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import place
from upreid.errors import InputError, RunError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(root):
    source = open_source(root)
    return [source.name(index) for index in range(len(source))]


def test_images_of_any_nesting_and_suffix_are_found_in_the_order_of_their_paths(tmp_path):
    touch(
        tmp_path, "b/2.JPG", "b/10.png", "a.webp", "Ä/人/ü.Bmp", "b.jpeg", "Z.jpg", "b/c/d/e/f.jpg", "c.jfif", "d.TIF"
    )
    assert names(tmp_path) == [
        *("Z.jpg", "a.webp", "b.jpeg", "b/10.png", "b/2.JPG", "b/c/d/e/f.jpg", "c.jfif", "d.TIF"),
        "Ä/人/ü.Bmp",
    ]


def test_hidden_files_and_other_files_are_left_out(tmp_path):
    touch(tmp_path, "a.jpg", ".b.jpg", "._a.jpg", ".cache/c.jpg", "Thumbs.db", "notes.txt", "jpg", "a.jpg.part")
    assert names(tmp_path) == ["a.jpg"]


def test_a_hidden_root_is_as_good_as_any(tmp_path):
    touch(tmp_path, ".data/a.jpg")
    assert names(tmp_path / ".data") == ["a.jpg"]


def left_out(root):
    return open_source(root).description.partition("; left out: ")[2]


def test_what_was_not_taken_is_said_by_kind_and_count(tmp_path):
    touch(
        tmp_path, "a.jpg", "b.heic", "c/d.HEIC", "c/e.txt", "f.tar.gz", "c/g.tar", "README", ".hidden.jpg", "c/.x/y.jpg"
    )
    assert names(tmp_path) == ["a.jpg"]
    assert left_out(tmp_path) == "2 .heic, 2 hidden, 1 .tar, 1 .tar.gz, 1 .txt, 1 without a suffix"
    touch(tmp_path, "h.mp4", "i.mp4", "j.mp4")
    assert left_out(tmp_path) == "3 .mp4, 2 .heic, 2 hidden, 1 .tar, 1 .tar.gz, 1 .txt, 1 of other kinds"


def test_nothing_is_said_where_nothing_is_left_out(tmp_path):
    touch(tmp_path, "a.jpg", "b/c.tiff")
    assert open_source(tmp_path).description == f"{tmp_path}: a folder of images (2 in 2 folders)"


def test_links_to_folders_are_followed_once_and_a_loop_ends(tmp_path):
    root = tmp_path / "images"
    touch(root, "a/b.jpg")
    touch(tmp_path, "elsewhere/c.jpg", "elsewhere/deep/d.jpg")
    (root / "a" / "again").symlink_to(root, target_is_directory=True)
    (root / "a" / "twice").symlink_to(root / "a", target_is_directory=True)
    (root / "z").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "y").symlink_to("z")
    (tmp_path / "elsewhere" / "deep" / "up").symlink_to("..", target_is_directory=True)
    assert names(root) == ["a/b.jpg", "y/c.jpg", "y/deep/d.jpg"]
    assert left_out(root) == "4 links to folders that are listed already"
    assert open_source(root / "z").name(0) == "c.jpg"


def test_a_link_to_a_folder_above_takes_no_folder_twice(tmp_path):
    touch(tmp_path, "images/a.jpg", "other/b.jpg")
    (tmp_path / "images" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert names(tmp_path / "images") == ["a.jpg", "up/other/b.jpg"]


def test_linked_images_are_images_and_one_that_leads_nowhere_is_missing(tmp_path, pictures):
    touch(tmp_path, "images/a.txt")
    (tmp_path / "images" / "a.png").symlink_to(pictures / "0003.png")
    (tmp_path / "images" / "b.png").symlink_to("b.png")
    (tmp_path / "images" / "c.png").symlink_to("nowhere.png")
    source = open_source(tmp_path / "images")
    assert [source.name(index) for index in range(len(source))] == ["a.png", "b.png", "c.png"]
    assert source.read(0) == (pictures / "0003.png").read_bytes()
    for index in (1, 2):
        with pytest.raises(UnreadableImage, match=r"symbolic links|No such file"):
            source.read(index)


def test_pipes_and_sockets_are_left_out_and_never_waited_for(tmp_path):
    touch(tmp_path, "images/a.jpg")
    os.mkfifo(tmp_path / "images" / "b.jpg")
    (tmp_path / "images" / "c.jpg").symlink_to("b.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path / "images")  # names of sockets are short
        server.bind("d.jpg")
        os.chdir(here)
        assert names(tmp_path / "images") == ["a.jpg"]
        assert left_out(tmp_path / "images") == "3 pipes, sockets or devices"
        source = open_source(tmp_path / "images", patience=30.0)
        for other in ("c.jpg", "b.jpg", "d.jpg"):  # what was a file when it was listed
            (tmp_path / "images" / other).replace(tmp_path / "images" / "a.jpg")
            with pytest.raises(UnreadableImage, match=r"no plain file|No such device"):
                source.read(0)


def test_archives_in_folders_below_are_read_where_there_are_no_images(tmp_path, archive, files):
    for number in (1, 2):
        (tmp_path / "set" / f"part{number}").mkdir(parents=True)
        shutil.copy(archive, tmp_path / "set" / f"part{number}" / "a.tar")
    touch(tmp_path, "set/part2/notes.txt")
    source = open_source(tmp_path / "set")
    assert "2 tar archives made elsewhere (64 images)" in source.description
    assert source.name(0) == "part1/a.tar/0000.png"
    assert source.read(32 + 5) == files["0005.png"]
    touch(tmp_path, "set/part1/a.jpg")
    assert names(tmp_path / "set") == ["part1/a.jpg"]
    assert left_out(tmp_path / "set") == "2 .tar, 1 .txt"


def test_where_nothing_can_be_taken_the_error_says_what_there_is(tmp_path):
    touch(tmp_path, "a.heic", "b.tar.gz", "c.tar.gz")
    with pytest.raises(InputError, match=r"no images in '.*'; left out: 2 \.tar\.gz, 1 \.heic; expected"):
        open_source(tmp_path)


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
    monkeypatch.setattr(ImageFolder, "list_images", pytest.fail)  # it is not listed again
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
    with pytest.raises(RunError, match=r"has not answered .*nothing was skipped"):
        source.read(4)
    pictures.mkdir()  # a mount point without its file system
    with pytest.raises(RunError, match="has not answered"):
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
