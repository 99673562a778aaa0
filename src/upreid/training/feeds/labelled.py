"""Labelled images in batches of P people with K images each."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch

from upreid.data.augment.downstream import DownstreamAugment
from upreid.data.dataset import LabelledBatch, LabelledTrainingImages, SkipLedger, collate_labelled
from upreid.data.loading import make_loader
from upreid.data.records import Record, cameras, people
from upreid.errors import InputError
from upreid.runtime.compute import Compute
from upreid.runtime.console import say
from upreid.runtime.distributed import ALONE, World
from upreid.runtime.seed import stream_key
from upreid.types import Preprocess, Views

CACHE_BYTES = 2_000_000_000
"""A training set whose input tensors are smaller than this is decoded once and kept."""

Loaded = tuple[int, LabelledBatch]
"""A step, and this rank's images of it."""


class PKBatches:
    """For each step `people_per_batch` x `images_per_person` places in the training list, and the epoch.

    An epoch deals every person's images in a new order, K at a time, and ends when fewer than P people have images left:
    the sampling of Bag of Tricks, except that a short rest is filled up with other images of the person, where Bag of Tricks
    leaves it out. Only people with fewer than K images repeat any. Everything follows from (seed, epoch).
    """

    def __init__(self, people: Sequence[int], *, people_per_batch: int, images_per_person: int, seed: int) -> None:
        self.places: dict[int, list[int]] = {}
        for place, person in enumerate(people):
            self.places.setdefault(person, []).append(place)
        if len(self.places) < people_per_batch:
            raise InputError(
                f"batches of {people_per_batch} people, but the training set has {len(self.places)}; "
                f"lower --train.identities"
            )
        self.num_people, self.num_images, self.seed = people_per_batch, images_per_person, seed

    def epoch(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch."""
        numbers = np.random.default_rng(stream_key(self.seed, epoch, "pk"))
        hands = {person: self.deal(places, numbers) for person, places in self.places.items()}
        batches: list[list[int]] = []
        while len(hands) >= self.num_people:
            chosen = numbers.choice(list(hands), self.num_people, replace=False).tolist()
            batches.append([place for person in chosen for place in hands[person].pop()])
            hands = {person: hand for person, hand in hands.items() if hand}
        return batches

    def deal(self, places: list[int], numbers: np.random.Generator) -> list[list[int]]:
        """Shuffle a person's images and cut them into parts of K; the start of the order fills up a short last part."""
        order = numbers.permutation(places).tolist()
        missing = -len(order) % self.num_images
        order += islice(cycle(order[:]), missing)
        return [order[start : start + self.num_images] for start in range(0, len(order), self.num_images)]

    def steps(self, total: int) -> Iterator[tuple[int, list[int]]]:
        """Yield (epoch, places) for `total` steps; epochs may differ in length, so that every one is dealt."""
        epoch = done = 0
        while done < total:
            for batch in self.epoch(epoch)[: total - done]:
                yield epoch, batch
                done += 1
            epoch += 1


class LabelledFeed:
    """The views `images`, `people` (numbered from 0) and `cameras`; random numbers belong to (seed, step, slot in the batch).

    An unreadable image gives way to the next readable one of the same person, and is counted and named, up to `unreadable_share`
    of all.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        preprocess: Preprocess,
        augment: DownstreamAugment,
        identities: int,
        images: int,
        seed: int,
        compute: Compute,
        accumulate: int = 1,
        world: World = ALONE,
        unreadable_share: float = 0.01,
    ) -> None:
        if identities % (world.size * accumulate):
            shares = world.size * accumulate
            raise InputError(
                f"batches of {identities} people do not divide over {world.size} processes x {accumulate} backward passes; "
                f"use --train.identities {-(-identities // shares) * shares}"
            )
        self.order = PKBatches(people(records), people_per_batch=identities, images_per_person=images, seed=seed)
        self.records, self.preprocess, self.augment = records, preprocess, augment
        self.compute, self.world = compute, world
        self.batch, self.num_images = identities * images, len(records)
        self.steps_per_epoch = len(self.order.epoch(0))
        number = {person: place for place, person in enumerate(sorted(set(people(records))))}
        self.people = torch.tensor([number[person] for person in people(records)])
        self.cameras = torch.tensor(cameras(records))
        self.fingerprint = fingerprint(records)
        self.unreadable_share = unreadable_share
        self.ledger = SkipLedger(len(records), unreadable_share)
        self.dataset = LabelledTrainingImages(records, preprocess, limit=unreadable_share)
        self.decoded = self.decode_all() if self.is_small else None

    @property
    def num_people(self) -> int:
        """Return the number of people, the classes of an identity loss."""
        return int(self.people.max()) + 1

    def batches(self, first: int, last: int) -> Iterator[Loaded]:
        """Yield this rank's part of the steps from `first` to `last`: P / ranks people."""
        whole = [places for _, places in self.order.steps(last)][first:]
        order = [places[self.world.share(len(places))] for places in whole]
        batches = self.loaded(order) if self.decoded is None else (part_of(self.decoded, places) for places in order)
        yield from zip(range(first, last), batches, strict=True)

    @property
    def is_small(self) -> bool:
        """Whether all images fit into memory."""
        return self.num_images * 3 * self.preprocess.height * self.preprocess.width * 4 < CACHE_BYTES

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

    def loaded(self, order: Sequence[list[int]]) -> Iterator[LabelledBatch]:
        """Yield batches of images that are decoded when they are needed."""
        pin = self.compute.device.type != "cpu"
        workers = self.compute.workers
        return iter(make_loader(self.dataset, batch_sampler=order, workers=workers, collate=collate_labelled, pin=pin))

    def count(self, skipped: Sequence[tuple[int, str]]) -> None:
        """Count unreadable images, and name those that are new."""
        for sentence in self.ledger.add(skipped):
            say(f"skipped {sentence}")

    def prepare(self, item: Loaded) -> Views:
        """Bring a batch to the device and augment it there; cameras stay on the host, where heads look them up."""
        step, batch = item
        self.count(batch.skipped)
        device = self.compute.device
        images = batch.images.to(device, non_blocking=True)
        return {
            "images": self.augment(images, step, first=self.world.rank * len(images)),
            "people": self.people[batch.indices].to(device, non_blocking=True),
            "cameras": self.cameras[batch.indices],
        }

    def state(self) -> dict[str, Any]:
        """Return the files that were skipped."""
        return {"skipped": self.ledger.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on counting where an earlier run stopped."""
        self.ledger = SkipLedger(self.num_images, self.unreadable_share, state.get("skipped", ()))


def part_of(batch: LabelledBatch, places: Sequence[int]) -> LabelledBatch:
    """Take some images of a batch."""
    return LabelledBatch(images=batch.images[places], indices=batch.indices[places])


def fingerprint(records: Sequence[Record]) -> str:
    """Sixteen hex digits over name, person and camera of every image, in order."""
    lines = (f"{record.path.name}\t{record.person}\t{record.camera}\n" for record in records)
    return "labelled " + hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
