"""LUPerson's lmdb with a list of keys, a dict, or none; and what is wrong with some copies of it."""

import pickle
import sys

import pytest
from torch.utils.data import DataLoader

from upreid.data.dataset import OriginalImages, collate
from upreid.data.decode import UnreadableImage
from upreid.data.sources import lmdb_images
from upreid.data.sources.recognise import open_source
from upreid.errors import DataError, InputError


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["0003.png", "0001.png"], "from the list in keys.pkl"),
        ({"keys": ["0003.png", "0001.png"], "pids": [1, 2]}, "from the dict in keys.pkl"),
        ({"keys": ["0003.png", "0001.png"], "vids": [1, 2]}, "from the dict in keys.pkl"),
        ([b"0003.png", b"0001.png"], "from the list in keys.pkl"),
    ],
)
def test_the_order_is_that_of_the_list(stored, files, files_of, value, words):
    (stored / "keys.pkl").write_bytes(pickle.dumps(value))
    source = open_source(stored)
    assert words in source.description
    assert list(files_of(source).items()) == [(name, files[name]) for name in ("0003.png", "0001.png")]


def test_without_a_list_all_keys_but_a_writers_own_are_taken(stored, files, files_of):
    import lmdb

    with (
        lmdb.open(str(stored / "lmdb"), map_size=2**24, lock=False) as environment,
        environment.begin(write=True) as put,
    ):
        put.put(b"__len__", b"32")
    assert files_of(open_source(stored)) == files


def test_the_folder_of_the_lmdb_itself_is_as_good(stored, files, files_of):
    assert files_of(open_source(stored / "lmdb")) == files


def test_the_list_is_kept_and_made_again_when_the_pickle_changes(stored, cache, monkeypatch):
    (stored / "keys.pkl").write_bytes(pickle.dumps(["0003.png"]))
    first = open_source(stored)
    assert len(list(cache.glob("lmdb-*.index"))) == 1
    with monkeypatch.context() as patched:
        patched.setattr(lmdb_images.Lmdb, "list_images", pytest.fail)
        assert open_source(stored).fingerprint == first.fingerprint
    (stored / "keys.pkl").write_bytes(pickle.dumps(["0001.png", "0002.png"]))
    assert len(open_source(stored)) == 2
    assert open_source(stored).fingerprint != first.fingerprint


def test_a_key_that_is_not_there_is_an_unreadable_image(stored):
    (stored / "keys.pkl").write_bytes(pickle.dumps(["0003.png", "nobody"]))
    with pytest.raises(UnreadableImage, match="the list has this key, the lmdb does not"):
        open_source(stored).read(1)


@pytest.mark.parametrize("length", [0, 100, 5000, 20_000])
def test_an_lmdb_cut_short_is_refused_before_it_ends_a_process(stored, length):
    path = stored / "lmdb" / "data.mdb"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=r"cut short|no lmdb that can be read"):
        open_source(stored)


def test_rubbish_is_no_lmdb(stored):
    (stored / "lmdb" / "data.mdb").write_bytes(b"rubbish" * 10_000)
    with pytest.raises(DataError, match="no lmdb that can be read"):
        open_source(stored)


def test_workers_open_it_for_themselves_and_read_the_same(stored):
    images = OriginalImages(open_source(stored), height=64, width=32)
    keys = [(0, index) for index in range(32)]
    batches = [
        [
            batch.pixels
            for batch in DataLoader(images, batch_size=8, sampler=keys, num_workers=workers, collate_fn=collate)
        ]
        for workers in (0, 2)
    ]
    assert all(bool((one == other).all()) for one, other in zip(*batches, strict=True))


def test_nothing_is_written_beside_it(stored):
    (stored / "lmdb").chmod(0o555)
    before = sorted(stored.rglob("*"))
    open_source(stored).read(0)
    assert sorted(stored.rglob("*")) == before
    (stored / "lmdb").chmod(0o755)


def test_without_the_package_one_line_says_what_to_install(stored, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(InputError, match=r"pip install 'upreid\[lmdb\]'"):
        open_source(stored)
