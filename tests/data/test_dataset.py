import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torch.utils.data import DataLoader

from upreid.data.augment import Augment, OriginalView
from upreid.data.dataset import (
    LabelledImages,
    LabelledTrainingImages,
    OriginalImages,
    SkipLedger,
    collate,
    collate_labelled,
)
from upreid.data.loading import make_loader
from upreid.data.records import Record
from upreid.data.sources.recognise import open_source
from upreid.errors import DataError
from upreid.types import Preprocess

PREPROCESS = Preprocess(height=64, width=32, mean=(0.35, 0.31, 0.32), std=(0.26, 0.25, 0.24))


def folder(root, count=10, bad=(), size=(40, 20)):
    paths = [root / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        values = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(values).save(path)
        if number in bad:
            path.write_bytes(b"broken")
    return paths


def originals(paths, limit=1.0):
    source = open_source(Path(os.path.commonpath([path.parent for path in paths])), patience=0.0)
    return OriginalImages(source, height=64, width=32, limit=limit)


def test_an_item_is_an_image_of_an_epoch(tmp_path):
    paths = folder(tmp_path)
    sample = originals(paths)[7, 3]
    assert (sample.epoch, sample.index, sample.file_size, sample.skipped) == (7, 3, (40, 20), ())
    assert np.array_equal(sample.pixels, np.asarray(Image.open(paths[3])))


def test_a_batch_decodes_an_image_once_that_stands_in_it_twice(tmp_path, monkeypatch):
    images, read = originals(folder(tmp_path)), []
    source = images.source
    reads = source.read
    monkeypatch.setattr(source, "read", lambda index: read.append(index) or reads(index))
    keys = [(5, 3), (5, 0), (5, 3), (5, 7), (5, 0)]
    (batch,) = make_loader(images, batch_sampler=[keys], collate=collate, workers=0)
    assert read == [3, 0, 7]
    assert batch.indices.tolist() == [3, 0, 3, 7, 0]
    assert torch.equal(batch.pixels, collate([images[5, index] for index in (3, 0, 3, 7, 0)]).pixels)


def test_a_batch_holds_originals_of_different_sizes_in_the_top_left_corner(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paths = folder(tmp_path / "a", 1, size=(40, 10)) + folder(tmp_path / "b", 1, size=(30, 20))
    batch = collate([originals(paths)[5, 0], originals(paths)[5, 1]])
    assert batch.pixels.shape == (2, 3, 40, 20)
    for row, (height, width) in enumerate([(40, 10), (30, 20)]):
        expected = torch.from_numpy(np.asarray(Image.open(paths[row])).copy()).permute(2, 0, 1)
        assert torch.equal(batch.pixels[row, :, :height, :width], expected)
        assert batch.pixels[row, :, height:].sum() + batch.pixels[row, :, :, width:].sum() == 0
    assert batch.extents.tolist() == batch.file_sizes.tolist() == [[40, 10], [30, 20]]
    assert batch.indices.tolist() == [0, 1]
    assert batch.epoch == 5


def test_a_shrunk_picture_reports_both_sizes(tmp_path):
    batch = collate([originals(folder(tmp_path, 1, size=(400, 100)))[0, 0]])
    assert batch.extents.tolist() == [[128, 64]]
    assert batch.file_sizes.tolist() == [[400, 100]]


def test_an_unreadable_file_is_replaced_by_the_next_readable_one_and_named(tmp_path):
    images = originals(folder(tmp_path, bad=(3, 4, 9)))
    sample = images[0, 3]
    assert sample.index == 5
    assert [skip.index for skip in sample.skipped] == [3, 4]
    assert "3.png" in sample.skipped[0].reason
    assert images[0, 9].index == 0
    assert collate([images[0, 1], sample]).skipped == tuple((s.index, s.reason) for s in sample.skipped)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_do_not_change_what_a_batch_holds(tmp_path, workers):
    images = originals(folder(tmp_path, bad=(3, 4)))
    keys = [(1, index) for index in (3, 1, 4, 7, 3, 2, 9, 0)]
    with_workers = list(DataLoader(images, batch_size=2, sampler=keys, num_workers=workers, collate_fn=collate))
    expected = [5, 1, 5, 7, 5, 2, 9, 0]
    assert torch.cat([batch.indices for batch in with_workers]).tolist() == expected
    assert {index for batch in with_workers for index, _ in batch.skipped} == {3, 4}


@pytest.mark.parametrize("limit", [0.0, 0.01, 0.3, 1.0])
def test_a_broken_source_ends_the_search_and_then_the_run(tmp_path, limit):
    images = originals(folder(tmp_path, bad=range(10)), limit)
    batch = collate([images[0, index] for index in range(4)])
    assert len(batch.skipped) <= int(limit * 10) + 4 or limit == 1  # not every file again for every sample
    ledger = SkipLedger(10, limit if limit < 1 else 0.99)
    with pytest.raises(DataError):
        ledger.add(batch.skipped)


def test_the_ledger_counts_each_file_once_and_tells_the_new_ones():
    ledger = SkipLedger(200, limit=0.01)
    assert ledger.add([(3, "'3.png': cut")]) == ["'3.png': cut"]
    assert ledger.add([(3, "'3.png': cut"), (3, "'3.png': cut")]) == []
    assert ledger.add([(5, "'5.png': empty")]) == ["'5.png': empty"]
    with pytest.raises(DataError, match="3 of 200") as error:
        ledger.add([(8, "'8.png': text")])
    for name in ("3.png", "5.png", "8.png", "limit of 1.0%"):
        assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_an_error_of_the_ledger_names_five_files_and_the_log_has_them_all(capsys):
    with pytest.raises(DataError, match="and 7 more, named in the log") as error:
        SkipLedger(100, limit=0.1).add([(number, f"'{number}.png': cut") for number in range(12)])
    assert str(error.value).count(".png") == 5
    assert capsys.readouterr().err.count("skipped '") == 12


def test_a_resumed_ledger_goes_on_counting():
    first = SkipLedger(100, limit=0.01)
    first.add([(3, "'3.png': cut")])
    resumed = SkipLedger(100, limit=0.01, known=first.state())
    assert resumed.add([(3, "'3.png': cut")]) == []
    with pytest.raises(DataError, match="2 of 100"):
        resumed.add([(4, "'4.png': cut")])


@pytest.mark.parametrize("size", [(64, 32), (100, 30), (300, 200), (20, 50)])
def test_evaluation_sees_exactly_the_original_of_pre_training(tmp_path, size):
    paths = folder(tmp_path, 3, size=size)
    augment = Augment({"original": OriginalView()}, preprocess=PREPROCESS, seed=0)
    original = augment(collate([originals(paths)[0, index] for index in range(3)]))["original"]
    labelled = LabelledImages([Record(path=path) for path in paths], PREPROCESS)
    assert len(labelled) == 3
    assert_close(torch.stack([labelled[index] for index in range(3)]), original)


def test_evaluation_refuses_an_unreadable_file_by_name(tmp_path):
    paths = folder(tmp_path, 2, bad=(1,))
    with pytest.raises(DataError, match=r"1\.png"):
        LabelledImages([Record(path=path) for path in paths], PREPROCESS)[1]


def labelled(paths, people):
    return [Record(path=path, person=person, camera=1) for path, person in zip(paths, people, strict=True)]


def test_training_replaces_an_unreadable_image_by_the_next_of_the_same_person(tmp_path):
    records = labelled(folder(tmp_path, 6, bad=(0, 4)), [7, 8, 7, 8, 7, 8])
    images = LabelledTrainingImages(records, PREPROCESS, limit=1.0)
    batch = collate_labelled([images[index] for index in (0, 4, 3)])
    assert batch.indices.tolist() == [2, 2, 3]  # after the last image of person 7 comes his first, which is broken too
    assert [index for index, _ in batch.skipped] == [0, 4, 0]
    assert "0.png" in batch.skipped[0][1]
    whole = LabelledImages(records, PREPROCESS)
    assert torch.equal(batch.images, torch.stack([whole[2], whole[2], whole[3]]))


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_do_not_change_what_replaces_an_unreadable_training_image(tmp_path, workers):
    images = LabelledTrainingImages(
        labelled(folder(tmp_path, 6, bad=(0, 4)), [7, 8, 7, 8, 7, 8]), PREPROCESS, limit=1.0
    )
    order = [[0, 1], [4, 0], [5, 4]]
    batches = list(DataLoader(images, batch_sampler=order, num_workers=workers, collate_fn=collate_labelled))
    assert [batch.indices.tolist() for batch in batches] == [[2, 1], [2, 2], [5, 2]]


def test_a_person_without_a_readable_image_is_named(tmp_path):
    images = LabelledTrainingImages(labelled(folder(tmp_path, 4, bad=(0, 2)), [7, 8, 7, 8]), PREPROCESS, limit=1.0)
    with pytest.raises(DataError, match="none of the 2 training images of person 7 can be read"):
        images[2]


def test_too_many_unreadable_training_images_end_in_the_ledger(tmp_path):
    images = LabelledTrainingImages(labelled(folder(tmp_path, 4, bad=(0, 2)), [7, 7, 7, 7]), PREPROCESS, limit=0.25)
    batch = collate_labelled([images[0], images[2]])
    with pytest.raises(DataError, match=r"2 of 4 images cannot be read, over the limit of 25.0%"):
        SkipLedger(4, 0.25).add(batch.skipped)


def test_an_image_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "0.png")
    with pytest.raises(DataError, match=r"0\.png': it is no plain file"):
        LabelledImages([Record(path=tmp_path / "0.png")], PREPROCESS)[0]
