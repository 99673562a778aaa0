"""Labelled images in batches of P people with K images each."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
import torch

from upreid.data.augment.downstream import DownstreamAugment
from upreid.data.dataset import LabelledBatch
from upreid.data.records import Record, cameras, numbered_people, people
from upreid.errors import InputError
from upreid.runtime.compute import Compute
from upreid.runtime.distributed import ALONE, World
from upreid.runtime.seed import stream_key
from upreid.training.feeds.inputs import TrainingInputs
from upreid.types import Preprocess, Views

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
        self.augment = augment
        self.compute, self.world = compute, world
        self.batch, self.num_images = identities * images, len(records)
        self.steps_per_epoch = len(self.order.epoch(0))
        self.people = torch.tensor(numbered_people(records))
        self.cameras = torch.tensor(cameras(records))
        self.fingerprint = fingerprint(records)
        self.inputs = TrainingInputs(records, preprocess, compute, unreadable_share)

    @property
    def num_people(self) -> int:
        """Return the number of people, the classes of an identity loss."""
        return int(self.people.max()) + 1

    def batches(self, first: int, last: int) -> Iterator[Loaded]:
        """Yield this rank's part of the steps from `first` to `last`: P / ranks people."""
        whole = [places for _, places in self.order.steps(last)][first:]
        order = [places[self.world.share(len(places))] for places in whole]
        yield from zip(range(first, last), self.inputs.batches(order), strict=True)

    def prepare(self, item: Loaded) -> Views:
        """Bring a batch to the device and augment it there; cameras stay on the host, where heads look them up."""
        step, batch = item
        self.inputs.count(batch.skipped)
        device = self.compute.device
        images = batch.images.to(device, non_blocking=True)
        return {
            "images": self.augment(images, step, first=self.world.rank * len(images)),
            "people": self.people[batch.indices].to(device, non_blocking=True),
            "cameras": self.cameras[batch.indices],
        }

    def report(self) -> dict[str, Any]:
        """Return nothing: the images need no preparation that a journal should hold."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return the files that were skipped."""
        return {"skipped": self.inputs.ledger.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on counting where an earlier run stopped."""
        self.inputs.go_on(state.get("skipped", ()))


def fingerprint(records: Sequence[Record]) -> str:
    """Sixteen hex digits over name, person and camera of every image, in order."""
    lines = (f"{record.path.name}\t{record.person}\t{record.camera}\n" for record in records)
    return "labelled " + hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
