"""Unlabelled images of any source, augmented into the views that a method asks for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from upreid.data.augment import Augment, TrackletNumber, ViewRequest
from upreid.data.dataset import OriginalImages, Sample, SkipLedger, collate
from upreid.data.loading import PATIENCE, make_loader
from upreid.data.sources.source import Source
from upreid.data.tracklets import Tracklets
from upreid.errors import InputError
from upreid.runtime.compute import Compute
from upreid.runtime.console import say
from upreid.runtime.distributed import ALONE, World
from upreid.runtime.seed import permutation
from upreid.types import ImageBatch, Preprocess, Views

Loaded = tuple[ImageBatch | Views, tuple[tuple[int, str], ...]]
"""What a loader gives: originals, or views where workers make them; and the files skipped for them, with reasons."""


class Prepare:
    """A loader's last act: stack decoded originals; on a CPU also make the views, in the worker.

    With `pairs` the second half of the samples are the mates of the first. `tracklets` numbers the tracklets of all images, where
    a view asks for them.
    """

    def __init__(
        self,
        augment: Callable[[ImageBatch], Views] | None,
        *,
        pairs: bool = False,
        tracklets: NDArray[np.int64] | None = None,
    ) -> None:
        self.augment, self.pairs, self.tracklets = augment, pairs, tracklets

    def __call__(self, samples: Sequence[Sample]) -> Loaded:
        """Return the batch and the files that had to be skipped for it."""
        batch = replace(collate(samples), mates=len(samples) // 2 if self.pairs else 0)
        if self.tracklets is not None:
            batch = replace(batch, tracklets=torch.from_numpy(self.tracklets[batch.indices.numpy()]))
        return (self.augment(batch) if self.augment else batch), batch.skipped


class StepBatches:
    """For each step from `first` to `last`, this rank's part of the batch as (epoch, index) pairs.

    Every epoch is a new permutation of all images, the same on every rank; what is left over after the last
    whole batch of an epoch waits for another epoch's order. With `pairing` the mates of the images follow them.
    """

    def __init__(
        self,
        num_images: int,
        batch: int,
        *,
        seed: int,
        first: int,
        last: int,
        world: World,
        pairing: "Pairing | None" = None,
    ) -> None:
        self.num_images, self.batch, self.seed, self.pairing = num_images, batch, seed, pairing
        self.first, self.last, self.world = first, last, world
        self.per_epoch = num_images // batch

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.first // self.per_epoch, -(-self.last // self.per_epoch)):
            order = permutation(self.seed, epoch, self.num_images, purpose="order")
            begin = max(self.first - epoch * self.per_epoch, 0)
            end = min(self.last - epoch * self.per_epoch, self.per_epoch)
            for step in range(begin, end):
                whole = order[step * self.batch : (step + 1) * self.batch]
                own = whole[self.world.share(self.batch)]
                mates = self.pairing.mates(own, seed=self.seed, epoch=epoch) if self.pairing else ()
                yield [(epoch, int(index)) for index in (*own, *mates)]


@dataclass(frozen=True)
class Pairing:
    """Tracklets, how far apart the two crops of a pair are within theirs, and the share of images that are paired at all."""

    tracklets: Tracklets
    gap: int = 1
    share: float = 1.0

    def mates(self, indices: NDArray[np.int64], *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Draw a mate for each image."""
        return self.tracklets.mates(indices, seed=seed, epoch=epoch, gap=self.gap, share=self.share)


class UnlabelledFeed:
    """Every epoch a new permutation of all images; random numbers belong to (seed, epoch, image).

    An unreadable image gives way to the next readable one, and is counted and named, up to `unreadable_share` of all. With
    `pairing`, views that ask for it are made of another crop of the image's tracklet.
    """

    def __init__(
        self,
        source: Source,
        views: Mapping[str, ViewRequest],
        *,
        preprocess: Preprocess,
        batch: int,
        seed: int,
        compute: Compute,
        world: World = ALONE,
        unreadable_share: float = 0.01,
        patience: float = PATIENCE,
        pairing: Pairing | None = None,
    ) -> None:
        if batch > len(source):
            raise InputError(
                f"batch of {batch} is larger than the {len(source)} images; lower --train.batch or add images"
            )
        self.source, self.batch, self.seed = source, batch, seed
        self.num_images, self.fingerprint, self.pairing = len(source), source.fingerprint, pairing
        if pairing is not None:
            self.fingerprint += f", tracklets {pairing.tracklets.fingerprint}"
        self.steps_per_epoch = len(source) // batch
        self.compute, self.world = compute, world
        self.unreadable_share, self.patience = unreadable_share, patience
        self.preprocess, self.views = preprocess, dict(views)
        self.augment = self.augment_at(0)
        self.ledger = SkipLedger(len(source), unreadable_share)

    def augment_at(self, step: int) -> Augment:
        """Make the views of a step: a view that is not asked for in this step costs nothing."""
        asked = {name: view for name, view in self.views.items() if view.steps is None or step in view.steps}
        return Augment(asked, preprocess=self.preprocess, seed=self.seed)

    def batches(self, first: int, last: int) -> Iterator[Loaded]:
        """Yield this rank's batches of the steps from `first` to `last`; a new loader begins where the views change."""
        changes = {step for view in self.views.values() if view.steps for step in (view.steps.start, view.steps.stop)}
        for begin, end in pairwise(sorted({first, last, *(step for step in changes if first < step < last)})):
            self.augment = self.augment_at(begin)  # also for `prepare`, which follows each batch
            yield from self.loader(begin, end)

    def loader(self, first: int, last: int) -> Iterator[Loaded]:
        """Return this rank's batches of steps that have the same views."""
        size = {"height": self.preprocess.height, "width": self.preprocess.width}
        on_cpu = self.compute.device.type == "cpu"
        numbered = any(isinstance(view, TrackletNumber) for view in self.views.values())
        tracklets = self.pairing.tracklets.numbers if self.pairing and numbered else None
        loader = make_loader(
            OriginalImages(self.source, **size, limit=self.unreadable_share),
            batch_sampler=self.loader_order(first, last),
            collate=Prepare(self.augment if on_cpu else None, pairs=self.pairing is not None, tracklets=tracklets),
            workers=self.compute.workers,
            pin=not on_cpu,
            prefetch=4,
            patience=self.patience,
            flag=self.compute.workers_flag,
        )
        return iter(loader)

    def loader_order(self, first: int, last: int) -> StepBatches:
        """Return which images this rank reads for each step."""
        how = {"seed": self.seed, "world": self.world, "pairing": self.pairing}
        return StepBatches(self.num_images, self.batch, first=first, last=last, **how)

    def prepare(self, item: Loaded) -> Views:
        """Count unreadable files before the step that they were met for; make the views where no worker did."""
        batch, skipped = item
        for sentence in self.ledger.add(skipped):
            say(f"skipped {sentence}")
        return self.augment(batch.to(self.compute.device)) if isinstance(batch, ImageBatch) else batch

    def report(self) -> dict[str, Any]:
        """Return nothing: the images need no preparation that a journal should hold."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return the files that were skipped."""
        return {"skipped": self.ledger.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on counting where an earlier run stopped."""
        self.ledger = SkipLedger(self.num_images, self.unreadable_share, state.get("skipped", ()))
