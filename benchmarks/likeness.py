"""How close are rendered people to photographs? Simple statistics of crops, with the values of real ones beside them.

    python benchmarks/likeness.py                                   # both versions of the renderer: some six minutes
    python benchmarks/likeness.py --versions 2 --seeds 5
    python benchmarks/likeness.py --unlabelled data/crops --labelled data/Market-1501    # your own images

Every image is resized to 128x64. Colours of six horizontal stripes are counted in 8 x 4 x 4 cells of hue, saturation and
value; a descriptor is the square roots of the shares, as a unit vector. It is taken from `full` (all pixels), `border` (8
rows on top and 10 columns on either side, mostly background) or `centre` (rows 16 to 120 and columns 18 to 46, mostly
person). On a labelled set the table says how well a descriptor finds the same person in other cameras, and how often the
nearest other person was seen by the query's own camera. On an unlabelled one: how similar images are to their nearest
neighbour and in the median, and how pixels are distributed.

Real values are those of half of Market-1501's training people (1,427 queries, 4,954 gallery images, six cameras) and of
20,511 crops of six sets; they were measured elsewhere. The measures are written plainly: they judge the renderer, so they
lean on nothing else of ours.
"""

import argparse
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from corpus import mean_average_precision
from upreid.commands.synth import synthesise
from upreid.synthetic.settings import CorpusSettings

Plane = NDArray[np.float32]

ROWS, COLUMNS = 128, 64
STRIPES, BINS = 6, (8, 4, 4)
IMAGES, COLOURED = 1500, 400
"""Number of unlabelled images that are looked at, and of those whose saturation is averaged."""

REAL = {
    "nearest crop, border": 0.756,
    "nearest crop, centre": 0.729,
    "median of two crops, border": 0.360,
    "median of two crops, centre": 0.298,
    "slope of the power spectrum": -2.73,
    "mean of red": 0.403,
    "mean of green": 0.386,
    "mean of blue": 0.379,
    "deviation of red": 0.235,
    "deviation of green": 0.232,
    "deviation of blue": 0.231,
    "saturation": 0.156,
    "contrast within a crop": 0.207,
    "brightness, centre against border": 0.139,
    "mAP, full": 9.1,
    "mAP, border": 1.3,
    "mAP, centre": 13.5,
    "Rank-1, full": 23.5,
    "Rank-1, border": 3.9,
    "Rank-1, centre": 31.7,
    "nearest stranger of the same camera, full, %": 73.0,
    "nearest stranger of the same camera, border, %": 75.0,
    "nearest stranger of the same camera, centre, %": 54.0,
}


def region(name: str) -> NDArray[np.bool_]:
    """Return the pixels that a descriptor is taken from [rows, columns]."""
    mask = np.full((ROWS, COLUMNS), name == "full")
    if name == "border":
        mask[:8], mask[:, :10], mask[:, -10:] = True, True, True
    elif name == "centre":
        mask[16:120, 18:46] = True
    return mask


def read(paths: Iterable[Path]) -> Plane:
    """Read images as [images, rows, columns, 3], in 0 to 1."""
    pictures = []
    for path in paths:
        with Image.open(path) as image:
            pictures.append(np.asarray(image.convert("RGB").resize((COLUMNS, ROWS), Image.Resampling.BICUBIC)))
    images = np.stack(pictures).astype(np.float32)
    images /= 255
    return images


def hue_saturation_value(images: Plane) -> Plane:
    """Convert colours, each channel in 0 to 1; the hue of a grey is 0."""
    value, least = images.max(axis=-1), images.min(axis=-1)
    chroma = value - least
    which, divisor = images.argmax(axis=-1), chroma + np.float32(1e-8)
    red, green, blue = np.moveaxis(images, -1, 0)
    sector = np.choose(which, [(green - blue) / divisor % 6, (blue - red) / divisor + 2, (red - green) / divisor + 4])
    return np.stack([sector / 6 % 1, chroma / (value + np.float32(1e-8)), value], axis=-1)


def descriptors(images: Plane, mask: NDArray[np.bool_]) -> Plane:
    """Return a unit vector of each image [images, stripes * cells]."""
    size = int(np.prod(BINS))
    edges = [number * ROWS // STRIPES for number in range(STRIPES + 1)]
    stripe = np.searchsorted(edges, np.arange(ROWS), side="right") - 1
    first_cell = np.broadcast_to(stripe[:, None] * size, (ROWS, COLUMNS))[mask]
    pixels = np.bincount(first_cell, minlength=STRIPES * size)[np.arange(STRIPES) * size].repeat(size)
    found = np.empty((len(images), STRIPES * size), np.float32)
    for number, image in enumerate(images):
        cells = np.minimum(
            (hue_saturation_value(image[mask]) * np.array(BINS, np.float32)).astype(np.int64), np.array(BINS) - 1
        )
        hue, saturation, value = cells.T
        cell = first_cell + (hue * BINS[1] + saturation) * BINS[2] + value
        found[number] = np.sqrt(np.bincount(cell, minlength=len(pixels)) / np.maximum(pixels, 1))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def of_unlabelled(folder: Path) -> dict[str, float]:
    """Measure up to 1,500 images of a folder, drawn at random."""
    paths = sorted(folder.rglob("*.jpg"))
    images = read(paths[place] for place in np.random.default_rng(0).permutation(len(paths))[:IMAGES])
    found: dict[str, float] = {}
    for name in ("border", "centre"):
        vectors = descriptors(images, region(name))
        similarity = vectors @ vectors.T
        found[f"median of two crops, {name}"] = float(np.median(similarity[np.triu_indices(len(images), 1)]))
        np.fill_diagonal(similarity, -1)
        found[f"nearest crop, {name}"] = float(similarity.max(axis=1).mean())
    means, deviations = images.mean(axis=(0, 1, 2), dtype=np.float64), images.std(axis=(0, 1, 2), dtype=np.float64)
    for channel, mean, deviation in zip(("red", "green", "blue"), means, deviations, strict=True):
        found |= {f"mean of {channel}": float(mean), f"deviation of {channel}": float(deviation)}
    grey = images.mean(axis=-1)
    middle = grey[:, 16:120, 18:46].mean(axis=(1, 2))
    return found | {
        "slope of the power spectrum": power_slope(grey),
        "saturation": float(hue_saturation_value(images[:COLOURED])[..., 1].mean()),
        "contrast within a crop": float(grey.std(axis=(1, 2)).mean()),
        "brightness, centre against border": float(np.abs(middle - grey[:, :, :10].mean(axis=(1, 2))).mean()),
    }


def power_slope(grey: Plane) -> float:
    """Return the slope of log power against log frequency, from the upper squares of images [images, rows, columns]."""
    centred = grey - grey.mean(axis=(1, 2), keepdims=True)
    power = (np.abs(np.fft.fft2(centred[:, :COLUMNS])) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(COLUMNS), np.fft.fftfreq(COLUMNS), indexing="ij"))
    band = (frequency > 0.03) & (frequency < 0.4)
    return float(np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0])


def of_labelled(market1501: Path) -> dict[str, float]:
    """Search with every query for the same person in other cameras."""
    query, gallery = (sorted((market1501 / name).glob("*.jpg")) for name in ("query", "bounding_box_test"))
    people, cameras = zip(*(labels(paths) for paths in (query, gallery)), strict=True)
    images = read(query), read(gallery)
    is_stranger = people[0][:, None] != people[1][None]
    found: dict[str, float] = {}
    for name in ("full", "border", "centre"):
        left, right = (descriptors(some, region(name)) for some in images)
        similarity = left @ right.T
        found[f"mAP, {name}"], found[f"Rank-1, {name}"] = mean_average_precision(similarity, people, cameras)
        nearest = np.where(is_stranger, similarity, -1).argmax(axis=1)
        same = 100 * float((cameras[1][nearest] == cameras[0]).mean())
        found[f"nearest stranger of the same camera, {name}, %"] = same
    return found


def labels(paths: list[Path]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Take people and cameras from names in Market-1501's form."""
    numbers = [match.groups() for path in paths if (match := re.match(r"(-?\d+)_c(\d+)", path.name))]
    return np.array([int(person) for person, _ in numbers]), np.array([int(camera) for _, camera in numbers])


def of_renderer(version: Literal[1, 2], seeds: list[int], identities: int, wild: int) -> dict[str, float]:
    """Render a corpus for each seed and average what is measured."""
    measured = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            crops = wild if version > 1 else None
            synthesise(Path(folder), CorpusSettings(version=version, identities=identities, wild=crops, seed=seed))
            measured.append(of_unlabelled(Path(folder) / "wild") | of_labelled(Path(folder) / "market1501"))
    return {name: float(np.mean([values[name] for values in measured])) for name in measured[0]}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--versions", type=int, nargs="+", choices=[1, 2], default=[1, 2])
    arguments.add_argument("--seeds", type=int, nargs="+", default=[5, 6, 7])
    arguments.add_argument("--identities", type=int, default=750, help="labelled people; half of them are searched for")
    arguments.add_argument("--wild", type=int, default=3000, help="unlabelled crops of version 2")
    arguments.add_argument("--unlabelled", type=Path, help="a folder with .jpg images, instead of rendered people")
    arguments.add_argument("--labelled", type=Path, help="a folder with query/ and bounding_box_test/, likewise")
    given = arguments.parse_args()
    columns: dict[str, dict[str, float]] = {}
    if given.unlabelled or given.labelled:
        measured = of_unlabelled(given.unlabelled) if given.unlabelled else {}
        columns["yours"] = measured | (of_labelled(given.labelled) if given.labelled else {})
    else:
        for version in given.versions:
            columns[f"version {version}"] = of_renderer(version, given.seeds, given.identities, given.wild)
    print("| | real |" + "".join(f" {name} | |" for name in columns) + "\n|---|---|" + "---|---|" * len(columns))
    for name, real in REAL.items():
        cells = [
            f" {column[name]:.3g} | {column[name] / real - 1:+.0%} |" for column in columns.values() if name in column
        ]
        if cells:
            print(f"| {name} | {real:.3g} |" + "".join(cells))


if __name__ == "__main__":
    main()
