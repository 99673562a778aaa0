from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from torch.testing import assert_close
from torchvision.transforms import functional as vision

from upreid.data.augment import (
    PATCH_PRESETS,
    PRESETS,
    Augment,
    Augmentation,
    OriginalView,
    PatchGrid,
    PatchView,
    StrongView,
)
from upreid.data.augment.parameters import draw_appearance, draw_crops, draw_flips, image_numbers
from upreid.data.augment.presets import PATCH
from upreid.errors import InputError
from upreid.types import ImageBatch, Preprocess

MEAN, STD = (0.35, 0.31, 0.32), (0.26, 0.25, 0.24)
PREPROCESS = Preprocess(height=64, width=32, mean=MEAN, std=STD)
GRID = PatchGrid(rows=4, columns=2)
NAMES = "query", "key", "original", "query_patches", "key_patches"


def photograph(height, width, seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def as_batch(pictures, indices=None, epoch=0):
    pixels = torch.stack([vision.pil_to_tensor(picture) for picture in pictures])
    sizes = torch.tensor([[picture.height, picture.width] for picture in pictures])
    indices = torch.tensor(range(len(pictures)) if indices is None else indices)
    return ImageBatch(pixels=pixels, extents=sizes, file_sizes=sizes, indices=indices, epoch=epoch)


def augment(name="luperson", seed=0, original=True, patches=GRID, patch_preset=PATCH):
    preset = PRESETS[name] if isinstance(name, str) else name
    views = {"query": StrongView(preset=preset), "key": StrongView(preset=preset)}
    if original:
        views["original"] = OriginalView()
    if patches:
        how = {"preset": patch_preset, "grid": patches, "flip_probability": preset.flip_probability}
        views |= {f"{one}_patches": PatchView(stream=f"patches-{one}", **how) for one in ("query", "key")}
    return Augment(views, preprocess=PREPROCESS, seed=seed)


def in_pillow(picture, row, view, preset, batch):
    """The pipeline of MoCo v2 and LUPerson on one image, with the parameters of our draw."""
    numbers = image_numbers(0, batch.epoch, batch.indices.numpy(), view)
    box, look = draw_crops(numbers, preset, batch.file_sizes.numpy()), draw_appearance(numbers, preset, 64, 32)
    image = vision.resized_crop(picture, box.top[row], box.left[row], box.height[row], box.width[row], (64, 32))
    if look.jitter is not None and look.jitter.is_on[row]:
        steps = vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation, vision.adjust_hue
        for number in look.jitter.order[row]:
            image = steps[number](image, look.jitter.amounts[row, number])
    if look.is_grey[row]:
        image = image.convert("L").convert("RGB")
    if look.sigma[row] > 0:
        image = image.filter(ImageFilter.GaussianBlur(float(look.sigma[row])))
    if draw_flips(numbers, preset.flip_probability)[row]:
        image = vision.hflip(image)
    erased = look.erased
    tensor = vision.normalize(vision.to_tensor(image), MEAN, STD)
    box = erased.top[row], erased.left[row], erased.height[row], erased.width[row]
    return vision.erase(tensor, *box, torch.tensor(0.0))


@pytest.mark.parametrize(
    ("preset", "worst", "average"),
    [
        (replace(PRESETS["luperson"], blur_probability=0.0), 1.6, 0.5),
        (replace(PRESETS["person"], blur_probability=0.0), 1.6, 0.5),
        (PRESETS["luperson"], 6.5, 0.6),
        (PRESETS["person-jitter"], 40, 1.5),
    ],
    ids=["luperson-sharp", "person-sharp", "luperson", "person-jitter"],
)
def test_views_agree_with_the_pillow_pipeline_for_the_same_parameters(preset, worst, average):
    """Of 255. Pillow rounds after each step, its blur is made of boxes, its hue has 256 values and is cut off."""
    pictures = [photograph(128, 64, seed) for seed in range(40)]
    batch = as_batch(pictures)
    ours = augment(preset)(batch)
    for view in ("query", "key"):
        expected = torch.stack([in_pillow(image, row, view, preset, batch) for row, image in enumerate(pictures)])
        difference = (ours[view] - expected).abs() * torch.tensor(STD)[:, None, None] * 255
        assert difference.max() < worst
        assert difference.mean() < average
        erased = [(views == 0).all(dim=1) for views in (ours[view], expected)]
        assert torch.equal(*erased)


def test_the_original_is_the_resized_and_normalised_picture():
    picture = photograph(128, 64, 0)
    expected = vision.normalize(vision.to_tensor(picture.resize((32, 64), Image.Resampling.BILINEAR)), MEAN, STD)
    difference = (augment()(as_batch([picture]))["original"][0] - expected).abs() * torch.tensor(STD)[:, None, None]
    assert difference.max() < 1.01 / 255


def test_eight_identical_images_come_out_as_eight_different_ones():
    views = augment()(as_batch([photograph(128, 64, 0)] * 8))
    assert len({image.numpy().tobytes() for image in (*views["query"], *views["key"])}) == 16
    patches = torch.cat([views["query_patches"], views["key_patches"]]).flatten(0, 1)  # a few draw no change at all
    assert len({patch.numpy().tobytes() for patch in patches}) > 0.95 * 2 * 8 * GRID.num_patches
    assert len({image.numpy().tobytes() for image in views["original"]}) == 1


def test_the_same_batch_gives_the_same_views_bit_for_bit():
    batch = as_batch([photograph(128, 64, seed) for seed in range(20)])
    first, second = augment("luperson-jitter")(batch), augment("luperson-jitter")(batch)
    for name in NAMES:
        assert torch.equal(first[name], second[name]), name


def test_views_belong_to_the_image_wherever_it_stands_in_whatever_batch():
    pictures = [photograph(128, 64, seed) for seed in range(20)]
    large = augment("luperson-jitter")(as_batch(pictures))
    small = augment("luperson-jitter")(as_batch([pictures[i] for i in (17, 3, 8)], indices=[17, 3, 8]))
    for name in NAMES:
        assert_close(small[name], large[name][[17, 3, 8]], atol=1e-4, rtol=1e-4)


def test_a_larger_canvas_changes_nothing():
    batch = as_batch([photograph(100, 50, seed) for seed in range(4)])
    canvas = torch.full((4, 3, 130, 90), 255, dtype=torch.uint8)
    canvas[:, :, :100, :50] = batch.pixels
    padded, plain = augment()(replace(batch, pixels=canvas)), augment()(batch)
    for name in NAMES:
        assert_close(padded[name], plain[name], atol=1e-4, rtol=1e-4)


def test_boxes_are_drawn_in_the_file_and_carried_over_to_what_decoding_left_of_it():
    full = photograph(256, 128, 0)
    whole = as_batch([full])
    half = as_batch([full.resize((64, 256), Image.Resampling.BILINEAR)])  # one axis only
    shrunk = replace(half, file_sizes=whole.file_sizes)
    difference = augment()(shrunk)["query"] - augment()(whole)["query"]
    assert difference.abs().mean() < 0.03
    assert (augment()(half)["query"] - augment()(whole)["query"]).abs().mean() > 0


@pytest.mark.parametrize("change", [{"epoch": 1}, {"indices": torch.arange(5, 9)}])
def test_another_epoch_or_image_gets_other_views(change):
    batch = as_batch([photograph(128, 64, 0)] * 4)
    first, second = augment()(batch), augment()(replace(batch, **change))
    for name in ("query", "key", "query_patches", "key_patches"):
        for a, b in zip(first[name], second[name], strict=True):
            assert not torch.equal(a, b), name


def test_mixed_precision_around_it_changes_nothing():
    batch = as_batch([photograph(128, 64, 0)] * 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = augment()(batch)
    assert mixed["query"].dtype == torch.float32
    assert torch.equal(mixed["query"], augment()(batch)["query"])


def test_another_seed_gives_other_views():
    batch = as_batch([photograph(128, 64, 0)] * 4)
    for a, b in zip(augment(seed=0)(batch)["query"], augment(seed=1)(batch)["query"], strict=True):
        assert not torch.equal(a, b)


def test_views_lie_in_memory_as_networks_expect_them():
    views = augment()(as_batch([photograph(100, 50, seed) for seed in range(40)]))
    assert all(views[name].is_contiguous() for name in NAMES)


def test_views_that_nobody_wants_are_not_made():
    views = augment(original=False, patches=None)(as_batch([photograph(128, 64, 0)]))
    assert views.keys() == {"query", "key"}


def test_a_view_may_have_a_size_of_its_own():
    crop = StrongView(preset=PRESETS["luperson"], height=32, width=16)
    views = Augment({"local": crop, "whole": OriginalView()}, preprocess=PREPROCESS, seed=0)(
        as_batch([photograph(128, 64, seed) for seed in range(3)])
    )
    assert views["local"].shape == (3, 3, 32, 16)
    assert views["whole"].shape == (3, 3, 64, 32)


def test_both_versions_of_the_patches_are_mirrored_together():
    """One column per patch tells left from right: with the looks switched off, versions must be equal."""
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], (128, 1, 3))
    batch = as_batch([Image.fromarray(ramp)] * 32)
    views = augment()(batch)
    rises = [(tiles[..., -1] - tiles[..., 0]).flatten(1) for tiles in (views["query_patches"], views["key_patches"])]
    directions = [rise.median(dim=1).values.sign() for rise in rises]
    assert torch.equal(*directions)
    assert set(directions[0].tolist()) == {-1.0, 1.0}


def test_patches_show_the_place_of_the_original_that_their_position_says():
    mild = replace(PRESETS["luperson"], flip_probability=0.0)
    picture = photograph(128, 64, 0)
    views = augment(mild)(as_batch([picture] * 16))
    expected = GRID.cut(views["original"])
    for version in (views["query_patches"], views["key_patches"]):
        typical = version.median(dim=0).values
        distances = (typical[:, None] - expected[0][None]).abs().mean(dim=(2, 3, 4))
        assert distances.argmin(dim=1).tolist() == list(range(GRID.num_patches))
        assert distances.diagonal().max() < 0.3 < 0.6 < distances.fill_diagonal_(9.0).min()


def test_patches_with_nothing_switched_on_are_those_of_the_original():
    still = replace(PRESETS["luperson"], flip_probability=0.0)
    views = augment(still, patch_preset=Augmentation())(as_batch([photograph(128, 64, 0)]))
    for version in (views["query_patches"], views["key_patches"]):
        assert_close(version, GRID.cut(views["original"]))


@pytest.mark.parametrize("name", PATCH_PRESETS)
def test_only_jittered_patches_change_their_hue(name):
    red = Image.new("RGB", (64, 128), (200, 60, 60))
    views = augment(patch_preset=replace(PATCH_PRESETS[name], erase_probability=0.0))(as_batch([red] * 32))
    levels = views["query_patches"] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    turned = (levels[:, :, 1] - levels[:, :, 2]).abs().amax(dim=(2, 3)) > 0.02
    assert turned.any() == (name == "jitter")


def test_a_batch_in_several_chunks_equals_its_images_one_by_one():
    pictures = [photograph(64, 32, seed) for seed in range(35)]
    together = augment()(as_batch(pictures))
    for row in (0, 16, 34):
        alone = augment()(as_batch([pictures[row]], indices=[row]))
        for name in NAMES:
            assert_close(alone[name][0], together[name][row], atol=1e-4, rtol=1e-4)


def test_nothing_switched_on_gives_the_original():
    whole = Augmentation(crop_area=(1.0, 1.0), crop_ratio=(0.5, 0.5))
    views = augment(whole)(as_batch([photograph(128, 64, 0), photograph(128, 64, 1)]))
    assert_close(views["query"], views["original"], atol=1e-5, rtol=1e-5)


def test_a_grid_that_does_not_fit_is_refused_at_once():
    with pytest.raises(InputError, match="does not divide an input of 64 x 32"):
        augment(patches=PatchGrid(rows=3, columns=2))
