import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp, kstest
from torchvision import transforms

from upreid.data.augment.parameters import (
    draw_appearance,
    draw_crops,
    draw_erasing,
    draw_flips,
    draw_jitter,
    image_numbers,
    part,
    patch_numbers,
)
from upreid.data.augment.presets import LUPERSON, PATCH, PERSON, PRESETS, Augmentation

MANY = 4000
SUSPICIOUS = 1e-4
"""Of a test that is right by luck: seeds are fixed, so it fails always or never."""


def numbers(count=MANY, seed=0, view="query"):
    return image_numbers(seed, 0, np.arange(count), view)


def boxes_of(drawn):
    return np.stack([drawn.top, drawn.left, drawn.height, drawn.width], axis=1)


def assert_same_distribution(ours, theirs):
    for name, a, b in zip(("top", "left", "height", "width"), ours.T, theirs.T, strict=True):
        assert ks_2samp(a, b).pvalue > SUSPICIOUS, name


@pytest.mark.parametrize("size", [(128, 64), (160, 64), (192, 64), (64, 64), (50, 200), (7, 3)])
@pytest.mark.parametrize("preset", [LUPERSON, PERSON], ids=["luperson", "person"])
def test_crop_boxes_are_distributed_as_torchvision_draws_them(size, preset):
    torch.manual_seed(0)
    image = torch.zeros(1, *size)
    draw = transforms.RandomResizedCrop.get_params
    theirs = [draw(image, list(preset.crop_area), list(preset.crop_ratio)) for _ in range(MANY)]
    ours = draw_crops(numbers(), preset, np.tile(size, (MANY, 1)))
    assert_same_distribution(boxes_of(ours), np.array(theirs))


@pytest.mark.parametrize("preset", [LUPERSON, PERSON], ids=["luperson", "person"])
@pytest.mark.parametrize("largest", [3, 300])
def test_crop_boxes_lie_inside_their_own_image(preset, largest):
    sizes = np.random.default_rng(0).integers(1, largest, (MANY, 2))
    boxes = draw_crops(numbers(), preset, sizes)
    assert (boxes.top >= 0).all()
    assert (boxes.left >= 0).all()
    assert (boxes.height >= 1).all()
    assert (boxes.width >= 1).all()
    assert (boxes.top + boxes.height <= sizes[:, 0]).all()
    assert (boxes.left + boxes.width <= sizes[:, 1]).all()


def test_luperson_crops_of_narrow_images_never_show_a_whole_person():
    """Heights covered (median, 95 %, maximum) as simulated for 1:2 images."""
    covered = draw_crops(numbers(20_000), LUPERSON, np.tile((1280, 640), (20_000, 1))).height / 1280
    assert np.round([np.median(covered), np.quantile(covered, 0.95), covered.max()], 2) == pytest.approx(
        [0.43, 0.60, 0.67], abs=0.011
    )


def test_person_crops_are_two_to_three_times_as_high_as_wide():
    boxes = draw_crops(numbers(), PERSON, np.tile((1280, 512), (MANY, 1)))
    ratio = boxes.height / boxes.width
    assert ratio.min() > 1.98
    assert ratio.max() < 3.02
    assert (boxes.height * boxes.width / (1280 * 512)).min() > 0.63


@pytest.mark.parametrize("size", [(128, 64), (64, 32), (8, 8)])
@pytest.mark.parametrize("preset", [LUPERSON, PATCH], ids=["luperson", "patch"])
def test_erased_boxes_are_distributed_as_torchvision_draws_them(size, preset):
    torch.manual_seed(0)
    image = torch.zeros(3, *size)
    draw = transforms.RandomErasing.get_params
    theirs = [draw(image, preset.erase_area, preset.erase_ratio, [0.0])[:4] for _ in range(MANY)]
    theirs = [box for box in theirs if box[2:] != size]  # torchvision's way of saying that nothing is erased
    always = Augmentation(erase_probability=1.0, erase_area=preset.erase_area, erase_ratio=preset.erase_ratio)
    ours = boxes_of(draw_erasing(numbers(), always, *size))
    assert len(theirs) / MANY == pytest.approx((ours[:, 2] > 0).mean(), abs=0.02)
    assert_same_distribution(ours[ours[:, 2] > 0], np.array([box for box in theirs if box[2] > 0]))


def test_steps_happen_as_often_as_their_probability_says():
    look = draw_appearance(numbers(), PRESETS["luperson-jitter"], 64, 32)
    assert draw_flips(numbers(), 0.5).mean() == pytest.approx(0.5, abs=0.03)
    assert look.is_grey.mean() == pytest.approx(0.2, abs=0.03)
    assert (look.sigma > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert (look.erased.height > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert look.jitter.is_on.mean() == pytest.approx(0.8, abs=0.03)


def test_blur_is_uniform_between_its_bounds():
    sigma = draw_appearance(numbers(), LUPERSON, 64, 32).sigma
    assert kstest(sigma[sigma > 0], "uniform", args=(0.1, 1.9)).pvalue > SUSPICIOUS


def test_jitter_is_uniform_and_its_order_a_uniform_permutation():
    drawn = draw_jitter(numbers(), PRESETS["luperson-jitter"])
    for amounts, (low, width) in zip(drawn.amounts.T, [(0.6, 0.8)] * 3 + [(-0.1, 0.2)], strict=True):
        assert kstest(amounts, "uniform", args=(low, width)).pvalue > SUSPICIOUS
    orders, counts = np.unique(drawn.order, axis=0, return_counts=True)
    assert len(orders) == 24
    assert np.abs(counts - MANY / 24).max() < 5 * np.sqrt(MANY / 24)


def test_steps_are_independent_of_each_other():
    look = draw_appearance(numbers(), PRESETS["luperson-jitter"], 64, 32)
    drawn = [
        look.is_grey,
        look.sigma > 0,
        look.erased.height > 0,
        look.jitter.is_on,
        draw_flips(numbers(), 0.5),
    ]
    correlation = np.corrcoef(np.array(drawn, dtype=float)) - np.eye(len(drawn))
    assert np.abs(correlation).max() < 5 / np.sqrt(MANY)


def test_a_step_switched_off_changes_no_number_of_the_others():
    plain, jittered = (draw_appearance(numbers(), PRESETS[name], 64, 32) for name in ("luperson", "luperson-jitter"))
    assert (plain.sigma == jittered.sigma).all()
    assert (plain.erased.top == jittered.erased.top).all()
    assert plain.jitter is None


def test_patches_of_an_image_have_numbers_of_their_own():
    drawn = patch_numbers(numbers(5), num_patches=8)("blur", 2)
    assert drawn.shape == (40, 2)
    assert len(np.unique(drawn)) == 80
    alone = patch_numbers(image_numbers(0, 0, np.array([3]), "query"), num_patches=8)("blur", 2)
    assert (alone == drawn[24:32]).all()


def test_a_part_of_the_draws_is_the_draw_of_a_part():
    whole = draw_appearance(numbers(10), LUPERSON, 64, 32)
    some = part(whole, slice(3, 7))
    assert some.jitter is None
    assert (some.sigma == whole.sigma[3:7]).all()
    assert (some.erased.left == whole.erased.left[3:7]).all()
