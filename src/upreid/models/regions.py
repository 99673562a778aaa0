"""Regions of feature maps: parts of an aligned grid, or of the place where two crops of a picture overlap.

A box is (top, left, bottom, right) in fractions of a picture or of a view. One that is mirrored has its right edge left of its
left edge, so that a column keeps its meaning in a view that is mirrored and in one that is not.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LEAST_OVERLAP = 0.5
"""Share of both sides of both views that an overlap needs; the regions of a smaller one are the same few places of the map."""


def overlap_of(
    query: Float[Tensor, "batch 4"], key: Float[Tensor, "batch 4"]
) -> tuple[Float[Tensor, "batch 4"], Float[Tensor, "batch 4"], Bool[Tensor, " batch"]]:
    """Return where two views of each picture overlap, as a box in each of the views, and whether that is enough.

    Where it is not, the boxes are the whole views.

        for q, k in zip(query, key):
            top, bottom = max(q.top, k.top), min(q.bottom, k.bottom), and left and right likewise
            in_query = (top - q.top) / (q.bottom - q.top), (left - q.left) / (q.right - q.left), ...
    """
    edges = [torch.stack([view[:, :2], view[:, 2:]]) for view in (query, key)]  # [2, batch, (y, x)]
    first = torch.maximum(*(view.amin(dim=0) for view in edges))
    last = torch.minimum(*(view.amax(dim=0) for view in edges))
    boxes = [
        torch.cat(
            [(first - view[:, :2]) / (view[:, 2:] - view[:, :2]), (last - view[:, :2]) / (view[:, 2:] - view[:, :2])], 1
        )
        for view in (query, key)
    ]
    sides = torch.stack([(box[:, 2:] - box[:, :2]).abs() for box in boxes])  # [2, batch, (y, x)]
    enough = (last > first).all(dim=1) & (sides >= LEAST_OVERLAP).all(dim=2).all(dim=0)
    whole = query.new_tensor([0.0, 0.0, 1.0, 1.0])
    in_query, in_key = (torch.where(enough[:, None], box, whole) for box in boxes)
    return in_query, in_key, enough


def regions_of_grid(
    maps: Float[Tensor, "batch channels height width"], rows: int, columns: int
) -> Float[Tensor, "batch channels parts"]:
    """Average maps over the parts of an aligned grid that divides them."""
    return maps.unflatten(3, (columns, -1)).unflatten(2, (rows, -1)).mean(dim=(3, 5)).flatten(2)


def regions_of_boxes(
    maps: Float[Tensor, "batch channels height width"], boxes: Float[Tensor, "batch 4"], rows: int, columns: int
) -> Float[Tensor, "batch parts channels"]:
    """Average each map over the parts of a grid on its box, a cell of the map counting by its area in the part.

    for part in grid(box):
        region = sum(area(cell and part) * maps[:, cell] for cell in map) / area(part)
    """
    top, left, bottom, right = boxes.unbind(dim=1)
    height, width = maps.shape[2:]
    vertical = cell_weights(top, bottom, rows, height).to(maps.dtype)
    horizontal = cell_weights(left, right, columns, width).to(maps.dtype)
    return torch.einsum("brh,bdhw,bcw->brcd", vertical, maps, horizontal).flatten(1, 2)


def cell_weights(
    first: Float[Tensor, " batch"], last: Float[Tensor, " batch"], parts: int, cells: int
) -> Float[Tensor, "batch {parts} {cells}"]:
    """Return the share of each cell of an axis in each of the equal parts from `first` to `last`, which may be the smaller."""
    steps = torch.arange(parts + 1, device=first.device, dtype=first.dtype) / parts
    edges = (first[:, None] + (last - first)[:, None] * steps) * cells  # [batch, parts + 1]
    low = torch.minimum(edges[:, :-1], edges[:, 1:])[:, :, None]
    high = torch.maximum(edges[:, :-1], edges[:, 1:])[:, :, None]
    places = torch.arange(cells, device=first.device, dtype=first.dtype)
    covered = (torch.minimum(high, places + 1) - torch.maximum(low, places)).clamp(min=0)
    return covered / covered.sum(dim=2, keepdim=True)
