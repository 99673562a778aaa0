import torch

from upreid.retrieval.features import encode_batches

CPU = torch.device("cpu")
CAMERAS = torch.arange(5)


def first_column(images, cameras):
    return images[:, 0, :, 0]


def test_features_come_in_the_order_of_the_images_and_without_gradient():
    images = torch.randn(5, 3, 4, 2)
    found = encode_batches(first_column, images.split(2), CAMERAS, device=CPU, quiet=True)
    assert torch.equal(found, images[:, 0, :, 0])
    assert found.is_inference()


def test_every_image_is_encoded_with_its_own_camera():
    images, cameras = torch.randn(5, 3, 4, 2), torch.tensor([3, 1, 4, 1, 5])
    found = encode_batches(
        lambda _, cameras: cameras[:, None], images.split(2), cameras, device=CPU, flip=True, quiet=True
    )
    assert torch.equal(found[:, 0], cameras.float())


def test_flip_averages_with_the_mirror_image():
    images = torch.randn(5, 3, 4, 2)
    found = encode_batches(first_column, images.split(2), CAMERAS, device=CPU, flip=True, quiet=True)
    torch.testing.assert_close(found, images[:, 0].mean(2))


def test_features_are_in_single_precision():
    batches = [torch.randn(2, 3, 4, 2)]
    found = encode_batches(lambda x, _: x[:, 0, 0].bfloat16(), batches, CAMERAS[:2], device=CPU, quiet=True)
    assert found.dtype == torch.float32


def test_a_rank_without_images_shows_no_progress(capsys):
    assert encode_batches(first_column, [], CAMERAS[:0], device=CPU).shape == (0, 0)
    assert capsys.readouterr() == ("", "")
