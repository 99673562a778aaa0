"""Unlabelled images of any source, augmented into the views that a method asks for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from upreid.data.augment import Augment, ViewRequest
from upreid.data.dataset import OriginalImages, Sample, SkipLedger, collate
from upreid.data.loading import PATIENCE, make_loader
from upreid.data.sources.source import Source
from upreid.errors import InputError
from upreid.runtime.compute import Compute
from upreid.runtime.console import say
from upreid.runtime.distributed import ALONE, World
from upreid.training.feeds.order import StepBatches
from upreid.types import ImageBatch, Preprocess, Views

Loaded = tuple[ImageBatch | Views, tuple[tuple[int, str], ...]]
"""What a loader gives: originals, or views where workers make them; and the files skipped for them, with reasons."""


class Prepare:
    """A loader's last act: stack decoded originals; on a CPU also make the views, in the worker."""

    def __init__(self, augment: Callable[[ImageBatch], Views] | None) -> None:
        self.augment = augment

    def __call__(self, samples: Sequence[Sample]) -> Loaded:
        """Return the batch and the files that had to be skipped for it."""
        batch = collate(samples)
        return (self.augment(batch) if self.augment else batch), batch.skipped


class UnlabelledFeed:
    """Every epoch a new permutation of all images; random numbers belong to (seed, epoch, image).

    An unreadable image gives way to the next readable one, and is counted and named, up to `unreadable_share` of all.
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
    ) -> None:
        if batch > len(source):
            raise InputError(
                f"batch of {batch} is larger than the {len(source)} images; lower --train.batch or add images"
            )
        self.source, self.batch, self.seed = source, batch, seed
        self.num_images, self.fingerprint = len(source), source.fingerprint
        self.steps_per_epoch = len(source) // batch
        self.compute, self.world = compute, world
        self.unreadable_share, self.patience = unreadable_share, patience
        self.preprocess, self.augment = preprocess, Augment(views, preprocess=preprocess, seed=seed)
        self.ledger = SkipLedger(len(source), unreadable_share)

    def batches(self, first: int, last: int) -> Iterator[Loaded]:
        """Yield this rank's batches of the steps from `first` to `last`."""
        order = StepBatches(self.num_images, self.batch, seed=self.seed, first=first, last=last, world=self.world)
        size = {"height": self.preprocess.height, "width": self.preprocess.width}
        on_cpu = self.compute.device.type == "cpu"
        loader = make_loader(
            OriginalImages(self.source, **size, limit=self.unreadable_share),
            batch_sampler=order,
            collate=Prepare(self.augment if on_cpu else None),
            workers=self.compute.workers,
            pin=not on_cpu,
            prefetch=4,
            patience=self.patience,
        )
        return iter(loader)

    def prepare(self, item: Loaded) -> Views:
        """Count unreadable files before the step that they were met for; make the views where no worker did."""
        batch, skipped = item
        for sentence in self.ledger.add(skipped):
            say(f"skipped {sentence}")
        return self.augment(batch.to(self.compute.device)) if isinstance(batch, ImageBatch) else batch

    def state(self) -> dict[str, Any]:
        """Return the files that were skipped."""
        return {"skipped": self.ledger.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on counting where an earlier run stopped."""
        self.ledger = SkipLedger(self.num_images, self.unreadable_share, state.get("skipped", ()))
