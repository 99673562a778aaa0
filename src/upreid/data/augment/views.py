"""From a batch of decoded originals to the views of one training step, on the device of the batch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from upreid.data.augment.geometry import Span, resample, resize_whole
from upreid.data.augment.parameters import (
    Numbers,
    draw_appearance,
    draw_crops,
    draw_flips,
    image_numbers,
    part,
    patch_numbers,
    send,
)
from upreid.data.augment.patches import Patches, PatchGrid
from upreid.data.augment.photometric import Images, apply_appearance, normalise, without_blur
from upreid.data.augment.presets import Augmentation
from upreid.types import ImageBatch, Preprocess, Views

PIXELS_PER_CHUNK = 2**19
"""On a CPU a chunk's views (16 of 256 x 128) stay in the cache; other devices take the batch whole."""


@dataclass(frozen=True, kw_only=True)
class FirstOfGroups:
    """The first `kept` images of each of `groups` contiguous parts of a batch."""

    groups: int
    kept: int

    def of(self, rows: Tensor) -> Tensor:
        """Select these rows of a tensor with a row for each image."""
        return rows.unflatten(0, (self.groups, -1))[:, : self.kept].flatten(0, 1)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What every request may restrict: the images that a view is made of, and the steps in which it is made."""

    images: FirstOfGroups | None = None
    """Images of the batch that the view is made of; all of them where not given."""
    steps: range | None = None
    """Steps of the training in which the view is made; every step where not given."""
    of_mate: bool = False
    """Whether the view is made of another crop of the image's tracklet, where tracklets are known."""


@dataclass(frozen=True, kw_only=True)
class StrongView(Request):
    """Asks for a view that is cropped, resized and mirrored at random, and changed in appearance."""

    preset: Augmentation
    height: int | None = None
    """Height in pixels; the input's where not given. Local crops are smaller than the input."""
    width: int | None = None
    """Width in pixels; the input's where not given."""


@dataclass(frozen=True, kw_only=True)
class OriginalView(Request):
    """Asks for the picture as evaluation sees it: resized and normalised, nothing else."""


@dataclass(frozen=True, kw_only=True)
class PatchView(Request):
    """Asks for local patches of the original; mirrored or not once per image, then each is changed in appearance by itself.

    All patch views of an image are mirrored alike, so that a position means the same part of the body in each.
    """

    preset: Augmentation
    grid: PatchGrid
    stream: str
    """Name of the random numbers, which set apart the versions of one patch."""
    flip_probability: float = 0.5
    """How often all patches of an image are mirrored."""


@dataclass(frozen=True, kw_only=True)
class CropBox(Request):
    """Asks where the crop of a strong view lies in its picture: top, left, bottom, right, in fractions of the picture.

    Where the view is mirrored, left and right have changed places.
    """

    of: str
    """Name of the strong view."""
    preset: Augmentation


@dataclass(frozen=True, kw_only=True)
class TrackletNumber(Request):
    """Asks for the number of each image's tracklet, by which crops of one tracklet can be told among those of other batches."""


ViewRequest = StrongView | OriginalView | PatchView | CropBox | TrackletNumber


class Augment:
    """Make views of a batch; the same (seed, epoch, index of the image) gives the same views.

    In the same batch the views are equal bit for bit; in another batch, position or rank up to rounding
    (`torch.testing.assert_close`), because matrix products are as large as the batch needs.

    `requests` says which views are made, by name. The random numbers of a strong view belong to its name.
    """

    def __init__(self, requests: Mapping[str, ViewRequest], *, preprocess: Preprocess, seed: int) -> None:
        self.requests, self.preprocess, self.seed = dict(requests), preprocess, seed
        for request in self.requests.values():
            if isinstance(request, PatchView):
                request.grid.patch_size(preprocess.height, preprocess.width)  # refuses a grid that does not fit

    def __call__(self, batch: ImageBatch) -> Views:
        """Make the views that were asked for."""
        with torch.autocast(batch.pixels.device.type, enabled=False):  # pixels need more than 8 bits of mantissa
            return self._views(batch)

    def _views(self, batch: ImageBatch) -> Views:
        views: Views = {}
        for name, request in self.requests.items():
            if isinstance(request, StrongView):
                views[name] = self._view(chosen(batch, request), name, request)
            if isinstance(request, CropBox):
                views[name] = self._box(chosen(batch, request), request)
            if isinstance(request, TrackletNumber):
                numbers = chosen(batch, request).tracklets
                assert numbers is not None, "a feed with tracklets numbers the images of its batches"
                views[name] = numbers.to(batch.pixels.device, non_blocking=True)
        others = {name: request for name, request in self.requests.items() if name not in views}
        for kind in dict.fromkeys((request.images, request.of_mate) for request in others.values()):
            wanted = {name: request for name, request in others.items() if (request.images, request.of_mate) == kind}
            some = chosen(batch, next(iter(wanted.values())))
            whole = self._whole(some)
            for name, request in wanted.items():
                if isinstance(request, PatchView):
                    views[name] = self._patches(some, whole, request)
            originals = [name for name, request in wanted.items() if isinstance(request, OriginalView)]
            if originals:  # after the patches: normalising overwrites `whole`
                views |= dict.fromkeys(originals, normalise(whole, self.preprocess.mean, self.preprocess.std))
        return views

    def _whole(self, batch: ImageBatch) -> Images:
        height, width = self.preprocess.height, self.preprocess.width
        pixels, extents = batch.pixels, batch.extents
        chunks = _chunks(pixels, height * width)
        return torch.cat([resize_whole(pixels[some], extents[some], height, width) for some in chunks])

    def _numbers(self, batch: ImageBatch, view: str) -> Numbers:
        return image_numbers(self.seed, batch.epoch, batch.indices.numpy(), view)

    def _view(self, batch: ImageBatch, name: str, request: StrongView) -> Images:
        """Crop, resize and mirror, then change the appearance."""
        height, width = request.height or self.preprocess.height, request.width or self.preprocess.width
        numbers = self._numbers(batch, name)
        appearance = draw_appearance(numbers, request.preset, height, width)
        sigma = None
        if (
            appearance.jitter is None
        ):  # only grey stands between resizing and blur, and it can wait: one matrix does both
            sigma, appearance = appearance.sigma, without_blur(appearance)
        vertical, horizontal = spans_of_crops(batch, numbers, request.preset, sigma)

        def make(some: slice) -> Images:
            views = resample(batch.pixels[some], part(vertical, some), part(horizontal, some), height, width)
            return apply_appearance(views, part(appearance, some), self.preprocess)

        return torch.cat([make(some) for some in _chunks(batch.pixels, height * width)])

    def _box(self, batch: ImageBatch, request: CropBox) -> Float[Tensor, "batch 4"]:
        """Draw a view's crop and flip once more."""
        numbers, sizes = self._numbers(batch, request.of), batch.file_sizes.numpy()
        boxes = draw_crops(numbers, request.preset, sizes)
        flips = draw_flips(numbers, request.preset.flip_probability)
        top, bottom = boxes.top / sizes[:, 0], (boxes.top + boxes.height) / sizes[:, 0]
        left, right = boxes.left / sizes[:, 1], (boxes.left + boxes.width) / sizes[:, 1]
        edges = [top, np.where(flips, right, left), bottom, np.where(flips, left, right)]
        return send(np.stack(edges, axis=1), batch.pixels.device)

    def _patches(self, batch: ImageBatch, whole: Images, request: PatchView) -> Patches:
        """Cut one version from the originals, mirrored alike for all versions; then each patch is on its own."""
        grid = request.grid
        flips = draw_flips(self._numbers(batch, "patches"), request.flip_probability)
        numbers = patch_numbers(self._numbers(batch, request.stream), grid.num_patches)
        appearance = draw_appearance(
            numbers, request.preset, *grid.patch_size(self.preprocess.height, self.preprocess.width)
        )

        def make(some: slice) -> Patches:
            is_flipped = send(flips[some], whole.device)[:, None, None, None]
            tiles = grid.cut(torch.where(is_flipped, whole[some].flip(3), whole[some]))
            flat = slice(some.start * grid.num_patches, some.stop * grid.num_patches)
            return apply_appearance(tiles.flatten(0, 1), part(appearance, flat), self.preprocess).view(tiles.shape)

        return torch.cat([make(some) for some in _chunks(whole, whole[0, 0].numel())])


def chosen(batch: ImageBatch, request: Request) -> ImageBatch:
    """Return the batch of the images that a view is made of, or of their mates; their random numbers stay theirs."""
    images = request.images
    if images is None and not batch.mates:
        return batch
    own = len(batch.indices) - batch.mates
    rows = slice(own, None) if request.of_mate and batch.mates else slice(0, own)

    def some(tensor: Tensor) -> Tensor:
        return tensor[rows] if images is None else images.of(tensor[rows])

    names = ("pixels", "extents", "file_sizes", "indices", *(() if batch.tracklets is None else ("tracklets",)))
    return replace(batch, **{name: some(getattr(batch, name)) for name in names}, mates=0)


def spans_of_crops(
    batch: ImageBatch, numbers: Numbers, preset: Augmentation, sigma: Float[np.ndarray, " batch"] | None
) -> tuple[Span, Span]:
    """Draw crop boxes in the file's pixels and carry them over to the canvas."""
    boxes = draw_crops(numbers, preset, batch.file_sizes.numpy())
    shrunk_y, shrunk_x = (batch.extents.numpy() / batch.file_sizes.numpy()).T
    vertical = Span(start=boxes.top * shrunk_y, length=boxes.height * shrunk_y, sigma=sigma)
    is_flipped = draw_flips(numbers, preset.flip_probability)
    start, length = boxes.left * shrunk_x, boxes.width * shrunk_x
    return vertical, Span(start=start, length=length, is_flipped=is_flipped, sigma=sigma)


def _chunks(images: Tensor, pixels: int) -> list[slice]:
    """Cut a batch into parts whose views have about `PIXELS_PER_CHUNK` pixels."""
    size = max(1, PIXELS_PER_CHUNK // pixels) if images.device.type == "cpu" else len(images)
    return [slice(start, start + size) for start in range(0, len(images), size)]
