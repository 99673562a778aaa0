import numpy as np
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.transforms import functional as vision

from upreid.data.augment.parameters import Boxes
from upreid.data.augment.photometric import erase, make_grey, normalise

MEAN, STD = (0.35, 0.31, 0.32), (0.26, 0.25, 0.24)


def pictures(count=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 20, 10), generator=generator).float()


def test_grey_agrees_with_pillow_and_leaves_the_others():
    images = pictures()
    grey = images.clone()
    make_grey(grey, np.array([False, True, False]))
    pillow = Image.fromarray(images[1].permute(1, 2, 0).byte().numpy()).convert("L")
    assert_close(grey[1], torch.tensor(np.asarray(pillow)).float().expand(3, -1, -1), atol=0.51, rtol=0)
    assert torch.equal(grey[[0, 2]], images[[0, 2]])


def test_normalising_equals_torchvision():
    images = pictures()
    expected = vision.normalize(images / 255, MEAN, STD)
    assert_close(normalise(images, MEAN, STD), expected)


def test_erasing_sets_a_box_of_each_image_to_zero_and_nothing_else():
    images = pictures() + 1
    boxes = Boxes(
        top=np.array([2, 0, 5]),
        left=np.array([1, 0, 9]),
        height=np.array([7, 0, 15]),
        width=np.array([3, 0, 1]),
    )
    erased = images.clone()
    erase(erased, boxes)
    expected = images.clone()
    expected[0, :, 2:9, 1:4] = 0
    expected[2, :, 5:20, 9:10] = 0
    assert torch.equal(erased, expected)
