"""Training images as network input, in any order: decoded once and kept where they fit into memory."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from upreid.data.dataset import LabelledBatch, LabelledTrainingImages, SkipLedger, collate_labelled
from upreid.data.loading import make_loader
from upreid.data.records import Record
from upreid.runtime.compute import Compute
from upreid.runtime.console import say
from upreid.types import Preprocess

CACHE_BYTES = 2_000_000_000
"""A training set whose input tensors are smaller than this is decoded once and kept."""


class TrainingInputs:
    """Input of the images of some records.

    An unreadable image gives way to the next readable one of the same person, and is counted and named, up to `unreadable_share`
    of all.
    """

    def __init__(
        self, records: Sequence[Record], preprocess: Preprocess, compute: Compute, unreadable_share: float
    ) -> None:
        self.compute, self.unreadable_share, self.num_images = compute, unreadable_share, len(records)
        self.ledger = SkipLedger(len(records), unreadable_share)
        self.dataset = LabelledTrainingImages(records, preprocess, limit=unreadable_share)
        is_small = len(records) * 3 * preprocess.height * preprocess.width * 4 < CACHE_BYTES
        self.decoded = self.decode_all() if is_small else None

    def decode_all(self) -> LabelledBatch:
        """Decode all images, once; unreadable ones are counted here, before the first step."""
        size, workers = 64, self.compute.workers
        loader = make_loader(self.dataset, batch_size=size, workers=workers, collate=collate_labelled)
        # copies, because shared memory may hold no more than a few batches at one time
        parts = [replace(part, images=part.images.clone()) for part in loader]
        self.count([skip for part in parts for skip in part.skipped])
        return LabelledBatch(
            images=torch.cat([part.images for part in parts]), indices=torch.cat([part.indices for part in parts])
        )

    def batches(self, order: Iterable[list[int]]) -> Iterator[LabelledBatch]:
        """Yield a batch for each list of places among the records."""
        if self.decoded is not None:
            for places in order:
                yield LabelledBatch(images=self.decoded.images[places], indices=self.decoded.indices[places])
            return
        pin, workers = self.compute.device.type != "cpu", self.compute.workers
        yield from make_loader(self.dataset, batch_sampler=order, workers=workers, collate=collate_labelled, pin=pin)

    def count(self, skipped: Sequence[tuple[int, str]]) -> None:
        """Count unreadable images, and name those that are new."""
        for sentence in self.ledger.add(skipped):
            say(f"skipped {sentence}")

    def go_on(self, skipped: Sequence[Sequence[Any]]) -> None:
        """Go on counting where an earlier run stopped."""
        self.ledger = SkipLedger(self.num_images, self.unreadable_share, skipped)
