import math

import pytest
import torch
from torch.nn import functional as F

from upreid.losses.contrast import info_nce, mean_nce


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=numbers, dtype=torch.float64), dim=-1)


def slow_twin(query, key, negatives, *, temperature):
    loss = 0
    for q, k in zip(query, key, strict=True):
        scores = torch.stack([q @ k, *(q @ n for n in negatives)]) / temperature
        loss = loss - torch.log_softmax(scores, dim=0)[0] / len(query)
    return loss


@pytest.fixture
def vectors():
    return unit(3, 5, seed=1), unit(3, 5, seed=2), unit(7, 5, seed=3)


def test_it_equals_its_slow_twin_value_and_gradient(vectors):
    query, key, negatives = vectors
    values, gradients = [], []
    for loss in (info_nce, slow_twin):
        student = query.clone().requires_grad_()
        value = loss(student, key, negatives, temperature=0.2)
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value, student)[0])
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


def test_only_the_query_learns(vectors):
    leaves = [vector.clone().requires_grad_() for vector in vectors]
    info_nce(*leaves, temperature=0.2).backward()
    assert leaves[0].grad.abs().sum() > 0
    assert leaves[1].grad is None
    assert leaves[2].grad is None


def test_gradcheck(vectors):
    query, key, negatives = vectors
    assert torch.autograd.gradcheck(lambda q: info_nce(q, key, negatives, temperature=0.2), query.requires_grad_())


def test_the_gradient_is_the_formula_of_the_handbook(vectors):
    query, key, negatives = vectors
    query = query.clone().requires_grad_()
    gradient = torch.autograd.grad(info_nce(query, key, negatives, temperature=0.2), query)[0]
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ negatives.T], 1) / 0.2
    p = logits.softmax(1).detach()
    expected = ((p[:, :1] - 1) * key + p[:, 1:] @ negatives) / 0.2 / len(query)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(("queue", "value"), [(65536, 11.09), (4096, 8.32), (2048, 7.62)])
def test_a_collapsed_encoder_gives_the_logarithm_of_the_candidates(queue, value):
    same = unit(1, 4)
    loss = info_nce(same.expand(2, 4), same.expand(2, 4), same.expand(queue, 4), temperature=0.1)
    assert loss.item() == pytest.approx(math.log(queue + 1))
    assert loss.item() == pytest.approx(value, abs=0.01)  # the handbook rounds down


def test_a_closed_form():
    east, north = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    loss = info_nce(east, east, north, temperature=0.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_finite_in_value_and_gradient(dtype, vectors):
    query, key, negatives = (vector.to(dtype) for vector in vectors)
    loss = info_nce(query.requires_grad_(), key, negatives, temperature=0.04)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(query.grad).all()


def test_shares_of_the_batch_average_to_the_whole(vectors):
    query, key, negatives = vectors
    parts = [info_nce(query[i : i + 1], key[i : i + 1], negatives, temperature=0.2) for i in range(len(query))]
    torch.testing.assert_close(torch.stack(parts).mean(), info_nce(query, key, negatives, temperature=0.2))


def test_order_of_batch_and_queue_and_rotation_change_nothing(vectors):
    query, key, negatives = vectors
    base = info_nce(query, key, negatives, temperature=0.2)
    batch, queue = torch.tensor([2, 0, 1]), torch.randperm(7, generator=torch.Generator().manual_seed(0))
    rotation = torch.linalg.qr(unit(5, 5, seed=4))[0]
    torch.testing.assert_close(info_nce(query[batch], key[batch], negatives[queue], temperature=0.2), base)
    torch.testing.assert_close(info_nce(*(v @ rotation for v in vectors), temperature=0.2), base)


MASK = torch.tensor([[1, 0, 0, 1, 0, 0, 0], [0] * 7, [1] * 7], dtype=torch.bool)


def slow_without(query, key, negatives, left_out):
    loss = 0
    for q, k, row in zip(query, key, left_out, strict=True):
        scores = torch.stack([q @ k, *(q @ n for n, gone in zip(negatives, row, strict=True) if not gone)]) / 0.2
        loss = loss - torch.log_softmax(scores, dim=0)[0] / len(query)
    return loss


def slow_mean(query, key, others, positives):
    loss = 0
    for q, k, row in zip(query, key, positives, strict=True):
        scores = torch.log_softmax(torch.stack([q @ k, *(q @ n for n in others)]) / 0.2, dim=0)
        chosen = [scores[0], *(score for score, yes in zip(scores[1:], row, strict=True) if yes)]
        loss = loss - sum(chosen) / len(chosen) / len(query)
    return loss


PAIRS = [
    (lambda q, k, n, mask: info_nce(q, k, n, temperature=0.2, left_out=mask), slow_without),
    (lambda q, k, n, mask: mean_nce(q, k, n, mask, temperature=0.2), slow_mean),
]


@pytest.mark.parametrize(("loss", "slow"), PAIRS, ids=["left out", "positives"])
def test_keys_of_the_own_tracklet_are_left_out_or_are_positives_as_in_the_slow_twin(loss, slow, vectors):
    query, key, negatives = vectors
    student = query.clone().requires_grad_()
    values = [one(student, key, negatives, MASK) for one in (loss, slow)]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(value, student)[0] for value in values))


@pytest.mark.parametrize(("loss", "slow"), PAIRS, ids=["left out", "positives"])
def test_without_keys_of_the_own_tracklet_it_is_the_plain_loss_and_only_the_query_learns(loss, slow, vectors):
    leaves = [vector.clone().requires_grad_() for vector in vectors]
    value = loss(*leaves, torch.zeros_like(MASK))
    torch.testing.assert_close(value, info_nce(*leaves, temperature=0.2))
    value.backward()
    assert leaves[0].grad.abs().sum() > 0
    assert leaves[1].grad is leaves[2].grad is None
    assert torch.autograd.gradcheck(lambda q: loss(q, *vectors[1:], MASK), vectors[0].requires_grad_())


def test_closed_forms_of_a_positive_in_the_queue_and_of_one_left_out():
    east, north = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    queue, mask = torch.cat([east, north]), torch.tensor([[True, False]])
    without = info_nce(east, east, queue, temperature=1.0, left_out=mask)
    assert without.item() == pytest.approx(math.log(1 + math.exp(-1)))
    with_both = mean_nce(east, east, queue, mask, temperature=1.0)
    assert with_both.item() == pytest.approx(math.log(2 + math.exp(-1)))
    assert mean_nce(east, east, east, mask[:, :1], temperature=1.0).item() == pytest.approx(math.log(2))
