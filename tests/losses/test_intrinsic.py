import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from upreid.errors import InputError
from upreid.losses.intrinsic import READINGS

BATCH, IMAGES, PATCHES, COLUMNS, DIM = 3, 4, 6, 2, 5
OWN = torch.tensor([2, 0, 3])
CASES = [(name, hardest) for name in READINGS for hardest in (None, 2)]


def unit(*shape, seed=0):
    numbers = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=numbers, dtype=torch.float64), dim=-1)


@pytest.fixture
def patches():
    return unit(BATCH, PATCHES, DIM, seed=1), unit(IMAGES, PATCHES, DIM, seed=2)


def loss_of(name, query, key, own=OWN, hardest=None, columns=COLUMNS, temperature=0.2):
    return READINGS[name].loss(query, key, own, temperature=temperature, hardest=hardest, columns=columns)


def slow_twin(name, query, key, own=OWN, hardest=None, columns=COLUMNS):
    loss = 0
    for i in range(len(query)):
        mine = key[own[i]]
        for m, z in enumerate(query[i]):
            positive = z @ mine[m]
            inside = [z @ mine[n] for n in range(len(mine)) if n != m]
            if name == "i-b":
                positive = min(z @ k for k in mine)
                negatives = [max(z @ k for k in key[j]) for j in range(len(key)) if j != own[i]]
            elif name == "i-c":
                negatives = [z @ mine[n] for n in range(len(mine)) if n // columns != m // columns]
            elif name == "i-d":
                negatives = inside + [z @ key[j, m] for j in range(len(key)) if j != own[i]]
            else:
                negatives = inside
            kept = sorted(negatives, reverse=True)[:hardest]
            loss = loss - torch.log_softmax(torch.stack([positive, *kept]) / 0.2, 0)[0]
    return loss / (len(query) * query.shape[1])


@pytest.mark.parametrize(("name", "hardest"), CASES)
def test_each_reading_equals_its_slow_twin_value_and_gradient(name, hardest, patches):
    query, key = patches
    results = []
    for function in (loss_of, slow_twin):
        student = query.clone().requires_grad_()
        value = function(name, student, key, hardest=hardest)
        results.append((value.detach(), torch.autograd.grad(value, student)[0]))
    torch.testing.assert_close(results[0], results[1])


@pytest.mark.parametrize("name", READINGS)
def test_only_the_query_learns(name, patches):
    query, key = (part.clone().requires_grad_() for part in patches)
    loss_of(name, query, key).backward()
    assert (query.grad.abs().sum(dim=(1, 2)) > 0).all()
    assert key.grad is None


@pytest.mark.parametrize(("name", "hardest"), CASES)
def test_gradcheck(name, hardest, patches):
    query, key = patches
    assert torch.autograd.gradcheck(lambda q: loss_of(name, q, key, hardest=hardest), query.requires_grad_())


@pytest.mark.parametrize(
    ("name", "images", "count", "hardest", "candidates", "value"),
    [
        ("i-a", 2, 8, None, 8, 2.08),
        ("i-a", 2, 8, 3, 4, 1.39),
        ("i-b", 64, 8, None, 64, 4.16),
        ("i-c", 2, 8, None, 7, 1.95),
        ("i-d", 64, 8, None, 71, 4.26),
        ("i-d", 320, 8, None, 327, 5.79),
    ],
)
def test_a_collapsed_encoder_gives_the_logarithm_of_the_candidates(name, images, count, hardest, candidates, value):
    same = unit(1, 1, 4).expand(images, count, 4)
    loss = loss_of(name, same, same, torch.arange(images), hardest=hardest)
    assert loss.item() == pytest.approx(math.log(candidates))
    assert round(loss.item(), 2) == value


def test_the_optimum_within_an_image_is_a_regular_simplex():
    count = 8
    simplex = torch.eye(count, dtype=torch.float64) - 1 / count
    vectors = F.normalize(simplex, dim=1)[None]
    loss = loss_of("i-a", vectors, vectors, torch.tensor([0]), temperature=0.1)
    assert loss.item() == pytest.approx(7.6e-5, rel=0.01)


def test_a_closed_form():
    east, north = [1.0, 0.0], [0.0, 1.0]
    one = torch.tensor([[east, north]]).double()
    both = torch.cat([one, one.flip(1)])
    own = torch.tensor([0])
    assert loss_of("i-a", one, both, own, temperature=0.5).item() == pytest.approx(math.log(1 + math.exp(-2)))
    # same position of the other image: similarity 0; and one negative inside
    assert loss_of("i-d", one, both, own, temperature=0.5).item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))
    # two levels of two patches: the patch beside is no negative, those of the other level are
    grid = torch.tensor([[east, north, north, north]]).double()
    costs = [math.log(1 + 2 * math.exp(-2)), math.log(3), math.log(2 + math.exp(-2)), math.log(2 + math.exp(-2))]
    loss = loss_of("i-c", grid, grid, own, temperature=0.5)
    assert loss.item() == pytest.approx(sum(costs) / 4)
    # hardest positive 0, hardest negative 1
    assert loss_of("i-b", one, both, own, temperature=0.5).item() == pytest.approx(math.log(1 + math.exp(2)))


@pytest.mark.parametrize("name", READINGS)
def test_keeping_all_negatives_is_no_mining_and_fewer_negatives_cost_less(name, patches):
    query, key = patches
    available = {"i-a": PATCHES - 1, "i-b": IMAGES - 1, "i-c": PATCHES - COLUMNS, "i-d": PATCHES - 1 + IMAGES - 1}[name]
    assert READINGS[name].num_negatives(PATCHES, COLUMNS, IMAGES) == available
    values = [loss_of(name, query, key, hardest=count) for count in range(1, available + 1)]
    assert all(less < more for less, more in pairwise(values))
    torch.testing.assert_close(values[-1], loss_of(name, query, key))
    for wrong in (0, available + 1):
        with pytest.raises(InputError, match=f"{wrong} negatives out of {available}"):
            loss_of(name, query, key, hardest=wrong)


def test_patches_of_the_same_height_are_left_out_of_i_c_and_of_nothing_else(patches):
    query, key = patches
    changed = key.clone()
    changed[OWN[0], 1] = unit(DIM, seed=9)  # beside patch 0, on its level

    def first_patch(name, some):
        student = query[:1].clone().requires_grad_()
        return torch.autograd.grad(loss_of(name, student, some, OWN[:1]), student)[0][0, 0]

    assert torch.equal(first_patch("i-c", key), first_patch("i-c", changed))
    assert not torch.equal(first_patch("i-a", key), first_patch("i-a", changed))


def test_with_one_column_i_c_is_i_a(patches):
    torch.testing.assert_close(loss_of("i-c", *patches, columns=1), loss_of("i-a", *patches))


@pytest.mark.parametrize("name", READINGS)
def test_only_readings_that_say_so_look_at_other_images(name, patches):
    query, key = patches
    others = key.clone()
    others[1] = unit(PATCHES, DIM, seed=9)  # nobody's own
    assert (loss_of(name, query, key) != loss_of(name, query, others)) == READINGS[name].crosses_images


@pytest.mark.parametrize("name", READINGS)
def test_order_of_images_and_rotation_change_nothing(name, patches):
    query, key = patches
    base = loss_of(name, query, key)
    batch, images = torch.tensor([1, 2, 0]), torch.tensor([3, 0, 2, 1])
    torch.testing.assert_close(loss_of(name, query[batch], key[images], images.argsort()[OWN[batch]]), base)
    rotation = torch.linalg.qr(unit(DIM, DIM, seed=4))[0]
    torch.testing.assert_close(loss_of(name, query @ rotation, key @ rotation), base)


@pytest.mark.parametrize("name", READINGS)
def test_shares_of_the_batch_average_to_the_whole(name, patches):
    query, key = patches
    parts = [loss_of(name, query[i : i + 1], key, OWN[i : i + 1]) for i in range(BATCH)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss_of(name, query, key))


@pytest.mark.parametrize("hardest", [None, 1])
@pytest.mark.parametrize(
    ("name", "images", "count"), [("i-a", 2, 1), ("i-b", 1, PATCHES), ("i-c", 2, COLUMNS), ("i-d", 1, 1)]
)
def test_a_patch_without_negatives_is_refused_because_it_would_teach_nothing(name, images, count, hardest):
    some = unit(images, count, DIM)
    with pytest.raises(InputError, match=r"no negatives.*use more patch rows.*a batch of 2"):
        loss_of(name, some, some, torch.arange(images), hardest=hardest)


@pytest.mark.parametrize(("name", "images", "count"), [("i-a", 1, 2), ("i-b", 2, 1), ("i-d", 2, 1), ("i-d", 1, 2)])
def test_one_negative_is_enough_to_learn_from(name, images, count):
    query = unit(images, count, DIM, seed=1).requires_grad_()
    loss_of(name, query, unit(images, count, DIM, seed=2), torch.arange(images)).backward()
    assert query.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("name", "hardest"), CASES)
def test_half_precision_stays_finite_in_value_and_gradient(name, hardest, dtype, patches):
    query, key = (part.to(dtype) for part in patches)
    loss = loss_of(name, query.requires_grad_(), key, hardest=hardest, temperature=0.04)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(query.grad).all()


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that an operation returned (torch has no public name for this hook)."""

    entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for part in result if isinstance(result, tuple | list) else [result]:
            if isinstance(part, Tensor):
                self.entries = max(self.entries, part.numel())
        return result


@pytest.mark.parametrize(
    ("name", "largest"),
    [("i-a", 16 * 8 * 8), ("i-b", (16 * 8) ** 2), ("i-c", 16 * 8 * 8), ("i-d", 16 * 8 * (16 + 8 + 1))],
)
def test_no_tensor_grows_beyond_what_the_reading_compares(name, largest):
    query, key = unit(16, 8, 2, seed=1), unit(16, 8, 2, seed=2)
    with Largest() as seen:
        loss_of(name, query, key, torch.arange(16))
    assert largest / 2 < seen.entries <= largest * 9 / 8  # the positive joins its negatives


def test_the_hardest_image_reading_keeps_no_table_of_all_pairs_for_its_backward_pass():
    query, key, kept = unit(16, 8, 2, seed=1).requires_grad_(), unit(16, 8, 2, seed=2), []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss_of("i-b", query, key, torch.arange(16))
    assert max(kept) <= 16 * 8 * (16 + 1)
