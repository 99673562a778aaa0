"""Batches of P clusters with K images each, or of P people: the sampling of Cluster-Contrast."""

from collections.abc import Sequence

import numpy as np

from upreid.runtime.seed import stream_key


class ClusterBatches:
    """For each step of an epoch `clusters_per_batch` x `images_per_cluster` places in the list of images.

    Every pass over the clusters is a new permutation. Of each cluster one image is drawn, and the others of the batch from images
    of other cameras, where the cluster has some; images repeat where there are too few. Clusters of one image, and what is left
    over after the last whole batch of a pass, are left out. This is the sampling of Cluster-Contrast. Everything follows from
    (seed, epoch).

    With `singles`, clusters of one image stand in the permutation too, with their one image instead of K, and batches of P x K
    places are cut from the row of all images that are drawn, pass after pass. This is the sampling of SpCL, but for what is left
    over of a pass, which begins the next batch. A batch then has more classes than P, and its ends may cut a cluster.
    """

    def __init__(
        self,
        labels: Sequence[int],
        seen: Sequence[int],
        *,
        clusters_per_batch: int,
        images_per_cluster: int,
        seed: int,
        singles: bool = False,
    ) -> None:
        self.num_clusters, self.num_images, self.seed = clusters_per_batch, images_per_cluster, seed
        self.cameras, self.singles = np.asarray(seen), singles
        places: dict[int, list[int]] = {}
        for place, label in enumerate(labels):
            places.setdefault(label, []).append(place)
        self.places = [
            np.array(some) for label, some in sorted(places.items()) if label >= 0 and (singles or len(some) > 1)
        ]

    def epoch(self, epoch: int, steps: int) -> list[list[int]]:
        """Draw the batches of an epoch."""
        numbers = np.random.default_rng(stream_key(self.seed, epoch, "clusters"))
        if self.singles:
            return self.cut(steps, numbers)
        batches: list[list[int]] = []
        while len(batches) < steps:
            order = numbers.permutation(len(self.places))
            for first in range(0, len(order) - self.num_clusters + 1, self.num_clusters):
                chosen = order[first : first + self.num_clusters]
                batches.append([place for one in chosen for place in self.draw(self.places[one], numbers)])
        return batches[:steps]

    def cut(self, steps: int, numbers: np.random.Generator) -> list[list[int]]:
        """Draw a row of images that is long enough, and cut it into batches."""
        size, row = self.num_clusters * self.num_images, list[int]()
        while len(row) < steps * size:
            for one in numbers.permutation(len(self.places)):
                places = self.places[one]
                row += self.draw(places, numbers) if len(places) > 1 else places.tolist()
        return [row[first : first + size] for first in range(0, steps * size, size)]

    def draw(self, places: np.ndarray, numbers: np.random.Generator) -> list[int]:
        """Draw K images of a cluster."""
        first = numbers.choice(places)
        others = places[self.cameras[places] != self.cameras[first]]
        others = others if len(others) else places[places != first]
        more = numbers.choice(others, self.num_images - 1, replace=len(others) < self.num_images - 1)
        return [int(first), *more.tolist()]
