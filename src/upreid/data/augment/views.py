"""From a batch of decoded originals to the views of one training step, on the device of the batch."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from upreid.data.augment.geometry import Span, resample, resize_whole
from upreid.data.augment.look import apply_look, without_blur
from upreid.data.augment.parameters import (
    Numbers,
    draw_crops,
    draw_flips,
    draw_look,
    image_numbers,
    part,
    patch_numbers,
)
from upreid.data.augment.patches import Patches, PatchGrid
from upreid.data.augment.photometric import Images, normalise
from upreid.data.augment.presets import Augmentation
from upreid.data.augment.transfer import send
from upreid.types import ImageBatch, Preprocess, Views

PIXELS_PER_CHUNK = 2**19
"""On a CPU a chunk's views (16 of 256 x 128) stay in the cache; other devices take the batch whole."""


class Augment:
    """Make `Views` of a batch; the same (seed, epoch, index of the image) gives the same views.

    In the same batch the views are equal bit for bit; in another batch, position or rank up to rounding
    (`torch.testing.assert_close`), because matrix products are as large as the batch needs.

    - `preset`: what happens to query and key; `patch_preset`: to each patch.
    - `original`: whether the un-augmented view is wanted.
    - `patches`: the grid, or `None` where no patches are wanted. They are cut from the un-augmented original,
      mirrored or not once per image, then each patch of each version is augmented by itself.
    """

    def __init__(
        self,
        preset: Augmentation,
        *,
        preprocess: Preprocess,
        seed: int,
        original: bool,
        patches: PatchGrid | None,
        patch_preset: Augmentation,
    ) -> None:
        self.preset, self.preprocess, self.seed = preset, preprocess, seed
        self.patch_preset = patch_preset
        self.is_original_wanted, self.patches = original, patches
        if patches is not None:
            patches.patch_size(preprocess.height, preprocess.width)  # refuses a grid that does not fit

    def __call__(self, batch: ImageBatch) -> Views:
        """Make the views that are wanted; the others are `None`."""
        with torch.autocast(batch.pixels.device.type, enabled=False):  # pixels need more than 8 bits of mantissa
            return self._views(batch)

    def _views(self, batch: ImageBatch) -> Views:
        query, key = self._view(batch, "query"), self._view(batch, "key")
        if not self.is_original_wanted and self.patches is None:
            return Views(query=query, key=key)
        whole = self._whole(batch)
        query_patches = key_patches = None
        if self.patches is not None:
            query_patches = self._patches(batch, whole, self.patches, "patches-query")
            key_patches = self._patches(batch, whole, self.patches, "patches-key")
        original = None
        if self.is_original_wanted:  # after the patches: it overwrites `whole`
            original = normalise(whole, self.preprocess.mean, self.preprocess.std)
        return Views(query=query, key=key, original=original, query_patches=query_patches, key_patches=key_patches)

    def _whole(self, batch: ImageBatch) -> Images:
        height, width = self.preprocess.height, self.preprocess.width
        pixels, extents = batch.pixels, batch.extents
        chunks = _chunks(pixels, height * width)
        return torch.cat([resize_whole(pixels[some], extents[some], height, width) for some in chunks])

    def _numbers(self, batch: ImageBatch, view: str) -> Numbers:
        return image_numbers(self.seed, batch.epoch, batch.indices.numpy(), view)

    def _view(self, batch: ImageBatch, name: str) -> Images:
        """Crop, resize and mirror, then change the look."""
        height, width = self.preprocess.height, self.preprocess.width
        numbers = self._numbers(batch, name)
        look = draw_look(numbers, self.preset, height, width)
        sigma = None
        if look.jitter is None:  # only grey stands between resizing and blur, and it can wait: one matrix does both
            sigma, look = look.sigma, without_blur(look)
        vertical, horizontal = self._spans(batch, numbers, sigma)

        def make(some: slice) -> Images:
            views = resample(batch.pixels[some], part(vertical, some), part(horizontal, some), height, width)
            return apply_look(views, part(look, some), self.preprocess)

        return torch.cat([make(some) for some in _chunks(batch.pixels, height * width)])

    def _spans(
        self, batch: ImageBatch, numbers: Numbers, sigma: Float[np.ndarray, " batch"] | None
    ) -> tuple[Span, Span]:
        """Draw crop boxes in the file's pixels and carry them over to the canvas."""
        boxes = draw_crops(numbers, self.preset, batch.file_sizes.numpy())
        shrunk_y, shrunk_x = (batch.extents.numpy() / batch.file_sizes.numpy()).T
        vertical = Span(start=boxes.top * shrunk_y, length=boxes.height * shrunk_y, sigma=sigma)
        is_flipped = draw_flips(numbers, self.preset.flip_probability)
        start, length = boxes.left * shrunk_x, boxes.width * shrunk_x
        return vertical, Span(start=start, length=length, is_flipped=is_flipped, sigma=sigma)

    def _patches(self, batch: ImageBatch, whole: Images, grid: PatchGrid, name: str) -> Patches:
        """Cut one version from the originals, mirrored alike for both versions; then each patch is on its own."""
        flips = draw_flips(self._numbers(batch, "patches"), self.preset.flip_probability)
        numbers = patch_numbers(self._numbers(batch, name), grid.num_patches)
        look = draw_look(numbers, self.patch_preset, *grid.patch_size(self.preprocess.height, self.preprocess.width))

        def make(some: slice) -> Patches:
            is_flipped = send(flips[some], whole.device)[:, None, None, None]
            tiles = grid.cut(torch.where(is_flipped, whole[some].flip(3), whole[some]))
            flat = slice(some.start * grid.num_patches, some.stop * grid.num_patches)
            return apply_look(tiles.flatten(0, 1), part(look, flat), self.preprocess).view(tiles.shape)

        return torch.cat([make(some) for some in _chunks(whole, whole[0, 0].numel())])


def _chunks(images: Tensor, pixels: int) -> list[slice]:
    """Cut a batch into parts whose views have about `PIXELS_PER_CHUNK` pixels."""
    size = max(1, PIXELS_PER_CHUNK // pixels) if images.device.type == "cpu" else len(images)
    return [slice(start, start + size) for start in range(0, len(images), size)]
