"""Cluster contrast, and how the memory follows the features."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from upreid.losses.cluster import UPDATES, cluster_contrast, cluster_means

TEMPERATURE, MOMENTUM = 0.2, 0.3
CLUSTERS = torch.tensor([2, 0, 2, 1, 2, 0])


def unit(*shape: int, seed: int = 0) -> Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=numbers, dtype=torch.float64), dim=-1)


def slow_contrast(features: Tensor, clusters: Tensor, memory: Tensor) -> Tensor:
    loss = torch.zeros((), dtype=features.dtype)
    for feature, own in zip(features, clusters, strict=True):
        similarity = torch.stack([feature @ one / TEMPERATURE for one in memory])
        loss = loss - similarity.log_softmax(0)[own] / len(features)
    return loss


def slow_every(memory: Tensor, features: Tensor, clusters: Tensor) -> Tensor:
    memory = memory.clone()
    for feature, own in zip(features, clusters, strict=True):
        memory[own] = F.normalize(MOMENTUM * memory[own] + (1 - MOMENTUM) * feature, dim=0)
    return memory


def slow_hardest(memory: Tensor, features: Tensor, clusters: Tensor) -> Tensor:
    before, memory = memory, memory.clone()
    for own in set(clusters.tolist()):
        rows = [row for row in range(len(features)) if clusters[row] == own]
        hardest = min(rows, key=lambda row: float(features[row] @ before[own]))
        memory[own] = F.normalize(MOMENTUM * before[own] + (1 - MOMENTUM) * features[hardest], dim=0)
    return memory


SLOW = {"every": slow_every, "hardest": slow_hardest}


def test_the_loss_and_its_gradient_equal_those_of_the_loop() -> None:
    fast, slow = (unit(6, 5).requires_grad_() for _ in range(2))
    memory = unit(4, 5, seed=1)
    ours = cluster_contrast(fast, CLUSTERS, memory, temperature=TEMPERATURE)
    theirs = slow_contrast(slow, CLUSTERS, memory)
    ours.backward()
    theirs.backward()
    assert_close(ours, theirs)
    assert_close(fast.grad, slow.grad)
    assert fast.grad is not None
    assert fast.grad.abs().sum() > 0


def test_only_the_features_learn() -> None:
    features, memory = unit(6, 5).requires_grad_(), unit(4, 5, seed=1).requires_grad_()
    cluster_contrast(features, CLUSTERS, memory, temperature=TEMPERATURE).backward()
    assert memory.grad is None
    assert torch.autograd.gradcheck(
        lambda some: cluster_contrast(some, CLUSTERS, memory, temperature=TEMPERATURE), (features,)
    )


def test_a_feature_at_right_angles_to_all_clusters_costs_the_logarithm_of_their_number() -> None:
    memory = torch.eye(4, dtype=torch.float64)[:3]
    feature = torch.eye(4, dtype=torch.float64)[3:]
    loss = cluster_contrast(feature, torch.tensor([1]), memory, temperature=TEMPERATURE)
    assert loss.item() == pytest.approx(math.log(3))


@pytest.mark.parametrize("update", UPDATES)
def test_the_memory_follows_as_the_loop_does_and_is_not_written_over(update: str) -> None:
    memory, features = unit(4, 5, seed=1), unit(6, 5)
    before = memory.clone()
    assert_close(
        UPDATES[update](memory, features, CLUSTERS, momentum=MOMENTUM), SLOW[update](memory, features, CLUSTERS)
    )
    assert torch.equal(memory, before)


@pytest.mark.parametrize("update", UPDATES)
def test_the_memory_of_clusters_that_are_not_in_the_batch_stays(update: str) -> None:
    memory, features = unit(4, 5, seed=1), unit(6, 5)
    after = UPDATES[update](memory, features, CLUSTERS, momentum=MOMENTUM)
    assert torch.equal(after[3], memory[3])
    assert not torch.equal(after[:3], memory[:3])


def test_the_order_within_a_cluster_matters_to_every_and_not_to_hardest() -> None:
    memory, features, back = unit(4, 5, seed=1), unit(6, 5), torch.arange(5, -1, -1)
    ways = {
        name: [update(memory, features[o], CLUSTERS[o], momentum=MOMENTUM) for o in (torch.arange(6), back)]
        for name, update in UPDATES.items()
    }
    assert_close(*ways["hardest"])
    forward, backward = ways["every"]
    assert not torch.allclose(forward, backward)


def test_the_mean_direction_of_a_cluster_leaves_outliers_out() -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 1.0]])
    means = cluster_means(features, torch.tensor([0, 0, -1, 1]))
    assert_close(means, torch.tensor([[0.5**0.5, 0.5**0.5], [0.0, 1.0]]))
