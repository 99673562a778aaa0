import pytest

from upreid.data.sources.recognise import open_source
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
