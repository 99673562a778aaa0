"""Which implementation of the LUPerson augmentation is fastest per core, pixels in, normalised batch out?

    OMP_NUM_THREADS=1 python benchmarks/augmentation.py
    python benchmarks/augmentation.py --device cuda      # ours on a GPU, against one core's Pillow; wanted: 10 times

Every candidate makes two views of the same decoded images (64 on a CPU, 512 on a GPU), on one thread, in a process of its
own. Times are CPU seconds, best of several rounds, so that other programs on the machine disturb little; on a GPU seconds from
idle to idle, the pixels' way there included. Memory is the peak above what the process held before. Decoding is not part of
it: all candidates need it alike.

Chosen: band matrices. They are ahead of the Pillow pipeline at every size, and the same few products run on a
GPU. `interpolate` one by one is about as fast on a CPU, but its 8-bit kernel exists nowhere else.
"""

import argparse
import multiprocessing
import random
import resource
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor
from torchvision import transforms
from torchvision.transforms.functional import pil_to_tensor

from _turns import seconds_of
from upreid.data.augment import (
    PATCH_PRESETS,
    PRESETS,
    Augment,
    Augmentation,
    OriginalView,
    PatchGrid,
    PatchView,
    StrongView,
    ViewRequest,
)
from upreid.data.augment.parameters import draw_appearance, draw_crops, draw_flips, image_numbers, part
from upreid.data.augment.photometric import apply_appearance
from upreid.data.augment.views import PIXELS_PER_CHUNK
from upreid.runtime.compute import settle
from upreid.types import ImageBatch, Preprocess

BATCH, GPU_BATCH, ROUNDS = 64, 512, 7
SIZES = [((128, 64), (64, 32)), ((128, 64), (128, 64)), ((256, 128), (256, 128))]
MEAN, STD = (0.3525, 0.3106, 0.3140), (0.2660, 0.2522, 0.2505)

Size = tuple[int, int]


@dataclass(frozen=True)
class Measured:
    """Views per CPU second, and MiB at the peak."""

    rate: float
    memory: float


def files(size: Size, count: int) -> list[Image.Image]:
    """Make decoded images with structure, as photographs have."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 16, 8, 3), dtype=np.uint8)
    return [Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BICUBIC) for pixels in coarse]


def as_batch(images: list[Image.Image]) -> ImageBatch:
    pixels = torch.stack([pil_to_tensor(image) for image in images])
    sizes = torch.tensor([[image.height, image.width] for image in images])
    return ImageBatch(pixels=pixels, extents=sizes, file_sizes=sizes, indices=torch.arange(len(images)), epoch=0)


def pillow(images: list[Image.Image], what: Augmentation, size: Size) -> Callable[[], object]:
    """Make the pipeline of MoCo v2 and LUPerson: torchvision transforms on one Pillow image after the other."""

    def blur(image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(random.uniform(*what.blur_sigma)))

    strengths = what.brightness, what.contrast, what.saturation, what.hue
    steps = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=what.crop_area, ratio=what.crop_ratio),
            transforms.RandomApply([transforms.ColorJitter(*strengths)], what.jitter_probability),
            transforms.RandomGrayscale(what.grey_probability),
            transforms.RandomApply([transforms.Lambda(blur)], what.blur_probability),
            transforms.RandomHorizontalFlip(what.flip_probability),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
            transforms.RandomErasing(what.erase_probability, what.erase_area, what.erase_ratio),
        ]
    )
    return lambda: [torch.stack([torch.as_tensor(steps(image)) for image in images]) for _ in range(2)]


def one_by_one(images: list[Image.Image], what: Augmentation, size: Size) -> Callable[[], object]:
    """Crop and resize with `interpolate(antialias=True)` on each 8-bit image, the other steps on the batch.

    Channels-last 8-bit images have a vectorised kernel on CPUs; there is none on GPUs.
    """
    batch = as_batch(images)
    pixels = batch.pixels.contiguous(memory_format=torch.channels_last)
    preprocess = Preprocess(height=size[0], width=size[1], mean=MEAN, std=STD)
    step = PIXELS_PER_CHUNK // (size[0] * size[1])

    def view(name: str) -> Tensor:
        numbers = image_numbers(0, 0, batch.indices.numpy(), name)
        box, flips = draw_crops(numbers, what, batch.file_sizes.numpy()), draw_flips(numbers, 0.5)
        appearance = draw_appearance(numbers, what, *size)

        def crop(row: int) -> Tensor:
            rows = slice(int(box.top[row]), int(box.top[row] + box.height[row]))
            columns = slice(int(box.left[row]), int(box.left[row] + box.width[row]))
            resized = torch.nn.functional.interpolate(
                pixels[row : row + 1, :, rows, columns], size, mode="bilinear", antialias=True
            )
            return resized.flip(3) if flips[row] else resized

        chunks: list[Tensor] = []
        for start in range(0, BATCH, step):
            some = slice(start, start + step)
            crops = torch.cat([crop(row) for row in range(BATCH)[some]])
            chunks.append(apply_appearance(crops.float().contiguous(), part(appearance, some), preprocess))
        return torch.cat(chunks)

    return lambda: [view(name) for name in ("query", "key")]


def ours(
    images: list[Image.Image], what: Augmentation, size: Size, *, device: str = "cpu", everything: bool = False
) -> Callable[[], object]:
    """Make our pipeline: one batched product of band matrices for crop, resize, flip and blur.

    `everything`: with the original, and two versions of it for patches besides, all that UP-ReID looks at by default.
    """
    batch, preprocess = as_batch(images), Preprocess(height=size[0], width=size[1], mean=MEAN, std=STD)
    views: dict[str, ViewRequest] = {name: StrongView(preset=what) for name in ("query", "key")}
    if everything:
        views["original"] = OriginalView()
        cut = {"preset": PATCH_PRESETS["jitter"], "grid": PatchGrid(rows=1, columns=1)}
        views |= {f"{name}_patches": PatchView(stream=f"patches-{name}", **cut) for name in ("query", "key")}
    augment = Augment(views, preprocess=preprocess, seed=0)
    if device == "cpu":
        return lambda: augment(batch)
    pinned = batch.pin_memory()
    return lambda: augment(pinned.to(torch.device(device)))


CANDIDATES = {
    "torchvision on Pillow": pillow,
    "interpolate one by one": one_by_one,
    "band matrices (ours)": ours,
    "ours + original + patches": partial(ours, everything=True),
    "ours on the GPU": partial(ours, device="cuda"),
    "everything on the GPU": partial(ours, device="cuda", everything=True),
}


def measure(candidate: str, preset: str, file_size: Size, size: Size) -> Measured:
    """Measure one candidate; in a fresh process, so that the peak of memory is its own."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if "GPU" in candidate else "cpu")
    count = BATCH if device.type == "cpu" else GPU_BATCH
    run = CANDIDATES[candidate](files(file_size, count), PRESETS[preset], size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = min(seconds_of(run, device) for _ in range(ROUNDS))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    memory = peak / 1024 if device.type == "cpu" else torch.cuda.max_memory_allocated() / 2**20
    return Measured(rate=2 * count / seconds, memory=memory)


def main() -> None:
    parser = argparse.ArgumentParser(description="Augmentation on a core, and on a GPU")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    device = settle(parser.parse_args().device, 1, 0, workers_wanted=0).device.type
    fresh = multiprocessing.get_context("spawn")
    wanted = [name for name in CANDIDATES if device == "cuda" or "GPU" not in name]
    for preset in ("luperson", "luperson-jitter"):
        for file_size, size in SIZES:
            print(f"\n{preset}, files {file_size[0]}x{file_size[1]}, views {size[0]}x{size[1]}")
            baseline = 0.0
            for candidate in wanted:
                with fresh.Pool(1) as pool:
                    result = pool.apply(measure, (candidate, preset, file_size, size))
                baseline = baseline or result.rate
                ratio = f"{result.rate / baseline:5.2f}x"
                print(f"  {candidate:26}{result.rate:8.0f} views/s  {ratio}  {result.memory:6.0f} MiB")


if __name__ == "__main__":
    main()
