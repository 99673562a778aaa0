import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch.testing import assert_close

from upreid.data.augment.geometry import Span, blur, resample, resize_whole

PILLOW_ROUNDS = 1.01
"""Pillow rounds to whole values after each of its two passes; of 255."""

PILLOW_APPROXIMATES_GAUSSIANS = 3.5
"""Pillow's blur is three box blurs, and rounds down: at worst, of 255; on average 0.8."""


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def photograph(height, width, seed=0):
    coarse = Image.fromarray(noise(height // 8, width // 8, seed))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def batch(*pictures):
    return torch.stack([torch.tensor(picture).permute(2, 0, 1) for picture in pictures])


def span(*boxes, **more):
    starts, lengths = np.array(boxes, dtype=np.float64).T
    return Span(start=starts, length=lengths, **more)


def of_pillow(image):
    return torch.tensor(np.asarray(image)).permute(2, 0, 1).float()


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((10, 5, 55, 40), (128, 64)),  # enlarges
        ((0, 0, 128, 64), (64, 32)),  # shrinks
        ((3, 1, 120, 61), (32, 16)),  # shrinks much
        ((100, 60, 28, 4), (64, 96)),  # shrinks and enlarges, at the border
        ((7, 9, 50, 33), (50, 33)),  # neither
        ((0, 0, 1, 1), (8, 8)),
        ((0, 0, 128, 64), (45, 23)),  # blocks of one row
    ],
)
def test_crop_and_resize_agree_with_pillow(box, size):
    picture = noise(128, 64)
    top, left, height, width = box
    crop = Image.fromarray(picture).crop((left, top, left + width, top + height))
    expected = of_pillow(crop.resize(size[::-1], Image.Resampling.BILINEAR))
    ours = resample(batch(picture), span((top, height)), span((left, width)), *size)
    assert_close(ours[0], expected, atol=PILLOW_ROUNDS, rtol=0)


@pytest.mark.parametrize("size", [(64, 32), (40, 23), (128, 64), (200, 150), (3, 2)])
def test_without_antialiasing_a_picture_is_resized_as_trackers_do(size):
    picture = noise(128, 64)
    extents = torch.tensor([[128, 64], [90, 41]])  # the second is in a corner of its canvas
    ours = resize_whole(batch(picture, picture), extents, *size, "bilinear-aliased")
    for image, (height, width) in zip(ours, extents.tolist(), strict=True):
        alone = batch(picture[:height, :width]).float()
        expected = torch.nn.functional.interpolate(alone, size=size, mode="bilinear", align_corners=False)[0]
        assert_close(image, expected, atol=1e-2, rtol=0)


def test_images_of_a_batch_have_boxes_of_their_own_and_see_nothing_outside_them():
    picture = noise(96, 48)
    rows, columns = [(0, 40), (50, 46), (10, 11)], [(0, 48), (30, 18), (5, 20)]
    together = resample(batch(picture, picture, picture), span(*rows), span(*columns), 64, 32)
    for image, row, column in zip(together, rows, columns, strict=True):
        cut = np.zeros_like(picture)
        inside = slice(row[0], sum(row)), slice(column[0], sum(column))
        cut[inside] = picture[inside]
        cut[:, : column[0]] = 255
        assert_close(image, resample(batch(cut), span(row), span(column), 64, 32)[0])


def test_fractional_boxes_agree_with_pillow_away_from_their_edges():
    picture = noise(128, 64)
    box = (4.25, 10.5, 50.75, 99.25)  # left, top, right, bottom
    expected = of_pillow(Image.fromarray(picture).resize((32, 64), Image.Resampling.BILINEAR, box=box))
    ours = resample(batch(picture), span((10.5, 88.75)), span((4.25, 46.5)), 64, 32)[0]
    assert_close(ours[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=PILLOW_ROUNDS, rtol=0)


def test_a_flip_mirrors_left_and_right_of_the_images_it_is_meant_for():
    pictures = batch(noise(64, 32, 0), noise(64, 32, 1))
    rows, columns = span((5, 40), (0, 64)), [(3, 20), (1, 30)]
    plain = resample(pictures, rows, span(*columns), 32, 16)
    mirrored = resample(pictures, rows, span(*columns, is_flipped=np.array([True, False])), 32, 16)
    assert_close(mirrored[0], plain[0].flip(2))
    assert_close(mirrored[1], plain[1])


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_blur_agrees_with_pillow(sigma):
    picture = photograph(128, 64)
    expected = of_pillow(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(sigma)))
    ours = blur(batch(picture).float(), np.array([sigma]))[0]
    assert_close(ours, expected, atol=PILLOW_APPROXIMATES_GAUSSIANS, rtol=0)
    assert (ours - expected).abs().mean() < 0.8


@pytest.mark.parametrize("size", [(128, 64), (45, 23)])
def test_blur_is_a_sampled_gaussian_with_replicated_edges(size):
    picture, sigma, radius = noise(*size).astype(np.float64), 1.7, 6  # 3 sigma
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    expected = np.pad(picture, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    for axis in (0, 1):
        expected = np.apply_along_axis(np.convolve, axis, expected, kernel, mode="valid")
    ours = blur(batch(picture.astype(np.float32)), np.array([sigma]))[0]
    assert_close(ours, torch.tensor(expected).permute(2, 0, 1).float(), atol=1e-3, rtol=0)


def test_blurring_while_resizing_equals_blurring_afterwards():
    pictures = batch(noise(128, 64, 0), noise(128, 64, 1))
    rows, columns, sigma = [(10, 60), (0, 128)], [(0, 64), (20, 30)], np.array([1.3, 0.0])
    plain = resample(pictures, span(*rows), span(*columns), 64, 32)
    at_once = resample(pictures, span(*rows, sigma=sigma), span(*columns, sigma=sigma), 64, 32)
    assert_close(at_once, blur(plain, sigma), atol=1e-3, rtol=0)
    assert_close(at_once[1], plain[1])


def test_whole_pictures_of_the_right_size_stay_as_they_are():
    pictures = batch(noise(64, 32))
    assert torch.equal(resize_whole(pictures, torch.tensor([[64, 32]]), 64, 32), pictures.float())


def test_whole_pictures_are_resized_without_the_canvas_around_them():
    picture = noise(100, 40)
    canvas = np.full((120, 70, 3), 255, dtype=np.uint8)
    canvas[:100, :40] = picture
    ours = resize_whole(batch(canvas), torch.tensor([[100, 40]]), 64, 32)[0]
    expected = of_pillow(Image.fromarray(picture).resize((32, 64), Image.Resampling.BILINEAR))
    assert_close(ours, expected, atol=PILLOW_ROUNDS, rtol=0)
