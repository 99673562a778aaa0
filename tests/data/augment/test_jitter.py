import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.transforms import functional as vision

from upreid.data.augment.parameters import Jitter
from upreid.data.augment.photometric import jitter

STEPS = vision.adjust_brightness, vision.adjust_contrast, vision.adjust_saturation, vision.adjust_hue


def pictures(count=3):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 40, 20), generator=generator, dtype=torch.uint8)
    images[:, :, :4] = images[:, :1, :4]  # greys, whose hue is undefined
    images[:, :, 4] = 0
    images[:, :, 5] = 255
    return images


@pytest.mark.parametrize("number", range(4), ids=lambda number: STEPS[number].__name__)
def test_each_step_equals_torchvision_on_floats(number):
    strengths = (0.63, 1.0, 1.4) if number < 3 else (-0.1, 0.0, 0.07)
    images = pictures().float()
    expected = [STEPS[number](image / 255, s) * 255 for image, s in zip(images, strengths, strict=True)]
    amounts = np.tile([1.0, 1.0, 1.0, 0.0], (3, 1))
    amounts[:, number] = strengths
    jitter(images, Jitter(is_on=np.ones(3, dtype=bool), amounts=amounts, order=np.tile(np.arange(4), (3, 1))))
    assert_close(images, torch.stack(expected), atol=0.02, rtol=0)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_four_steps_in_any_order_equal_torchvision_on_floats(order):
    values = np.array([1.2, 0.7, 1.3, 0.08])
    picture = pictures(1).float()
    expected = picture[0] / 255
    for number in order:
        expected = STEPS[number](expected, values[number])
    jitter(picture, Jitter(is_on=np.array([True]), amounts=values[None], order=np.array([order])))
    assert_close(picture[0], expected * 255, atol=0.05, rtol=0)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_four_steps_agree_with_the_pillow_pipeline(order):
    """Pillow rounds after every step, and its hue has 256 values: 2 of 255 on average, 14 at worst."""
    values = np.array([1.2, 0.7, 1.3, 0.08])
    picture = pictures(1)
    expected = Image.fromarray(picture[0].permute(1, 2, 0).numpy())
    for number in order:
        expected = STEPS[number](expected, values[number])
    ours = picture.float()
    jitter(ours, Jitter(is_on=np.array([True]), amounts=values[None], order=np.array([order])))
    difference = (ours[0] - torch.tensor(np.asarray(expected)).permute(2, 0, 1)).abs()
    assert difference.max() < 14
    assert difference.mean() < 2


def test_each_image_has_its_own_amounts_and_order_and_some_have_none():
    values = np.array([[1.3, 0.7, 1.2, 0.05], [0.8, 1.4, 0.6, -0.1], [1.1, 1.1, 1.1, 0.1]])
    orders = np.array([[0, 1, 2, 3], [3, 1, 0, 2], [2, 1, 0, 3]])
    is_on = np.array([True, True, False])
    images = pictures().float()
    together = images.clone()
    jitter(together, Jitter(is_on=is_on, amounts=values, order=orders))
    for row in range(3):
        alone = images[row : row + 1].clone()
        some = slice(row, row + 1)
        jitter(alone, Jitter(is_on=is_on[some], amounts=values[some], order=orders[some]))
        assert_close(together[row], alone[0])
    assert torch.equal(together[2], images[2])
    assert not torch.equal(together[0], images[0])


def test_the_order_of_the_steps_matters():
    image, results = pictures(1).float(), []
    for order in ((0, 1, 2, 3), (1, 0, 2, 3)):
        changed = image.clone()
        values = np.array([[1.4, 1.4, 1.0, 0.0]])
        jitter(changed, Jitter(is_on=np.array([True]), amounts=values, order=np.array([order])))
        results.append(changed)
    assert (results[0] - results[1]).abs().max() > 1
