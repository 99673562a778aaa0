"""Camera-aware proxies: how clusters are split by camera, and the two losses over them."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from upreid.losses.camera_proxies import Proxies, inter_camera_contrast, intra_camera_contrast, split_by_camera
from upreid.losses.cluster import cluster_contrast, cluster_means

TEMPERATURE = 0.2
CLUSTERS = torch.tensor([2, 0, 2, 1, 2, 0, -1, 2, 3])
CAMERAS = torch.tensor([5, 1, 1, 5, 3, 1, 1, 5, 3])
OF_IMAGES, PROXIES = split_by_camera(CLUSTERS, CAMERAS)
BATCH = torch.tensor([0, 1, 2, 3, 4, 5, 8])
"""Places of the images that belong to a cluster; clusters 0, 1 and 3 are seen by one camera only."""
OWN = OF_IMAGES[BATCH]


def unit(*shape: int, seed: int = 0) -> Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=numbers, dtype=torch.float64), dim=-1)


def intra(features: Tensor, own: Tensor, memory: Tensor, proxies: Proxies) -> Tensor:
    return intra_camera_contrast(features, own, memory, proxies, temperature=TEMPERATURE)


def inter(features: Tensor, own: Tensor, memory: Tensor, proxies: Proxies, negatives: int = 2) -> Tensor:
    return inter_camera_contrast(features, own, memory, proxies, negatives=negatives, temperature=TEMPERATURE)


def slow_intra(features: Tensor, own: Tensor, memory: Tensor, proxies: Proxies) -> Tensor:
    loss = torch.zeros((), dtype=features.dtype)
    for feature, mine in zip(features, own.tolist(), strict=True):
        rivals = [p for p in range(len(memory)) if proxies.cameras[p] == proxies.cameras[mine]]
        similarity = torch.stack([feature @ memory[p] / TEMPERATURE for p in rivals])
        loss = loss - similarity.log_softmax(0)[rivals.index(mine)] / len(features)
    return loss


def slow_inter(features: Tensor, own: Tensor, memory: Tensor, proxies: Proxies, negatives: int = 2) -> Tensor:
    loss = torch.zeros((), dtype=features.dtype)
    cluster, camera = (some.tolist() for some in proxies)
    for feature, mine in zip(features, own.tolist(), strict=True):
        everyone = [(p, feature @ memory[p] / TEMPERATURE) for p in range(len(memory))]
        positives = [s for p, s in everyone if cluster[p] == cluster[mine] and camera[p] != camera[mine]]
        others = sorted((s for p, s in everyone if cluster[p] != cluster[mine]), key=lambda s: s.item(), reverse=True)
        if positives:
            chances = torch.stack(positives + others[:negatives]).log_softmax(0)
            loss = loss - chances[: len(positives)].mean() / len(features)
    return loss


LOSSES = {"intra": (intra, slow_intra), "inter": (inter, slow_inter)}


def test_a_cluster_is_split_by_camera_and_outliers_have_no_proxy() -> None:
    assert list(zip(*(some.tolist() for some in PROXIES), strict=True)) == [
        (0, 1),
        (1, 5),
        (2, 1),
        (2, 3),
        (2, 5),
        (3, 3),
    ]
    assert OF_IMAGES.tolist() == [4, 0, 2, 1, 3, 0, -1, 4, 5]


def test_a_proxy_is_the_mean_direction_of_its_cluster_in_its_camera() -> None:
    features = unit(9, 5)
    means = cluster_means(features, OF_IMAGES)
    assert_close(means[4], F.normalize(features[0] + features[7], dim=0))
    assert_close(means[3], features[4])


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradient_equal_those_of_the_loop(name: str) -> None:
    ours, theirs = (unit(7, 5).requires_grad_() for _ in range(2))
    memory, (fast, slow) = unit(6, 5, seed=1), LOSSES[name]
    results = fast(ours, OWN, memory, PROXIES), slow(theirs, OWN, memory, PROXIES)
    for one in results:
        one.backward()
    assert_close(*results)
    assert_close(ours.grad, theirs.grad)
    assert ours.grad is not None
    assert ours.grad.abs().sum() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_only_the_features_learn(name: str) -> None:
    features, memory, loss = unit(7, 5).requires_grad_(), unit(6, 5, seed=1).requires_grad_(), LOSSES[name][0]
    loss(features, OWN, memory, PROXIES).backward()
    assert memory.grad is None
    assert torch.autograd.gradcheck(lambda some: loss(some, OWN, memory, PROXIES), (features,))


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_the_proxies_does_not_matter(name: str) -> None:
    features, memory, loss = unit(7, 5), unit(6, 5, seed=1), LOSSES[name][0]
    order = torch.tensor([3, 5, 0, 4, 1, 2])
    shuffled = Proxies(PROXIES.clusters[order], PROXIES.cameras[order])
    assert_close(loss(features, order.argsort()[OWN], memory[order], shuffled), loss(features, OWN, memory, PROXIES))


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_a_batch_is_the_mean_of_those_of_its_parts(name: str) -> None:
    features, memory, loss = unit(6, 5), unit(6, 5, seed=1), LOSSES[name][0]
    parts = [loss(features[part], OWN[part], memory, PROXIES) for part in (slice(0, 3), slice(3, 6))]
    assert_close(sum(parts) / 2, loss(features, OWN[:6], memory, PROXIES))


def test_with_one_camera_there_is_the_cluster_loss_alone() -> None:
    clusters, cameras = torch.tensor([0, 1, 2, 1]), torch.zeros(4, dtype=torch.long)
    features, memory = unit(4, 5).requires_grad_(), unit(3, 5, seed=1)
    own, proxies = split_by_camera(clusters, cameras)
    assert_close(
        intra(features, own, memory, proxies), cluster_contrast(features, clusters, memory, temperature=TEMPERATURE)
    )
    loss = inter(features, own, memory, proxies)
    loss.backward()
    assert loss.item() == 0
    assert features.grad is not None
    assert torch.equal(features.grad, torch.zeros_like(features))


def test_images_of_a_cluster_in_one_camera_only_learn_nothing_across_cameras() -> None:
    features = unit(7, 5).requires_grad_()
    inter(features, OWN, unit(6, 5, seed=1), PROXIES).backward()
    assert features.grad is not None
    learns = features.grad.abs().sum(dim=1) > 0
    assert learns.tolist() == [CLUSTERS[place] == 2 for place in BATCH]


def test_without_any_cluster_there_is_no_proxy() -> None:
    own, proxies = split_by_camera(torch.full((3,), -1), torch.arange(3))
    assert own.tolist() == [-1, -1, -1]
    assert len(proxies.clusters) == len(proxies.cameras) == 0


def test_where_there_are_fewer_negatives_than_asked_for_all_of_them_count() -> None:
    features, memory = unit(7, 5), unit(6, 5, seed=1)
    some = [inter(features, OWN, memory, PROXIES, negatives) for negatives in (1, 2, 3)]
    assert all(fewer < more for fewer, more in pairwise(some))
    assert_close(inter(features, OWN, memory, PROXIES, 50), some[-1])


def test_a_cluster_without_rivals_has_a_finite_gradient() -> None:
    proxies, own = Proxies(torch.tensor([0, 0]), torch.tensor([1, 2])), torch.tensor([0, 1])
    features = unit(2, 5).requires_grad_()
    loss = inter(features, own, unit(2, 5, seed=1), proxies)
    loss.backward()
    assert loss.item() == pytest.approx(0)
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_a_feature_at_right_angles_to_all_proxies_costs_the_logarithm_of_their_number() -> None:
    memory = torch.eye(7, dtype=torch.float64)[:6]
    feature, own = torch.eye(7, dtype=torch.float64)[6:], torch.tensor([4])
    assert intra(feature, own, memory, PROXIES).item() == pytest.approx(math.log(2))
    assert inter(feature, own, memory, PROXIES).item() == pytest.approx(math.log(2 + 2))
