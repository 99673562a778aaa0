"""Unlabelled images in batches of P clusters with K images each, perhaps beside as many images of P people of a labelled source.

Every epoch begins with a new clustering.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from upreid.data.augment.downstream import DownstreamAugment
from upreid.data.dataset import LabelledBatch
from upreid.data.records import UNKNOWN_CAMERA, Record, cameras, numbered_people
from upreid.errors import DataError, InputError, Stopped
from upreid.methods.cluster_contrast import ClusterContrast
from upreid.models.encoder import Encoder
from upreid.retrieval.cluster_report import cluster_line
from upreid.retrieval.clustering import Clusters, measured
from upreid.retrieval.features import encode_batches, own_part
from upreid.retrieval.settings import ClusterOptions
from upreid.runtime.compute import Compute
from upreid.runtime.console import say
from upreid.runtime.distributed import ALONE, World, agree, average, from_lead, gather_rows
from upreid.runtime.interrupt import Stop, is_time_to_stop
from upreid.runtime.seed import stream_key
from upreid.training.feeds.cluster_batches import ClusterBatches
from upreid.training.feeds.epoch_clusters import EpochClusters
from upreid.training.feeds.inputs import TrainingInputs
from upreid.training.state import exported
from upreid.types import Preprocess, Views

BATCH = 128
"""Number of images in a forward pass that makes features."""

Loaded = tuple[int, LabelledBatch]
"""A step, and this rank's images of it: those of the target, then those of the source."""

VIEWS = (("images", "clusters", ""), ("source_images", "people", "source_"))
"""Names of the views of the target and of the source: pictures, their classes, and what the names of others begin with."""


class ClusteredFeed:
    """The views `images` and `clusters`; random numbers belong to (seed, step, slot in the batch).

    An epoch is a fixed number of steps. Before its first, the images are encoded by the encoder as it is (the ranks share them),
    rank 0 clusters them, and the method is told. The clusters of an epoch are part of the state, so that a run resumed within it
    goes on with them.

    With records of a labelled `source` there are the views `source_images` and `people` too, drawn in the same way from its
    people. These images are encoded for every epoch as well, with the BatchNorm of the source. People are the classes from 0 in
    the order of their labels, and clusters are the classes after them. In the first `alone_epochs` clusters may be too poor to
    learn from: such an epoch has no view `clusters`, and its `images` are drawn at random.

    A memory may ask for the views `places`, in the list of the target's images and then the source's, and `cameras`; those of the
    source are called `source_places` and `source_cameras`.
    """

    def __init__(
        self,
        records: Sequence[Record],
        method: ClusterContrast,
        options: ClusterOptions,
        *,
        reliability_gap: float = 0.0,
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
        source: Sequence[Record] = (),
        alone_epochs: int = 0,
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
        self.how: dict[str, Any] = {"clusters_per_batch": clusters, "images_per_cluster": images}
        self.seed, self.use_cameras = seed, use_cameras
        self.steps_per_epoch, self.of_each_set = iterations, clusters * images
        self.batch = self.of_each_set * (2 if source else 1)
        self.num_images, self.fingerprint = len(records), fingerprint
        self.clusters = EpochClusters(
            options,
            reliability_gap=reliability_gap,
            people=people,
            clusters_per_batch=clusters,
            alone_epochs=alone_epochs,
            singles=method.memory.learns_singles,
        )
        self.compute, self.world, self.stop = compute, world, Stop() if stop is None else stop
        self.cameras = self.cameras_of(records)
        self.source_people = torch.tensor(numbered_people(source), dtype=torch.long)
        self.source_order = ClusterBatches(
            self.source_people.tolist(), self.cameras_of(source), **self.how, seed=stream_key(seed, 0, "source")
        )
        if source and len(self.source_order.places) < clusters:
            raise InputError(
                f"batches of {clusters} people of the source, and {len(self.source_order.places)} of its people have two "
                "images or more; lower --train.identities, or take another source"
            )
        self.known = {
            "places": torch.arange(len(records) + len(source)),
            "cameras": torch.tensor([*cameras(records), *cameras(source)], dtype=torch.long),
        }
        self.inputs = TrainingInputs([*records, *source], preprocess, compute, unreadable_share)
        self.take(torch.full((len(records),), -1), -1)
        self.news: dict[str, Any] = {}
        self.num_alone = 0

    def cameras_of(self, records: Sequence[Record]) -> list[int]:
        """Return the cameras that decide which images meet in a batch: all the same where one is not known."""
        seen = cameras(records)
        return seen if self.use_cameras and UNKNOWN_CAMERA not in seen else [0] * len(seen)

    def take(self, labels: Int64[Tensor, " images"], epoch: int) -> None:
        """Take the clusters of an epoch, and number them as classes behind the people of the source.

        Where the memory learns single images, those of no cluster are classes of their own behind the clusters.
        """
        self.labels, self.epoch, is_single = labels, epoch, labels == -1
        own = labels.clamp(min=-1)
        if self.method.memory.learns_singles:
            own[is_single] = max(int(labels.max()), -1) + torch.arange(1, 1 + int(is_single.sum()))
        num_people = int(self.source_people.max()) + 1 if len(self.source_people) else 0
        self.classes = torch.cat([torch.where(own < 0, -1, own + num_people), self.source_people])
        self.is_alone = bool((own < 0).all())

    def batches(self, first: int, last: int) -> Iterator[Loaded]:
        """Yield this rank's part of the steps from `first` to `last`: P / ranks clusters, and as many people of the source."""
        share = self.world.share(self.of_each_set)
        for epoch in range(first // self.steps_per_epoch, -(-last // self.steps_per_epoch)):
            if epoch != self.epoch:
                self.regroup(epoch)
            begin = epoch * self.steps_per_epoch
            steps = range(max(first, begin), min(last, begin + self.steps_per_epoch))
            whole = self.order(epoch)[steps.start - begin : steps.stop - begin]
            own = [places[share] for places in whole]
            if len(self.source_people):
                known = self.source_order.epoch(epoch, self.steps_per_epoch)[steps.start - begin : steps.stop - begin]
                beside = ([self.num_images + place for place in places[share]] for places in known)
                own = [target + source for target, source in zip(own, beside, strict=True)]
            yield from zip(steps, self.inputs.batches(own), strict=True)

    def order(self, epoch: int) -> list[list[int]]:
        """Draw the target's images of each step of an epoch: of its classes, or where there are none to learn from, any."""
        if not self.is_alone:
            classes, singles = self.classes[: self.num_images].tolist(), self.method.memory.learns_singles
            batches = ClusterBatches(classes, self.cameras, **self.how, seed=self.seed, singles=singles)
            return batches.epoch(epoch, self.steps_per_epoch)
        numbers = np.random.default_rng(stream_key(self.seed, epoch, "any images"))
        return [numbers.permutation(self.num_images)[: self.of_each_set].tolist() for _ in range(self.steps_per_epoch)]

    def regroup(self, epoch: int) -> None:
        """Encode the images, cluster them, and tell the method; a memory that keeps their vectors needs no encoding.

        Raises InputError where nothing can be learnt from the clusters, and Stopped on all ranks where one was asked to stop.
        """
        phases = dict[str, dict[str, float]]()
        memory = self.method.memory
        if (kept := memory.kept()) is None:
            with measured(phases, "features"):
                features = F.normalize(self.features(self.method.encoder(), range(self.num_images)))
        else:
            features = kept.cpu()
        is_read = self.readable()
        found = from_lead(lambda: self.cluster(features, is_read, epoch), self.world)
        if found is None or agree(bool(self.stop), self.compute.device, self.world):
            raise Stopped("asked to stop while clustering")
        self.clusters.take(found.report)
        self.take(torch.from_numpy(found.labels), epoch)
        self.num_alone += int(self.is_alone)
        if kept is not None:
            memory.regroup(self.classes)
        elif (encoder := self.method.source_encoder()) is not None:
            with measured(phases, "source features"):
                known = self.features(encoder, range(self.num_images, len(self.classes)))
            features = torch.cat([features, F.normalize(known)])
        if kept is None:
            self.method.begin_epoch(features, self.classes, self.known["cameras"])
        self.news = {"epoch": epoch, "clusters": found.report | {"phases": phases | found.report["phases"]}}
        if self.world.is_lead:
            say(f"epoch {epoch + 1}: {cluster_line(found.report)}")

    def features(self, encoder: Encoder, places: range) -> Float[Tensor, "images dim"]:
        """Encode some of the images without augmentation, on all ranks together."""
        encoder = exported(encoder, self.world).eval()
        own = places[own_part(len(places), BATCH, self.world)]
        order = [list(own[first : first + BATCH]) for first in range(0, len(own), BATCH)]
        loaded = self.read(order, -(-len(places) // BATCH) // self.world.size)
        how = {"device": self.compute.device, "quiet": not self.world.is_lead}
        return gather_rows(
            encode_batches(encoder.after_neck, loaded, torch.zeros(len(own), dtype=torch.long), **how), self.world
        )

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
        failed[[place for place in self.inputs.ledger.reasons if place < self.num_images]] = 1
        return average(failed, self.world) == 0

    def cluster(
        self, features: Float[Tensor, "images dim"], is_read: Bool[Tensor, " images"], epoch: int
    ) -> Clusters | None:
        """Find the clusters of an epoch; None where somebody asks to stop meanwhile."""
        try:
            return self.clusters.find(features, is_read, epoch, self.heed)
        except Stopped:
            return None

    def heed(self, *progress: object) -> None:
        """Raise Stopped where somebody asked this process to stop."""
        del progress
        if self.stop:
            raise Stopped("asked to stop while clustering")

    def prepare(self, item: Loaded) -> Views:
        """Bring a batch to the device and augment it there."""
        step, batch = item
        self.inputs.count(batch.skipped)
        device, own = self.compute.device, self.of_each_set // self.world.size
        images = batch.images.to(device, non_blocking=True).split(own)
        numbers = self.classes[batch.indices]
        if batch.skipped and (numbers < 0).any() and not self.is_alone:
            raise DataError(
                f"cannot read image {batch.skipped[0][1]}; it could be read when the images of this epoch were clustered: put it "
                "back and go on with --resume"
            )
        known = {"classes": numbers} | {asked: self.known[asked][batch.indices] for asked in self.method.memory.asks}
        parts = {what: values.to(device, non_blocking=True).split(own) for what, values in known.items()}
        views: Views = {}
        for number, (pictures, classes, prefix) in enumerate(VIEWS[: len(images)]):
            first = number * self.of_each_set + self.world.rank * own
            names = {what: classes if what == "classes" else prefix + what for what in parts}
            views[pictures] = self.augment(images[number], step, first=first)
            views |= {names[what]: values[number] for what, values in parts.items()}
        if self.is_alone:
            del views["clusters"]
        return views

    def report(self) -> dict[str, Any]:
        """Return what came of the last clustering, once."""
        news, self.news = self.news, {}
        return news

    def state(self) -> dict[str, Any]:
        """Return the clusters of this epoch, the files that were skipped, how often the source was alone, and a threshold."""
        more = {"alone": self.num_alone} if len(self.source_people) else {}
        more |= {} if self.clusters.independence is None else {"independence": self.clusters.independence}
        return {"skipped": self.inputs.ledger.state(), "epoch": self.epoch, "labels": self.labels.clone(), **more}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on with the clusters that an earlier run had."""
        self.inputs.go_on(state.get("skipped", ()))
        self.take(state["labels"], int(state["epoch"]))
        self.num_alone, self.clusters.independence = int(state.get("alone", 0)), state.get("independence")
