"""The memory of camera-aware proxies: what it holds, what features are compared with, and how it follows them."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from upreid.losses.camera_proxies import Proxies, inter_camera_contrast, intra_camera_contrast
from upreid.losses.cluster import UPDATES
from upreid.methods.camera_memory import CameraMemory

CLASSES = torch.tensor([1, 0, -1, 1, 1, 0, 2, 2])
CAMERAS = torch.tensor([3, 1, 1, 1, 3, 1, 1, 3])
OWN, PROXIES = (
    torch.tensor([2, 0, -1, 1, 2, 0, 3, 4]),
    Proxies(torch.tensor([0, 1, 1, 2, 2]), torch.tensor([1, 1, 3, 1, 3])),
)
PLACES = torch.tensor([4, 3, 1, 7])
"""The images of a batch."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def filled(update: str = "every") -> CameraMemory:
    how = {"negatives": 2, "across_weight": 0.7, "update": update, "momentum": 0.3, "temperature": 0.2}
    memory = CameraMemory(5, **how).double()
    memory.fill(noise(8, 5), CLASSES, CAMERAS)
    return memory


def test_it_holds_the_mean_direction_of_each_camera_of_each_cluster() -> None:
    memory, features = filled(), F.normalize(noise(8, 5))
    assert torch.equal(memory.own, OWN)
    assert torch.equal(memory.clusters, PROXIES.clusters)
    assert torch.equal(memory.cameras, PROXIES.cameras)
    assert_close(memory.vectors[2], F.normalize(features[0] + features[4], dim=0))
    assert_close(memory.vectors[1], features[3])


def test_its_losses_are_those_within_and_across_cameras_and_only_the_second_is_weighted() -> None:
    memory, features = filled(), F.normalize(noise(4, 5, seed=1))
    given = features, OWN[PLACES], memory.vectors, PROXIES
    expected = {
        "camera": intra_camera_contrast(*given, temperature=0.2),
        "across_cameras": inter_camera_contrast(*given, negatives=2, temperature=0.2),
    }
    assert_close(memory.losses("cluster", features, {"classes": CLASSES[PLACES], "places": PLACES}), expected)
    assert memory.weights() == {"across_cameras": 0.7}


@pytest.mark.parametrize("update", UPDATES)
def test_the_proxies_of_a_batch_follow_its_features_and_the_others_stay(update: str) -> None:
    memory, features = filled(update), F.normalize(noise(4, 5, seed=1))
    before = memory.vectors
    memory.follow(features, {"classes": CLASSES[PLACES], "places": PLACES})
    assert_close(memory.vectors, UPDATES[update](before, features, OWN[PLACES], momentum=0.3))
    assert [not torch.equal(a, b) for a, b in zip(before, memory.vectors, strict=True)] == [
        True,
        True,
        True,
        False,
        True,
    ]


def test_a_memory_with_the_shapes_of_a_state_can_take_its_tensors() -> None:
    full = filled()
    empty = CameraMemory(5, momentum=0.3).double()
    tensors = dict(full.named_buffers())
    empty.make_room({name: tensor.shape for name, tensor in tensors.items()})
    empty.load_state_dict(tensors)
    assert all(torch.equal(a, b) for a, b in zip(empty.buffers(), full.buffers(), strict=True))
