import math

import pytest
import torch
from torch.nn import functional as F

from upreid.errors import InputError
from upreid.losses.consistency import READINGS
from upreid.losses.contrast import info_nce

STUDENT, TEACHER = 0.2, 0.1
BATCH, ANCHORS, DIM = 3, 6, 5
DIVERGENCES = ["g-queue", "g-batch", "g-rel"]
OWN = torch.tensor([4, 0, 2])


def unit(*shape, seed=0):
    numbers = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=numbers, dtype=torch.float64), dim=-1)


@pytest.fixture
def vectors():
    anchors = unit(ANCHORS, DIM, seed=3)
    original = anchors[OWN].clone()  # an image's original stands among the anchors at its place
    return unit(BATCH, DIM, seed=1), original, anchors


def loss_of(name, query, original, anchors, own=OWN, student=STUDENT, teacher=TEACHER):
    return READINGS[name].loss(query, original, anchors, own, temperature=student, teacher_temperature=teacher)


def slow_twin(name, query, original, anchors, own=OWN):
    loss = 0
    for i, (q, o) in enumerate(zip(query, original, strict=True)):
        if name == "g-cos":
            loss = loss + (q - o).pow(2).sum()
        elif name in ("g-pos", "g-key"):
            scores = torch.stack([q @ o, *(q @ a for a in anchors)]) / STUDENT
            loss = loss - scores[0] + torch.logsumexp(scores, 0)
        else:
            some = [a for j, a in enumerate(anchors) if not (name == "g-batch" and j == own[i])]
            p = torch.stack([o @ a for a in some]).div(TEACHER).exp()
            s = torch.stack([q @ a for a in some]).div(STUDENT).exp()
            p, s = p / p.sum(), s / s.sum()
            loss = loss + sum(a * (a.log() - b.log()) for a, b in zip(p, s, strict=True))
    return loss / len(query)


@pytest.mark.parametrize("name", READINGS)
def test_each_reading_equals_its_slow_twin_value_and_gradient(name, vectors):
    query, original, anchors = vectors
    results = []
    for function in (loss_of, slow_twin):
        student = query.clone().requires_grad_()
        # the twins agree on unit vectors only: keep the length inside
        value = function(name, F.normalize(student, dim=1), original, anchors)
        results.append((value.detach(), torch.autograd.grad(value, student)[0]))
    torch.testing.assert_close(results[0], results[1])
    assert results[0][0] > 0


@pytest.mark.parametrize("name", READINGS)
def test_only_the_query_learns(name, vectors):
    leaves = [vector.clone().requires_grad_() for vector in vectors]
    loss_of(name, *leaves).backward()
    assert leaves[0].grad.abs().sum() > 0
    assert leaves[1].grad is None
    assert leaves[2].grad is None


@pytest.mark.parametrize("name", READINGS)
def test_gradcheck(name, vectors):
    query, original, anchors = vectors
    assert torch.autograd.gradcheck(lambda q: loss_of(name, q, original, anchors), query.requires_grad_())


@pytest.mark.parametrize("name", [*DIVERGENCES, "g-cos"])
def test_a_view_equal_to_its_original_costs_nothing_at_equal_temperatures(name, vectors):
    _, original, anchors = vectors
    student = original.clone().requires_grad_()
    loss = loss_of(name, student, original, anchors, student=0.1, teacher=0.1)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    gradient = torch.autograd.grad(loss, student)[0]
    # a distance still pulls along the original, which leaves a unit vector where it is; a divergence is at rest
    expected = -2 * original / BATCH if name == "g-cos" else torch.zeros_like(original)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("name", [*DIVERGENCES, "g-cos"])
def test_a_collapsed_encoder_costs_nothing_so_the_term_cannot_replace_instance_contrast(name):
    same = unit(1, DIM)
    loss = loss_of(name, same.expand(BATCH, DIM), same.expand(BATCH, DIM), same.expand(ANCHORS, DIM))
    assert loss.item() == pytest.approx(0, abs=1e-12)


def test_the_gradient_of_the_distance_is_minus_two_originals(vectors):
    query, original, anchors = vectors
    student = query.clone().requires_grad_()
    gradient = torch.autograd.grad(loss_of("g-cos", student, original, anchors), student)[0]
    torch.testing.assert_close(gradient, -2 * original / BATCH)


def test_the_table_says_what_the_step_must_hand_over():
    wanted = {name: reading.anchors for name, reading in READINGS.items()}
    assert wanted == {
        "g-queue": "keys",
        "g-batch": "batch",
        "g-cos": "none",
        "g-pos": "keys",
        "g-key": "originals",
        "g-rel": "originals",
    }


@pytest.mark.parametrize("name", READINGS)
def test_anchors_matter_unless_the_table_says_none_and_own_only_where_it_says_batch(name, vectors):
    query, original, anchors = vectors
    base = loss_of(name, query, original, anchors)
    assert (loss_of(name, query, original, unit(ANCHORS, DIM, seed=8)) != base) == (READINGS[name].anchors != "none")
    assert (loss_of(name, query, original, anchors, own=OWN.roll(1)) != base) == (READINGS[name].anchors == "batch")


def test_the_batch_reading_needs_two_images():
    one = unit(1, DIM)
    with pytest.raises(InputError, match="got 1; use a batch of 2 or more"):
        loss_of("g-batch", one, one, one, torch.tensor([0]))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_gradient_of_a_divergence_is_the_formula_of_the_handbook(name, vectors):
    query, original, anchors = vectors
    query = query.clone().requires_grad_()
    gradient = torch.autograd.grad(loss_of(name, query, original, anchors), query)[0]
    p, s = (original @ anchors.T / TEACHER).clone(), (query @ anchors.T / STUDENT).detach()
    if name == "g-batch":
        rows = torch.arange(BATCH)
        p[rows, OWN] = s[rows, OWN] = -math.inf
    expected = (s.softmax(1) - p.softmax(1)) @ anchors / STUDENT / BATCH
    torch.testing.assert_close(gradient, expected)


def test_the_batch_reading_leaves_the_own_original_out_and_the_others_do_not(vectors):
    query, original, anchors = vectors
    one, other = anchors.clone(), anchors.clone()
    other[OWN[0]] = unit(DIM, seed=9)
    for name in DIVERGENCES:
        values = [loss_of(name, query[:1], original[:1], some, OWN[:1]) for some in (one, other)]
        assert (values[0] == values[1]) == (name == "g-batch")


def test_closed_forms():
    east, north = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 1.0]]).double()
    own, both = torch.tensor([0]), torch.cat([east, north])
    assert loss_of("g-cos", east, north, both, own).item() == pytest.approx(2)
    assert loss_of("g-pos", east, east, north, own, student=0.5).item() == pytest.approx(math.log(1 + math.exp(-2)))
    # anchors east and north: the teacher looks east with odds e to 1, the student north with the same odds
    p = math.e / (1 + math.e)
    for name in ("g-queue", "g-rel"):
        assert loss_of(name, north, east, both, own, 1.0, 1.0).item() == pytest.approx(2 * p - 1)
    # the same two among three anchors, the first of which is one's own
    assert loss_of("g-batch", north, east, torch.cat([east, both]), own, 1.0, 1.0).item() == pytest.approx(2 * p - 1)
    # half the temperature doubles the teacher's odds exponent only: P is sharper, S is as before
    sharp = math.e**2 / (1 + math.e**2)
    expected = sharp * math.log(sharp / (1 - p)) + (1 - sharp) * math.log((1 - sharp) / p)
    assert loss_of("g-queue", north, east, both, own, 1.0, 0.5).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["g-pos", "g-key"])
def test_the_extra_positive_is_instance_contrast_with_the_original_for_a_key(name, vectors):
    query, original, anchors = vectors
    torch.testing.assert_close(
        loss_of(name, query, original, anchors), info_nce(query, original, anchors, temperature=STUDENT)
    )


@pytest.mark.parametrize("name", READINGS)
def test_order_of_batch_and_anchors_and_rotation_change_nothing(name, vectors):
    query, original, anchors = vectors
    base = loss_of(name, query, original, anchors)
    batch, places = torch.tensor([2, 0, 1]), torch.tensor([3, 1, 0, 5, 4, 2])
    own = places.argsort()[OWN[batch]]
    torch.testing.assert_close(loss_of(name, query[batch], original[batch], anchors[places], own), base)
    rotation = torch.linalg.qr(unit(DIM, DIM, seed=4))[0]
    torch.testing.assert_close(loss_of(name, *(vector @ rotation for vector in vectors)), base)


@pytest.mark.parametrize("name", READINGS)
def test_shares_of_the_batch_average_to_the_whole(name, vectors):
    query, original, anchors = vectors
    parts = [loss_of(name, query[i : i + 1], original[i : i + 1], anchors, OWN[i : i + 1]) for i in range(BATCH)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss_of(name, query, original, anchors))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", READINGS)
def test_half_precision_stays_finite_in_value_and_gradient(name, dtype, vectors):
    query, original, anchors = (vector.to(dtype) for vector in vectors)
    loss = loss_of(name, query.requires_grad_(), original, anchors, student=0.04, teacher=0.04)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(query.grad).all()
    assert loss.dtype == (torch.float32 if name in DIVERGENCES else dtype)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_single_precision_is_close_to_double(name, vectors):
    exact = loss_of(name, *vectors)
    assert exact.dtype == torch.float64
    torch.testing.assert_close(
        loss_of(name, *(vector.float() for vector in vectors)).double(), exact, rtol=1e-4, atol=1e-5
    )


def test_a_sharper_teacher_changes_the_target(vectors):
    assert loss_of("g-rel", *vectors, teacher=0.04) != loss_of("g-rel", *vectors, teacher=0.1)


@pytest.mark.parametrize("name", READINGS)
def test_anchors_that_are_left_out_might_as_well_not_be_there(name, vectors):
    query, original, anchors = vectors
    kept = [0, 2, 4, 5]
    gone = torch.ones(ANCHORS, dtype=torch.bool)
    gone[kept] = False
    how = {"temperature": STUDENT, "teacher_temperature": TEACHER}
    student, twin = query.clone().requires_grad_(), query.clone().requires_grad_()
    own = torch.tensor([4, 0, 2])
    loss = READINGS[name].loss(student, original, anchors, own, **how, left_out=gone.expand(BATCH, -1))
    fewer = READINGS[name].loss(twin, original, anchors[kept], torch.tensor([2, 0, 1]), **how)
    torch.testing.assert_close(loss, fewer)
    torch.testing.assert_close(torch.autograd.grad(loss, student)[0], torch.autograd.grad(fewer, twin)[0])
