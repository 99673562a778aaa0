"""What tracklets cost: the options of the step, and reading a second crop of each tracklet, in MoCo steps of the same rounds.

    python benchmarks/tracklets.py                 # the laptop recipes, one thread
    python benchmarks/tracklets.py --queue 65536   # the queue of the recipes for LUPerson

Steps are measured on views that are there already, with four BatchNorm groups and a queue that is full of numbered keys.
Batches are read from a folder of JPEGs of 128 x 64 in random order, decoded and augmented in this process, as one worker does,
with each image's key from the image itself or from another crop of its tracklet of eight. The files lie in the page
cache: what a disk takes is not measured.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from _steps import pretraining, read, settled
from _turns import Work, ratio, take_turns
from upreid.config.pretrain import MocoV2Config
from upreid.data.augment import PRESETS, StrongView, TrackletNumber, ViewRequest
from upreid.data.sources.recognise import open_source
from upreid.data.tracklets import Tracklets
from upreid.runtime.compute import Compute
from upreid.training.feeds.unlabelled import Pairing, UnlabelledFeed
from upreid.types import Preprocess

IMAGES, PER_TRACKLET = 2048, 8
MOCO, READ = "MoCo v2", "a batch without tracklets"
TERMS = {"moco-laptop": "MoCo v2", "both-terms-laptop": "both terms"}
OPTIONS: dict[str, list[object]] = {
    "": [],
    ", older keys left out": ["--contrast.mates", "left-out"],
    ", older keys as positives": ["--contrast.mates", "positives"],
}
READ_OPTIONS = {READ: None, "a batch with mates": 1.0, "a batch with mates for half": 0.5}


def steps(device: torch.device, queue: int) -> dict[str, Work]:
    """Build the steps, by name."""
    found: dict[str, Work] = {}
    for recipe, base in TERMS.items():
        for words, flags in OPTIONS.items():
            config = settled(read(MocoV2Config, "pretrain", recipe, [*flags, "--contrast.queue", queue]), device)
            found[base + words] = pretraining(config, device)
    return found


def write_images(folder: Path) -> None:
    """Write JPEGs with structure, as photographs have."""
    numbers = np.random.default_rng(0)
    for index in range(IMAGES):
        coarse = Image.fromarray(numbers.integers(0, 256, (16, 8, 3), dtype=np.uint8))
        coarse.resize((64, 128), Image.Resampling.BICUBIC).save(folder / f"{index:05d}.jpg", quality=90)


def batches(folder: Path, config: MocoV2Config, share: float | None, device: torch.device) -> Callable[[], Any]:
    """Return a function that reads, decodes and augments the next batch, as the trainer's feed does in one process."""
    pairing = None if share is None else Pairing(Tracklets(np.arange(IMAGES) // PER_TRACKLET), share=share)
    strong = PRESETS[config.augment.preset]
    views: dict[str, ViewRequest] = {"query": StrongView(preset=strong), "key": StrongView(preset=strong, of_mate=True)}
    views |= {} if pairing is None else {"tracklets": TrackletNumber(of_mate=True)}
    look = config.augment
    feed = UnlabelledFeed(
        open_source(folder),
        views,
        preprocess=Preprocess(height=look.height, width=look.width, mean=look.mean, std=look.std),
        batch=config.train.batch,
        seed=1,
        compute=Compute(device=device, threads=1, workers=0),
        pairing=pairing,
    )
    endless: Iterator[Any] = feed.batches(0, 10**6)
    return lambda: next(endless)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tracklets in MoCo steps")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--queue", type=int, default=1024)
    given = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cpu")
    config = settled(read(MocoV2Config, "pretrain", "moco-laptop", []), device)
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        reading = {name: batches(Path(folder), config, share, device) for name, share in READ_OPTIONS.items()}
        seconds = take_turns(steps(device, given.queue) | reading, given.rounds, device)
    size = f"{config.augment.height}x{config.augment.width}, batch {config.train.batch}"
    print(f"laptop network, {size}, queue {given.queue}, {device}: MoCo steps")
    for name in seconds:
        print(f"  {name:40s}{ratio(seconds, name, MOCO):6.2f}")
    added = ratio(seconds, "a batch with mates", MOCO) - ratio(seconds, READ, MOCO)
    print(f"  reading mates adds {added:.2f} MoCo steps to a step")


if __name__ == "__main__":
    main()
