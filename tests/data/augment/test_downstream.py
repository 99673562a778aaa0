import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from upreid.data.augment.downstream import DownstreamAugment


def augment(*, seed: int = 1, pad: int = 0, flip: float = 0.0, erase: float = 0.0) -> DownstreamAugment:
    return DownstreamAugment(seed=seed, pad=pad, flip_probability=flip, erase_probability=erase)


def picture(height: int = 16, width: int = 8) -> Tensor:
    return torch.randn(3, height, width, generator=torch.Generator().manual_seed(0)) + 5.0  # nowhere 0


def copies(count: int = 8, height: int = 16, width: int = 8) -> Tensor:
    return picture(height, width).expand(count, -1, -1, -1).clone()


def test_nothing_switched_on_changes_nothing() -> None:
    assert torch.equal(augment()(copies(), step=3), copies())


def test_eight_identical_images_come_out_as_eight_different_ones() -> None:
    out = augment(pad=4, flip=0.5, erase=0.5)(copies(), step=0)
    assert out.shape == copies().shape
    assert not any(torch.equal(out[i], out[j]) for i in range(8) for j in range(i))


def test_padding_and_cropping_move_the_picture_and_fill_with_the_mean_colour() -> None:
    pad = 2
    padded = F.pad(picture(), [pad] * 4)
    windows = {
        (top, left): padded[:, top : top + 16, left : left + 8]
        for top in range(2 * pad + 1)
        for left in range(2 * pad + 1)
    }
    seen = [
        place
        for image in augment(pad=pad)(copies(1000), step=0)
        for place, window in windows.items()
        if torch.equal(image, window)
    ]
    assert len(seen) == 1000
    counts = np.array([seen.count(place) for place in windows])
    assert counts.min() > 0
    assert abs(counts - 40).max() < 5 * 40**0.5  # every place equally likely


def test_half_the_images_are_mirrored_left_to_right_and_the_rest_untouched() -> None:
    out = augment(flip=0.5)(copies(1000), step=0)
    is_mirrored = torch.tensor([torch.equal(image, picture().flip(2)) for image in out])
    is_same = torch.tensor([torch.equal(image, picture()) for image in out])
    assert (is_mirrored ^ is_same).all()
    assert abs(is_mirrored.sum().item() - 500) < 5 * 250**0.5


def erased_boxes(count: int = 2000, height: int = 128, width: int = 64) -> list[tuple[int, int]]:
    """Height and width of the hole in each image that has one; fails where a hole is no rectangle."""
    out = augment(erase=0.5)(torch.ones(count, 3, height, width), step=0)
    boxes: list[tuple[int, int]] = []
    for image in (out == 0).all(dim=1):
        rows, columns = image.any(dim=1), image.any(dim=0)
        assert torch.equal(image, rows[:, None] & columns[None])
        if image.any():
            boxes.append((int(rows.sum()), int(columns.sum())))
            for line in (rows, columns):
                places = line.nonzero()[:, 0]
                assert places[-1] - places[0] + 1 == len(places)
    return boxes


@pytest.mark.slow
def test_half_the_images_lose_a_rectangle_of_the_size_that_bag_of_tricks_says() -> None:
    height, width = 128, 64
    boxes = np.array(erased_boxes(2000, height, width), dtype=float)
    assert abs(len(boxes) - 1000) < 5 * 500**0.5
    area = boxes.prod(axis=1) / (height * width)
    aspect = boxes[:, 0] / boxes[:, 1]
    assert 0.02 * 0.9 < area.min() < 0.04
    assert 0.36 < area.max() < 0.4 * 1.05
    assert 0.3 * 0.85 < aspect.min() < 0.4
    assert 2.6 < aspect.max() < 1 / 0.3 * 1.15
    assert (boxes < [height, width]).all()


def test_the_numbers_belong_to_seed_step_and_slot() -> None:
    settings = {"pad": 4, "flip": 0.5, "erase": 0.5}
    out = augment(**settings)(copies(), step=7)
    assert torch.equal(augment(**settings)(copies(), step=7), out)
    assert torch.equal(augment(**settings)(copies(3), step=7), out[:3])
    assert not torch.equal(augment(**settings)(copies(), step=8), out)
    assert not torch.equal(augment(**settings, seed=2)(copies(), step=7), out)


def test_switching_one_thing_off_leaves_the_others_as_they_were() -> None:
    everything = augment(pad=4, flip=0.5, erase=0.5)(copies(), step=0)
    without_erasing = augment(pad=4, flip=0.5)(copies(), step=0)
    kept = everything != 0
    assert torch.equal(everything[kept], without_erasing[kept])
    assert not torch.equal(everything, without_erasing)


def test_the_input_is_left_alone_and_the_output_is_contiguous() -> None:
    images = copies()
    out = augment(pad=4, flip=0.5, erase=1.0)(images, step=0)
    assert torch.equal(images, copies())
    assert out.is_contiguous()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kind_of_number_is_kept(dtype: torch.dtype) -> None:
    assert augment(pad=4, flip=0.5, erase=0.5)(copies().to(dtype), step=0).dtype == dtype
