"""Hybrid contrast: means over members, and the cross-entropy over all classes."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from upreid.losses.hybrid import Members, class_means, hybrid_contrast, members_of

TEMPERATURE = 0.2
ROWS = torch.tensor(
    [0, 1, 3, 2, -1, 3, 2, 3]
)  # two people, and a cluster of two and one of three images; one image of no class
CLASSES = torch.tensor([3, 0, 2, 1, 3])


def unit(*shape: int, seed: int = 0) -> Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=numbers, dtype=torch.float64), dim=-1)


def slow_contrast(features: Tensor, classes: Tensor, vectors: Tensor, rows: Tensor) -> Tensor:
    loss = torch.zeros((), dtype=features.dtype)
    for feature, own in zip(features, classes, strict=True):
        similarity = [
            torch.stack([feature @ vectors[row] / TEMPERATURE for row in range(len(rows)) if rows[row] == one]).mean()
            for one in range(int(rows.max()) + 1)
        ]
        loss = loss - torch.stack(similarity).log_softmax(0)[own] / len(features)
    return loss


def test_the_loss_and_its_gradient_equal_those_of_the_loop() -> None:
    fast, slow = (unit(5, 6).requires_grad_() for _ in range(2))
    vectors = unit(8, 6, seed=1)
    ours = hybrid_contrast(fast, CLASSES, vectors, members_of(ROWS), temperature=TEMPERATURE)
    theirs = slow_contrast(slow, CLASSES, vectors, ROWS)
    ours.backward()
    theirs.backward()
    assert_close(ours, theirs)
    assert_close(fast.grad, slow.grad)
    assert fast.grad is not None
    assert fast.grad.abs().sum() > 0


def test_only_the_features_learn() -> None:
    features, vectors, members = unit(5, 6).requires_grad_(), unit(8, 6, seed=1).requires_grad_(), members_of(ROWS)
    hybrid_contrast(features, CLASSES, vectors, members, temperature=TEMPERATURE).backward()
    assert vectors.grad is None
    assert torch.autograd.gradcheck(
        lambda some: hybrid_contrast(some, CLASSES, vectors, members, temperature=TEMPERATURE), (features,)
    )


def test_members_stand_class_by_class_and_a_row_of_no_class_nowhere() -> None:
    members = members_of(ROWS)
    assert members.rows.tolist() == [0, 1, 3, 6, 2, 5, 7]
    assert members.sizes.tolist() == [1, 1, 2, 3]


def test_the_mean_of_a_class_is_not_scaled_to_unit_length() -> None:
    """So that a scattered cluster is less similar to everything, as the mean of the similarities to its members is."""
    vectors = torch.eye(2, dtype=torch.float64)
    members = Members(rows=torch.tensor([0, 1]), sizes=torch.tensor([2]))
    assert_close(class_means(vectors, members), torch.tensor([[0.5, 0.5]], dtype=torch.float64))


def test_two_members_that_are_half_as_similar_lose_against_one_single_by_the_closed_form() -> None:
    vectors = torch.eye(3, dtype=torch.float64)  # the cluster {0, 1}, and the single image 2
    feature = vectors[:1]
    loss = hybrid_contrast(feature, torch.tensor([0]), vectors, members_of(torch.tensor([0, 0, 1])), temperature=0.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))  # similarities 0.5 / 0.5 and 0
