import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from upreid.losses.identity import smoothed_cross_entropy

SMOOTHINGS = [0.0, 0.1, 0.5, 1.0]


def slow(logits: Tensor, people: Tensor, smoothing: float) -> Tensor:
    loss = logits.new_zeros(())
    for scores, person in zip(logits, people.tolist(), strict=True):
        target = [smoothing / len(scores)] * len(scores)
        target[person] += 1 - smoothing
        log_share = scores - scores.exp().sum().log()
        for share, value in zip(target, log_share, strict=True):
            loss = loss - share * value / len(logits)
    return loss


def example(batch: int = 6, people: int = 5) -> tuple[Tensor, Tensor]:
    numbers = torch.Generator().manual_seed(3)
    logits = torch.randn(batch, people, generator=numbers, dtype=torch.float64, requires_grad=True)
    return logits, torch.randint(people, (batch,), generator=numbers)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_equals_its_slow_twin_in_value_and_gradient(smoothing: float) -> None:
    logits, people = example()
    ours = smoothed_cross_entropy(logits, people, smoothing=smoothing)
    theirs = slow(logits, people, smoothing)
    assert_close(ours, theirs)
    gradient, expected = (torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs))
    assert_close(gradient, expected)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_gradient_agrees_with_finite_differences(smoothing: float) -> None:
    logits, people = example()
    assert torch.autograd.gradcheck(lambda x: smoothed_cross_entropy(x, people, smoothing=smoothing), logits)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_equal_scores_cost_the_logarithm_of_the_number_of_people(smoothing: float) -> None:
    loss = smoothed_cross_entropy(torch.zeros(3, 7), torch.tensor([0, 3, 6]), smoothing=smoothing)
    assert_close(loss.item(), math.log(7))


def test_two_people_by_hand() -> None:
    # softmax of (ln 3, 0) is (3/4, 1/4); the right person's share is 1 - 0.2 * 1/2 = 0.9, the other's 0.1
    logits = torch.tensor([[math.log(3), 0.0]], dtype=torch.float64)
    loss = smoothed_cross_entropy(logits, torch.tensor([0]), smoothing=0.2)
    assert_close(loss.item(), -(0.9 * math.log(0.75) + 0.1 * math.log(0.25)))


def test_smoothing_makes_certainty_cost_something_and_none_makes_it_free() -> None:
    certain = torch.tensor([[100.0, 0.0]], dtype=torch.float64)
    person = torch.tensor([0])
    assert smoothed_cross_entropy(certain, person, smoothing=0.0) < 1e-9
    assert_close(smoothed_cross_entropy(certain, person, smoothing=0.1).item(), 0.05 * 100.0)


def test_order_of_batch_and_names_of_people_do_not_matter() -> None:
    logits, people = example()
    loss = smoothed_cross_entropy(logits, people, smoothing=0.1)
    order, names = torch.tensor([5, 0, 3, 1, 4, 2]), torch.tensor([2, 0, 4, 1, 3])
    renamed = torch.empty_like(logits)
    renamed[:, names] = logits
    assert_close(smoothed_cross_entropy(renamed[order], names[people[order]], smoothing=0.1), loss)
