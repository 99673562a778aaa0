import pytest
import torch

from upreid.data.augment import PatchGrid
from upreid.errors import InputError


@pytest.mark.parametrize(
    ("rows", "columns", "size"), [(4, 2, (64, 64)), (4, 1, (64, 128)), (8, 1, (32, 128)), (1, 1, (256, 128))]
)
def test_patches_tile_the_input_row_by_row(rows, columns, size):
    grid = PatchGrid(rows=rows, columns=columns)
    images = torch.arange(2 * 3 * 256 * 128.0).view(2, 3, 256, 128)
    patches = grid.cut(images)
    assert patches.shape == (2, rows * columns, 3, *size)
    for number in range(rows * columns):
        top, left = number // columns * size[0], number % columns * size[1]
        assert torch.equal(patches[:, number], images[:, :, top : top + size[0], left : left + size[1]])


@pytest.mark.parametrize(("rows", "columns"), [(3, 2), (4, 3), (0, 1), (4, -1), (512, 1)])
def test_a_grid_that_does_not_divide_the_input_is_refused_with_both_sizes(rows, columns):
    with pytest.raises(InputError, match=f"{rows} x {columns} does not divide an input of 256 x 128"):
        PatchGrid(rows=rows, columns=columns).patch_size(256, 128)
