import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from upreid.losses.circle import circle_logits

SCALE, MARGIN = 16.0, 0.35


def slow(similarity: Tensor, people: Tensor) -> Tensor:
    rows = []
    for row, person in zip(similarity, people.tolist(), strict=True):
        for column, s in enumerate(row):
            weight = max(0.0, 1 + MARGIN - s.item()) if column == person else max(0.0, s.item() + MARGIN)
            target = 1 - MARGIN if column == person else MARGIN
            rows.append(SCALE * weight * (s - target))
    return torch.stack(rows).view(similarity.shape)


def example() -> tuple[Tensor, Tensor]:
    numbers = torch.Generator().manual_seed(1)
    similarity = torch.rand(6, 5, generator=numbers, dtype=torch.float64) * 2 - 1
    return similarity.requires_grad_(), torch.randint(5, (6,), generator=numbers)


def test_equals_its_slow_twin_in_value_and_gradient() -> None:
    similarity, people = example()
    ours, theirs = circle_logits(similarity, people, scale=SCALE, margin=MARGIN), slow(similarity, people)
    assert_close(ours, theirs)
    losses = [F.cross_entropy(logits, people) for logits in (ours, theirs)]
    gradient, expected = (torch.autograd.grad(loss, similarity)[0] for loss in losses)
    assert_close(gradient, expected)
    assert gradient.abs().sum() > 0


def test_a_pair_is_pulled_as_hard_as_it_is_far_from_where_it_should_be() -> None:
    similarity = torch.tensor([[0.2, 0.9], [0.8, 0.1]], dtype=torch.float64, requires_grad=True)
    circle_logits(similarity, torch.tensor([0, 0]), scale=1.0, margin=0.25).sum().backward()
    assert similarity.grad is not None
    assert_close(similarity.grad, torch.tensor([[1.05, 1.15], [0.45, 0.35]], dtype=torch.float64))


def test_by_hand() -> None:
    # right: 2 [1.25 - 0.5] (0.5 - 0.75) = -0.375; wrong: 2 [0.5 + 0.25] (0.5 - 0.25) = 0.375; far below: no weight
    logits = circle_logits(torch.tensor([[0.5, 0.5, -0.5]]), torch.tensor([0]), scale=2.0, margin=0.25)
    assert_close(logits, torch.tensor([[-0.375, 0.375, 0.0]]))


@pytest.mark.parametrize("people", [[0, 1, 2], [2, 2, 2]])
def test_permuting_the_classes_permutes_the_logits(people: list[int]) -> None:
    similarity, order = torch.rand(3, 4) * 2 - 1, torch.tensor([2, 0, 3, 1])
    ours = circle_logits(similarity, torch.tensor(people), scale=4.0, margin=0.1)
    moved = torch.tensor([order.tolist().index(person) for person in people])
    assert_close(circle_logits(similarity[:, order], moved, scale=4.0, margin=0.1), ours[:, order])
