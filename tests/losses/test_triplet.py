import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from upreid.losses.triplet import batch_hard_triplet

MARGINS = [None, 0.0, 0.3, 100.0]
PEOPLE = torch.tensor([0, 1, 0, 2, 1, 0, 2, 2])


def slow(features: Tensor, people: Tensor, margin: float | None) -> Tensor:
    loss = features.new_zeros(())
    for feature, person in zip(features, people, strict=True):
        distances = [((feature - other) ** 2).sum().clamp_min(1e-12).sqrt() for other in features]
        farthest = max(d for d, other in zip(distances, people, strict=True) if other == person)
        nearest = min(d for d, other in zip(distances, people, strict=True) if other != person)
        gap = farthest - nearest
        term = (1 + gap.exp()).log() if margin is None else (gap + margin).clamp_min(0)
        loss = loss + term / len(features)
    return loss


def example(batch: int = 8, dim: int = 5, seed: int = 1) -> Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return torch.randn(batch, dim, generator=numbers, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("margin", MARGINS)
def test_equals_its_slow_twin_in_value_and_gradient(margin: float | None) -> None:
    features = example()
    ours, theirs = batch_hard_triplet(features, PEOPLE, margin=margin), slow(features, PEOPLE, margin)
    assert_close(ours, theirs)
    gradient, expected = (torch.autograd.grad(loss, features)[0] for loss in (ours, theirs))
    assert_close(gradient, expected)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("margin", MARGINS)
def test_gradient_agrees_with_finite_differences(margin: float | None) -> None:
    assert torch.autograd.gradcheck(lambda x: batch_hard_triplet(x, PEOPLE, margin=margin), example())


@pytest.mark.parametrize(
    ("margin", "of_gap"),
    [
        (0.3, lambda gap: max(0.0, gap + 0.3)),
        (9.0, lambda gap: gap + 9.0),
        (None, lambda gap: math.log1p(math.exp(gap))),
    ],
)
def test_four_points_on_a_line_by_hand(margin: float | None, of_gap: Callable[[float], float]) -> None:
    # person 0 at 0 and 3, person 1 at 4 and 10; farthest own and nearest other, from left to right: 3|4, 3|1, 6|1, 6|7
    features = torch.tensor([[0.0], [3.0], [4.0], [10.0]], dtype=torch.float64)
    loss = batch_hard_triplet(features, torch.tensor([0, 0, 1, 1]), margin=margin)
    assert_close(loss.item(), sum(of_gap(gap) for gap in (3 - 4, 3 - 1, 6 - 1, 6 - 7)) / 4)


@pytest.mark.parametrize("margin", [None, 0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_features_have_a_finite_gradient_and_the_loss_of_no_gap(margin: float | None, dtype: torch.dtype) -> None:
    features = torch.full((8, 5), 0.5, dtype=dtype, requires_grad=True)  # no rounding: exactly 0 apart
    loss = batch_hard_triplet(features, PEOPLE, margin=margin)
    assert_close(loss.item(), math.log(2) if margin is None else margin, rtol=0, atol=1e-3)
    (gradient,) = torch.autograd.grad(loss, features)
    assert gradient.isfinite().all()


def test_a_person_with_one_image_in_the_batch_is_at_no_distance_from_itself() -> None:
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    loss = batch_hard_triplet(features, torch.tensor([0, 1]), margin=6.0)
    assert_close(loss.item(), 6.0 - 5.0, rtol=0, atol=1e-5)


@pytest.mark.parametrize("margin", MARGINS)
def test_a_batch_of_one_person_costs_nothing_and_moves_nothing(margin: float | None) -> None:
    features = example()
    loss = batch_hard_triplet(features, torch.zeros(8, dtype=torch.long), margin=margin)
    assert loss.item() == 0
    assert torch.equal(torch.autograd.grad(loss, features)[0], torch.zeros(8, 5, dtype=torch.float64))


def test_people_far_apart_cost_nothing_with_a_margin_and_something_without() -> None:
    features = torch.tensor([[0.0], [0.1], [5.0], [5.1]], dtype=torch.float64)
    people = torch.tensor([0, 0, 1, 1])
    assert batch_hard_triplet(features, people, margin=0.3).item() == 0
    assert 0 < batch_hard_triplet(features, people, margin=None).item() < 0.01


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), margin=st.sampled_from(MARGINS))
def test_order_rotation_and_shift_of_the_space_do_not_matter(seed: int, margin: float | None) -> None:
    features = example(seed=seed).detach()
    numbers = torch.Generator().manual_seed(seed)
    order = torch.randperm(8, generator=numbers)
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=numbers, dtype=torch.float64))[0]
    moved = (features @ rotation + torch.randn(5, generator=numbers, dtype=torch.float64))[order]
    loss = batch_hard_triplet(features, PEOPLE, margin=margin)
    assert_close(batch_hard_triplet(moved, PEOPLE[order], margin=margin), loss)


def test_a_step_against_the_gradient_brings_a_person_together() -> None:
    features = example()
    loss = batch_hard_triplet(features, PEOPLE, margin=100.0)
    (gradient,) = torch.autograd.grad(loss, features)
    assert batch_hard_triplet(features - 0.01 * gradient, PEOPLE, margin=100.0) < loss
