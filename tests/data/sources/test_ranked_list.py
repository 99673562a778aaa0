"""The list says which images there are, and in which order; it leads nowhere else."""

import pickle
import shutil

import pytest

from upreid.data.decode import UnreadableImage
from upreid.data.sources.recognise import open_source
from upreid.errors import DataError


def ranked(tmp_path, pictures, value, inside="images"):
    root = tmp_path / "ranked"
    shutil.copytree(pictures, root / inside, dirs_exist_ok=True)
    (root / "CFS_list.pkl").write_bytes(pickle.dumps(value))
    return root


@pytest.mark.parametrize("inside", ["images", "."])
@pytest.mark.parametrize(("share", "expected"), [(1.0, "52310"), (0.5, "52"), (0.2, "5"), (0.01, "5")])
def test_the_top_share_is_taken_in_order(tmp_path, pictures, files, files_of, inside, share, expected):
    root = ranked(tmp_path, pictures, [f"000{number}.png" for number in (5, 2, 3, 1, 0)], inside)
    source = open_source(root, cfs_share=share)
    assert files_of(source) == {name: files[name] for name in (f"000{number}.png" for number in expected)}
    assert list(files_of(source)) == [f"000{number}.png" for number in expected]


def test_another_share_is_another_source(tmp_path, pictures):
    root = ranked(tmp_path, pictures, ["0001.png", "0002.png"])
    assert open_source(root).fingerprint != open_source(root, cfs_share=0.5).fingerprint


def test_a_missing_file_is_an_unreadable_image(tmp_path, pictures):
    with pytest.raises(UnreadableImage, match="No such file"):
        open_source(ranked(tmp_path, pictures, ["0001.png", "gone.png"])).read(1)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["../0001.png"], "leads out of the folder"),
        (["/etc/passwd"], "leads out of the folder"),
        (["0001.png", "a/../../x.png"], "leads out of the folder"),
        ([], "is empty"),
        (["gone.png"], "none of the first names"),
        ({"scores": [1]}, "neither a list of names"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path, pictures, value, words):
    with pytest.raises(DataError, match=words):
        open_source(ranked(tmp_path, pictures, value))
