import torch

from upreid.retrieval.features import extract

CPU = torch.device("cpu")


def first_column(images):
    return images[:, 0, :, 0]


def test_features_come_in_the_order_of_the_images_and_without_gradient():
    images = torch.randn(5, 3, 4, 2)
    found = extract(first_column, images.split(2), total=5, device=CPU, quiet=True)
    assert torch.equal(found, images[:, 0, :, 0])
    assert found.is_inference()


def test_flip_averages_with_the_mirror_image():
    images = torch.randn(5, 3, 4, 2)
    found = extract(first_column, images.split(2), total=5, device=CPU, flip=True, quiet=True)
    torch.testing.assert_close(found, images[:, 0].mean(2))


def test_features_are_in_single_precision():
    found = extract(lambda x: x[:, 0, 0].bfloat16(), [torch.randn(2, 3, 4, 2)], total=2, device=CPU, quiet=True)
    assert found.dtype == torch.float32
