"""Batches of P people with K images each, as batch-hard mining needs them."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice

import numpy as np

from upreid.errors import InputError
from upreid.runtime.seed import stream_key


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
