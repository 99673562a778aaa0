import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from upreid.data.augment.geometry import KERNELS, cubic, resize_whole, triangle

SIZES = [((128, 64), (384, 128)), ((300, 140), (64, 32)), ((20, 10), (64, 32)), ((64, 32), (64, 48))]


@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("file", "wanted"), SIZES)
def test_a_whole_picture_is_resized_as_pillow_does_it(
    name: str, file: tuple[int, int], wanted: tuple[int, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*file, 3), dtype=np.uint8)  # the hardest picture for a cubic
    pillow = Image.fromarray(noise).resize(wanted[::-1], Image.Resampling[name.upper()])
    canvas = torch.from_numpy(noise).permute(2, 0, 1)[None].contiguous()
    ours = resize_whole(canvas, torch.tensor([file]), *wanted, name)[0].permute(1, 2, 0)
    assert_close(ours, torch.from_numpy(np.asarray(pillow).copy()).float(), rtol=0, atol=1.6)  # Pillow rounds twice
    assert ours.min() >= 0
    assert ours.max() <= 255


def test_the_filters_are_those_of_their_definitions() -> None:
    assert_close(triangle(torch.tensor([0.0, 0.25, 1.0, 3.0])), torch.tensor([1.0, 0.75, 0.0, 0.0]))
    assert_close(cubic(torch.tensor([0.0, 1.0, 1.5, 2.0, 2.5])), torch.tensor([1.0, 0.0, -0.0625, 0.0, 0.0]))
    for kernel in KERNELS.values():  # weights of any phase sum to one: a flat picture stays as it is
        for phase in np.linspace(0, 1, 7):
            places = torch.arange(-3.0, 4.0) - phase
            assert_close(kernel.weigh(places.abs()).sum(), torch.tensor(1.0))
