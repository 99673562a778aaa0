"""Unlabelled images in batches of P clusters with K images each; every epoch begins with a new clustering."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from upreid.data.augment.downstream import DownstreamAugment
from upreid.data.dataset import LabelledBatch
from upreid.data.records import Record, cameras
from upreid.errors import InputError, Stopped
from upreid.methods.cluster_contrast import ClusterContrast
from upreid.retrieval.cluster_report import check_clusters, cluster_line
from upreid.retrieval.clustering import Clusters, cluster, measured
from upreid.retrieval.features import encode_batches, own_part
from upreid.retrieval.settings import ClusterOptions
from upreid.runtime.compute import Compute
from upreid.runtime.console import say
from upreid.runtime.distributed import ALONE, World, agree, average, from_lead, gather_rows
from upreid.runtime.interrupt import Stop, is_time_to_stop
from upreid.runtime.seed import stream_key
from upreid.training.feeds.inputs import TrainingInputs
from upreid.training.state import exported
from upreid.types import Preprocess, Views

BATCH = 128
"""Number of images in a forward pass that makes features."""

Loaded = tuple[int, LabelledBatch]
"""A step, and this rank's images of it."""


class ClusterBatches:
    """For each step of an epoch `clusters_per_batch` x `images_per_cluster` places in the list of images.

    Every pass over the clusters is a new permutation. Of each cluster one image is drawn, and the others of the batch from images
    of other cameras, where the cluster has some; images repeat where there are too few. Clusters of one image, and what is left
    over after the last whole batch of a pass, are left out. This is the sampling of Cluster-Contrast. Everything follows from
    (seed, epoch).
    """

    def __init__(
        self, labels: Sequence[int], seen: Sequence[int], *, clusters_per_batch: int, images_per_cluster: int, seed: int
    ) -> None:
        self.num_clusters, self.num_images, self.seed = clusters_per_batch, images_per_cluster, seed
        self.cameras = np.asarray(seen)
        places: dict[int, list[int]] = {}
        for place, label in enumerate(labels):
            places.setdefault(label, []).append(place)
        self.places = [np.array(some) for label, some in sorted(places.items()) if label >= 0 and len(some) > 1]

    def epoch(self, epoch: int, steps: int) -> list[list[int]]:
        """Draw the batches of an epoch."""
        numbers = np.random.default_rng(stream_key(self.seed, epoch, "clusters"))
        batches: list[list[int]] = []
        while len(batches) < steps:
            order = numbers.permutation(len(self.places))
            for first in range(0, len(order) - self.num_clusters + 1, self.num_clusters):
                chosen = order[first : first + self.num_clusters]
                batches.append([place for one in chosen for place in self.draw(self.places[one], numbers)])
        return batches[:steps]

    def draw(self, places: np.ndarray, numbers: np.random.Generator) -> list[int]:
        """Draw K images of a cluster."""
        first = numbers.choice(places)
        others = places[self.cameras[places] != self.cameras[first]]
        others = others if len(others) else places[places != first]
        more = numbers.choice(others, self.num_images - 1, replace=len(others) < self.num_images - 1)
        return [int(first), *more.tolist()]


class ClusteredFeed:
    """The views `images` and `clusters`; random numbers belong to (seed, step, slot in the batch).

    An epoch is a fixed number of steps. Before its first, the images are encoded by the encoder as it is (the ranks share them),
    rank 0 clusters them, and the method is told. The clusters of an epoch are part of the state, so that a run resumed within it
    goes on with them.
    """

    def __init__(
        self,
        records: Sequence[Record],
        method: ClusterContrast,
        options: ClusterOptions,
        *,
        fingerprint: str,
        preprocess: Preprocess,
        augment: DownstreamAugment,
        clusters: int,
        images: int,
        iterations: int,
        use_cameras: bool,
        people: Sequence[int | None] | None,
        seed: int,
        compute: Compute,
        world: World = ALONE,
        stop: Stop | None = None,
        unreadable_share: float = 0.01,
    ) -> None:
        if len(records) < clusters * images:
            raise InputError(
                f"batches of {clusters} clusters x {images} images, and there are {len(records)} images to adapt to; lower "
                "--train.identities or --train.images, or add images"
            )
        self.method, self.options, self.augment = method, options, augment
        self.num_clusters, self.num_of_each, self.seed = clusters, images, seed
        self.batch, self.num_images, self.steps_per_epoch = clusters * images, len(records), iterations
        self.fingerprint, self.people = fingerprint, people
        self.compute, self.world, self.stop = compute, world, Stop() if stop is None else stop
        self.cameras = cameras(records) if use_cameras else [0] * len(records)
        self.inputs = TrainingInputs(records, preprocess, compute, unreadable_share)
        self.labels = torch.full((len(records),), -1)
        self.epoch = -1
        self.news: dict[str, Any] = {}

    def batches(self, first: int, last: int) -> Iterator[Loaded]:
        """Yield this rank's part of the steps from `first` to `last`: P / ranks clusters."""
        for epoch in range(first // self.steps_per_epoch, -(-last // self.steps_per_epoch)):
            if epoch != self.epoch:
                self.regroup(epoch)
            begin = epoch * self.steps_per_epoch
            steps = range(max(first, begin), min(last, begin + self.steps_per_epoch))
            how = {"clusters_per_batch": self.num_clusters, "images_per_cluster": self.num_of_each}
            order = ClusterBatches(self.labels.tolist(), self.cameras, **how, seed=self.seed)
            whole = order.epoch(epoch, self.steps_per_epoch)[steps.start - begin : steps.stop - begin]
            yield from zip(
                steps, self.inputs.batches([places[self.world.share(self.batch)] for places in whole]), strict=True
            )

    def regroup(self, epoch: int) -> None:
        """Encode the images, cluster them, and tell the method.

        Raises InputError where nothing can be learnt from the clusters, and Stopped on all ranks where one was asked to stop.
        """
        phases = dict[str, dict[str, float]]()
        with measured(phases, "features"):
            features = F.normalize(self.features())
        is_read = self.readable()
        found = from_lead(lambda: self.cluster(features, is_read), self.world)
        if found is None or agree(bool(self.stop), self.compute.device, self.world):
            raise Stopped("asked to stop while clustering")
        self.labels, self.epoch = torch.from_numpy(found.labels), epoch
        self.method.begin_epoch(features, self.labels)
        self.news = {"epoch": epoch, "clusters": found.report | {"phases": phases | found.report["phases"]}}
        if self.world.is_lead:
            say(f"epoch {epoch + 1}: {cluster_line(found.report)}")

    def features(self) -> Float[Tensor, "images dim"]:
        """Encode all images without augmentation, on all ranks together."""
        encoder = exported(self.method.encoder(), self.world).eval()
        own = range(self.num_images)[own_part(self.num_images, BATCH, self.world)]
        order = [list(own[first : first + BATCH]) for first in range(0, len(own), BATCH)]
        seen = torch.tensor(self.cameras)[own.start : own.stop]
        loaded = self.read(order, -(-self.num_images // BATCH) // self.world.size)
        how = {"device": self.compute.device, "quiet": not self.world.is_lead}
        return gather_rows(encode_batches(encoder.after_neck, loaded, seen, **how), self.world)

    def read(self, order: Sequence[list[int]], votes: int) -> Iterator[Tensor]:
        """Yield images in order, and count those that cannot be read; Stopped where a rank was asked to stop.

        `votes`: number of batches that every rank has at least.
        """
        for number, batch in enumerate(self.inputs.batches(order)):
            if number < votes and is_time_to_stop(self.stop, number, self.compute.device, self.world):
                raise Stopped("asked to stop while encoding images")
            self.inputs.count(batch.skipped)
            yield batch.images

    def readable(self) -> Bool[Tensor, " images"]:
        """Tell which images no rank has failed to read: in the place of the others stands the feature of another image."""
        failed = torch.zeros(self.num_images)
        failed[list(self.inputs.ledger.reasons)] = 1
        return average(failed, self.world) == 0

    def cluster(self, features: Float[Tensor, "images dim"], is_read: Bool[Tensor, " images"]) -> Clusters | None:
        """Cluster features, and refuse what cannot be learnt from; None where somebody asks to stop meanwhile.

        Images that cannot be read take no part, and belong to no cluster.
        """
        people = self.people and [
            person for person, is_one in zip(self.people, is_read.tolist(), strict=True) if is_one
        ]
        try:
            found = cluster(features[is_read], **vars(self.options), people=people, watch=self.heed)
        except Stopped:
            return None
        labels = np.full(self.num_images, -1)
        labels[is_read.numpy()] = found.labels
        unreadable = self.num_images - len(found.labels)
        found = replace(found, labels=labels, report=found.report | {"unreadable": unreadable})
        sizes = np.bincount(found.labels[found.labels >= 0])
        report = found.report | {"clusters": int((sizes > 1).sum())}  # those of one image are not trained on
        check_clusters(report, people_per_batch=self.num_clusters, prefix="--cluster.")
        return found

    def heed(self, *progress: object) -> None:
        """Raise Stopped where somebody asked this process to stop."""
        del progress
        if self.stop:
            raise Stopped("asked to stop while clustering")

    def prepare(self, item: Loaded) -> Views:
        """Bring a batch to the device and augment it there."""
        step, batch = item
        self.inputs.count(batch.skipped)
        device = self.compute.device
        images = batch.images.to(device, non_blocking=True)
        return {
            "images": self.augment(images, step, first=self.world.rank * len(images)),
            "clusters": self.labels[batch.indices].to(device, non_blocking=True),
        }

    def report(self) -> dict[str, Any]:
        """Return what came of the last clustering, once."""
        news, self.news = self.news, {}
        return news

    def state(self) -> dict[str, Any]:
        """Return the clusters of this epoch, and the files that were skipped."""
        return {"skipped": self.inputs.ledger.state(), "epoch": self.epoch, "labels": self.labels.clone()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the clusters that an earlier run had."""
        self.inputs.go_on(state.get("skipped", ()))
        self.epoch, self.labels = int(state["epoch"]), state["labels"]
