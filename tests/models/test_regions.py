import pytest
import torch
from torch import Tensor

from upreid.models.regions import LEAST_OVERLAP, overlap_of, regions_of_boxes, regions_of_grid

ROWS, COLUMNS = 3, 2


def slow_regions(maps: Tensor, boxes: Tensor) -> Tensor:
    """Cut each box into parts, and add up what each part has of each cell of the map."""
    height, width = maps.shape[2:]
    found = []
    for one, (top, left, bottom, right) in zip(maps, boxes.tolist(), strict=True):
        for row in range(ROWS):
            for column in range(COLUMNS):
                ys = [top + (bottom - top) * (row + end) / ROWS for end in (0, 1)]
                xs = sorted(left + (right - left) * (column + end) / COLUMNS for end in (0, 1))
                total, area = torch.zeros(maps.shape[1], dtype=maps.dtype), 0.0
                for y in range(height):
                    for x in range(width):
                        tall = max(0.0, min(ys[1] * height, y + 1) - max(ys[0] * height, y))
                        wide = max(0.0, min(xs[1] * width, x + 1) - max(xs[0] * width, x))
                        total, area = total + tall * wide * one[:, y, x], area + tall * wide
                found.append(total / area)
    return torch.stack(found).view(len(maps), ROWS * COLUMNS, -1)


def test_regions_of_boxes_equal_their_slow_twin_value_and_gradient() -> None:
    boxes = torch.tensor([[0, 0, 1, 1], [0.1, 0.2, 0.73, 0.9], [0.3, 1, 0.8, 0.25], [0.5, 0.4, 0.6, 0.3]]).double()
    maps = torch.randn(4, 5, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights = torch.randn(4, ROWS * COLUMNS, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    results = []
    for function in (lambda some: regions_of_boxes(some, boxes, ROWS, COLUMNS), lambda some: slow_regions(some, boxes)):
        given = maps.clone().requires_grad_()
        regions = function(given)
        results.append((regions.detach(), torch.autograd.grad((weights * regions).sum(), given)[0]))
    torch.testing.assert_close(results[0], results[1])


def test_the_box_of_a_whole_view_is_cut_as_the_aligned_grid() -> None:
    maps = torch.randn(2, 5, 6, 4)
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4)
    aligned = regions_of_grid(maps, ROWS, COLUMNS).transpose(1, 2)
    torch.testing.assert_close(regions_of_boxes(maps, whole, ROWS, COLUMNS), aligned)


def test_a_mirrored_map_in_a_mirrored_box_has_the_same_regions() -> None:
    maps, box = torch.randn(1, 5, 4, 3), torch.tensor([[0.1, 0.2, 0.9, 0.8]])
    mirrored = 1 - box[:, [1, 3]]
    turned = torch.stack([box[:, 0], mirrored[:, 0], box[:, 2], mirrored[:, 1]], dim=1)
    first, second = regions_of_boxes(maps, box, 3, 2), regions_of_boxes(maps.flip(3), turned, 3, 2)
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize(
    ("query", "key", "in_query", "in_key"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]),
        ([0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 1, 0]),  # the key is mirrored
        ([0.2, 0, 1, 1], [0, 0, 0.8, 0.5], [0, 0, 0.75, 0.5], [0.25, 0, 1, 1]),
        ([0.2, 1, 1, 0], [0, 0.6, 0.8, 0.1], [0, 0.9, 0.75, 0.4], [0.25, 1, 1, 0]),
    ],
)
def test_overlaps_by_hand(query: list[float], key: list[float], in_query: list[float], in_key: list[float]) -> None:
    *found, enough = overlap_of(torch.tensor([query]).double(), torch.tensor([key]).double())
    torch.testing.assert_close(found, [torch.tensor([box]).double() for box in (in_query, in_key)])
    assert enough.tolist() == [True]


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ([0, 0, 0.4, 1], [0.6, 0, 1, 1]),  # apart
        ([0, 0, 0.4, 1], [0.4, 0, 1, 1]),  # they touch
        ([0, 0, 1, 1], [0, 0, 1, LEAST_OVERLAP - 0.01]),  # too little of the query's width
        ([0, 0.9, 1, 0], [0, 0.5, 1, 1]),
    ],
)
def test_views_that_hardly_overlap_do_not_count_and_have_whole_boxes(query: list[float], key: list[float]) -> None:
    for pair in ((query, key), (key, query)):
        in_query, in_key, enough = overlap_of(*(torch.tensor([box]).double() for box in pair))
        assert enough.tolist() == [False]
        assert in_query.tolist() == in_key.tolist() == [[0, 0, 1, 1]]
