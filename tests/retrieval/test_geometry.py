import math

import pytest
import torch
from torch.nn import functional as F

from upreid.retrieval import geometry
from upreid.retrieval.geometry import alignment, camera_bias, patch_discrimination, uniformity


def points(*shape: int, seed: int = 0) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, generator=numbers, dtype=torch.float64), dim=-1)


@pytest.fixture(params=[3, 1024])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "ROWS_AT_A_TIME", request.param)


def test_alignment_equals_its_slow_twin() -> None:
    first, second = points(7, 4), points(7, 4, seed=1)
    slow = sum(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) for x, y in zip(first, second, strict=True)) / 7
    assert alignment(first, second) == pytest.approx(float(slow))
    assert alignment(first, first) == 0
    assert alignment(first, -first) == pytest.approx(4)


def test_uniformity_equals_its_slow_twin(rows: None) -> None:
    some = points(8, 4)
    terms = [
        math.exp(-2 * float(((a - b) ** 2).sum())) for i, a in enumerate(some) for j, b in enumerate(some) if i != j
    ]
    assert uniformity(some) == pytest.approx(math.log(sum(terms) / len(terms)))
    assert uniformity(some[:1].repeat(5, 1)) == pytest.approx(0, abs=1e-12)
    assert uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(-8)


def test_camera_bias_equals_its_slow_twin(rows: None) -> None:
    some = points(20, 5)
    people, cameras = torch.arange(20) % 6, torch.arange(20) % 4
    share, chance = 0.0, 0.0
    for i in range(20):
        strangers = [j for j in range(20) if people[j] != people[i]]
        nearest = max(strangers, key=lambda j: float(some[i] @ some[j]))
        share += float(cameras[nearest] == cameras[i]) / 20
        chance += sum(bool(cameras[j] == cameras[i]) for j in strangers) / len(strangers) / 20
    found = camera_bias(some, people, cameras)
    assert (found.share, found.chance) == (pytest.approx(share), pytest.approx(chance))


def test_features_that_are_the_camera_are_all_bias_and_those_that_are_the_person_none() -> None:
    people, cameras = torch.arange(12) // 3, torch.arange(12) % 3
    assert camera_bias(torch.eye(3)[cameras], people, cameras).share == 1
    by_person = torch.eye(4)[people] + 0.01 * torch.eye(3, 4)[(cameras + people) % 3]
    assert camera_bias(by_person, people, cameras).share < 0.5


def test_patch_discrimination_equals_its_slow_twin() -> None:
    query, key = points(6, 4, 5), points(6, 4, 5, seed=1)
    counts = [0, 0, 0]
    for i in range(6):
        for m in range(4):
            counts[0] += max(range(4), key=lambda n: float(query[i, m] @ key[i, n])) == m
            counts[1] += max(range(4), key=lambda n: float(query[i, m] @ key[(i + 1) % 6, n])) == m
            counts[2] += max(range(6), key=lambda j: float(query[i, m] @ key[j, m])) == i
    found = patch_discrimination(query, key)
    assert [found.within, found.by_position, found.across] == [pytest.approx(count / 24) for count in counts]


def test_a_shortcut_by_position_is_told_from_content() -> None:
    position = torch.eye(4).repeat(6, 1, 1)
    shortcut = patch_discrimination(position, position)
    assert (shortcut.within, shortcut.by_position, shortcut.position_share) == (1, 1, 1)
    content = points(6, 4, 64)
    honest = patch_discrimination(content, content)
    assert (honest.within, honest.across) == (1, 1)
    assert honest.position_share < 0.4


def test_what_is_at_chance_has_no_position_share() -> None:
    assert math.isnan(patch_discrimination(torch.ones(3, 4, 2), torch.ones(3, 4, 2)).position_share)
