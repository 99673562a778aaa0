"""Intra-identity (I2) regularisation: UP-ReID's two terms, for any base method.

A base gives them an image embedding, the embeddings of regions, and a momentum encoder. The terms bring their views, their own
state and the schedule of their weights. What a term means is a *reading* of the paper (`losses/consistency.py`,
`losses/intrinsic.py`, docs/paper.md). A term that is not there costs nothing: its views are not made and its forward is not run.
A term is on in those steps whose batch holds its views, and looks at those images that the views hold.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from upreid.config.pretrain import OriginalOf, PatchSource
from upreid.data.augment import (
    Augmentation,
    CropBox,
    OriginalView,
    PatchGrid,
    PatchView,
    TrackletNumber,
    ViewRequest,
)
from upreid.losses import consistency, intrinsic
from upreid.methods.shares import BatchPart, Occasion
from upreid.models.keys import Queue
from upreid.models.regions import overlap_of
from upreid.runtime.distributed import World, gather
from upreid.types import Views


class GlobalConsistency(nn.Module):
    """The image term: an augmented view stays consistent with its un-augmented original.

    `of` says whose original that is where the base takes query and key from two crops of a tracklet: the query's own, or the
    key's. With `knows_tracklets` anchors of the own tracklet do not count.
    """

    def __init__(
        self,
        reading: str,
        *,
        when: Occasion,
        of: OriginalOf = "query",
        knows_tracklets: bool = False,
        weight: float,
        temperature: float,
        teacher_temperature: float,
        ramp_up: int,
        queue: int,
        embed_dim: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.name, self.reading, self.when = reading, consistency.READINGS[reading], when
        self.weight, self.ramp_up = weight, ramp_up
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.of_mate, self.knows_tracklets = of == "key", knows_tracklets
        has_queue = self.reading.anchors == "originals"
        self.originals = Queue(queue, embed_dim, seed=seed, numbered=knows_tracklets) if has_queue else None

    def views(self) -> dict[str, ViewRequest]:
        """Name what the term looks at beside the query."""
        how = {"of_mate": self.of_mate, **vars(self.when)}
        requests: dict[str, ViewRequest] = {"original": OriginalView(**how)}
        return requests | ({"original_tracklets": TrackletNumber(**how)} if self.knows_tracklets else {})

    def loss(
        self,
        query: Float[Tensor, "part dim"],
        originals: Float[Tensor, "images dim"],
        tracklets: Int64[Tensor, " images"] | None,
        own: Int64[Tensor, " part"],
        past_keys: Queue,
    ) -> Float[Tensor, ""]:
        """Compare views with their originals; `own` are the places of their images in the batch of all ranks."""
        queue = past_keys if self.originals is None else self.originals
        anchors, left_out = queue.keys, queue.of_tracklets(None if tracklets is None else tracklets[own])
        if self.reading.anchors == "batch":
            anchors, left_out = originals, None if tracklets is None else tracklets[own][:, None] == tracklets
        return self.reading.loss(
            query,
            originals[own],
            anchors,
            own,
            temperature=self.temperature,
            teacher_temperature=self.teacher_temperature,
            left_out=left_out,
        )


class IntrinsicContrast(nn.Module):
    """The patch term: local patches of one image are contrasted with each other."""

    def __init__(
        self,
        reading: str,
        *,
        weight: float,
        temperature: float,
        hardest: int | None,
        rows: int,
        columns: int,
        source: PatchSource,
        preset: str,
        augmentation: Augmentation,
        ramp_up: int,
        when: Occasion,
    ) -> None:
        super().__init__()
        self.name, self.reading, self.when = reading, intrinsic.LOSSES[reading], when
        self.weight, self.ramp_up = weight, ramp_up
        self.temperature, self.hardest = temperature, hardest
        self.grid, self.source = PatchGrid(rows=rows, columns=columns), source
        self.preset, self.augmentation = preset, augmentation

    def views(self, view: Augmentation) -> dict[str, ViewRequest]:
        """Name what the term looks at: the crops of the base's `query` and `key`, or patches, mirrored as often as its views."""
        if self.source == "views":
            boxes = {"preset": view, "steps": self.when.steps}
            return {f"{name}_box": CropBox(of=name, **boxes) for name in ("query", "key")}
        patches = self.patches(view.flip_probability, self.when)
        return patches if self.reading.needs_keys else {"query_patches": patches["query_patches"]}

    def patches(self, flip_probability: float, when: Occasion) -> dict[str, ViewRequest]:
        """Name the two versions of the patches, in one piece where the network cuts them out of its map."""
        grid = self.grid if self.source == "pixels" else PatchGrid(rows=1, columns=1)
        how = {"preset": self.augmentation, "grid": grid, "flip_probability": flip_probability, **vars(when)}
        return {f"{version}_patches": PatchView(stream=f"patches-{version}", **how) for version in ("query", "key")}

    def loss(
        self,
        query: Float[Tensor, "part patches dim"],
        keys: Float[Tensor, "images patches dim"],
        own: Int64[Tensor, " part"],
        weights: Float[Tensor, " part"] | None = None,
    ) -> Float[Tensor, ""]:
        """Contrast patches; `own` are the places of their images in the batch of all ranks, `weights` theirs in the mean."""
        how = {"temperature": self.temperature, "hardest": self.hardest, "columns": self.grid.columns}
        return self.reading.loss(query, keys, own, **how, weights=weights)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """Where the two views of each image of a batch overlap: a box in each view, and 1 where that is enough to count, else 0."""

    in_query: Float[Tensor, "batch 4"]
    in_key: Float[Tensor, "batch 4"]
    counts: Float[Tensor, " batch"]


@dataclass(frozen=True, kw_only=True)
class IntraIdentityTargets:
    """What the two terms compare with: the whole batch, all ranks together, without gradient."""

    originals: Float[Tensor, "images dim"] | None
    patches: Float[Tensor, "some patches dim"] | None
    tracklets: Int64[Tensor, " images"] | None = None
    """Number of the tracklet of each original, where anchors of it do not count."""


class IntraIdentity(nn.Module):
    """Both terms, either of which may be missing."""

    def __init__(self, image_term: GlobalConsistency | None, patch_term: IntrinsicContrast | None) -> None:
        super().__init__()
        self.consistency, self.intrinsic = image_term, patch_term

    def views(self, view: Augmentation) -> dict[str, ViewRequest]:
        """Name what the terms look at beside the views of the base, which `view` makes."""
        requests: dict[str, ViewRequest] = {}
        if self.consistency is not None:
            requests |= self.consistency.views()
        if self.intrinsic is not None:
            requests |= self.intrinsic.views(view)
        return requests

    def weights(self, step: int) -> dict[str, float]:
        """Return the weight of each term at this step."""
        terms = {"consistency": self.consistency, "intrinsic": self.intrinsic}
        return {
            name: term.weight * term.when.weight(step, term.ramp_up) for name, term in terms.items() if term is not None
        }

    def has_patches(self, batch: Views) -> bool:
        """Tell whether the patch term is on in this batch, with patches of its own."""
        return self.intrinsic is not None and self.intrinsic.source != "views" and "query_patches" in batch

    def overlap(self, batch: Views) -> Overlap | None:
        """Return where the base's own views overlap, if the patch term is on in this batch and takes its regions from there.

        A key that is no crop is the whole picture.
        """
        if self.intrinsic is None or self.intrinsic.source != "views" or "query_box" not in batch:
            return None
        query = batch["query_box"]
        key = batch["key_box"] if "key_box" in batch else query.new_tensor([0.0, 0.0, 1.0, 1.0]).expand_as(query)
        in_query, in_key, enough = overlap_of(query, key)
        return Overlap(in_query=in_query, in_key=in_key, counts=enough.to(query.dtype))

    def targets(
        self,
        batch: Views,
        embed: Callable[[Tensor], Tensor],
        embed_patches: Callable[[Tensor], Tensor],
        world: World,
        *,
        originals: Float[Tensor, "images dim"] | None = None,
        regions: Float[Tensor, "images patches dim"] | None = None,
    ) -> IntraIdentityTargets:
        """Embed originals and key patches with the base's momentum encoder; both functions return those of all ranks.

        What a forward of the base has made already is not made again: `originals`, or `regions` of the keys' own maps.
        """
        if self.consistency is not None and originals is None and "original" in batch:
            originals = embed(batch["original"])
        has_keys = self.has_patches(batch) and "key_patches" in batch
        patches = embed_patches(batch["key_patches"]) if has_keys else regions
        tracklets = gather(batch["original_tracklets"], world) if "original_tracklets" in batch else None
        return IntraIdentityTargets(originals=originals, patches=patches, tracklets=tracklets)

    def losses(
        self,
        query: Float[Tensor, "part dim"],
        query_patches: Float[Tensor, "some patches dim"] | None,
        targets: IntraIdentityTargets,
        part: BatchPart,
        past_keys: Queue,
        counts: Float[Tensor, " batch"] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """Return the named losses of the terms that are on, unweighted, for one part of the batch.

        `counts` are factors on this rank's images in the patch term, of mean 1 over all ranks; by default all count alike.
        """
        losses: dict[str, Tensor] = {}
        if self.consistency is not None and targets.originals is not None:
            count = len(targets.originals) // part.world.size
            own, some = part.places(count, query.device), part.first(query, count)
            losses["consistency"] = self.consistency.loss(some, targets.originals, targets.tracklets, own, past_keys)
        if self.intrinsic is not None and query_patches is not None:
            keys, own = query_patches.detach(), torch.arange(len(query_patches), device=query.device)
            if targets.patches is not None:  # it is None for a control that looks at no keys
                keys, own = targets.patches, part.places(len(targets.patches) // part.world.size, query.device)
            weights = None if counts is None else counts[part.rows].to(query_patches.dtype)
            losses["intrinsic"] = self.intrinsic.loss(query_patches, keys, own, weights)
        return losses

    @torch.no_grad()
    def push(self, targets: IntraIdentityTargets) -> None:
        """Remember the originals of this step, after the losses: an image's own original is never a past one."""
        if self.consistency is not None and self.consistency.originals is not None and targets.originals is not None:
            self.consistency.originals.push(targets.originals, targets.tracklets)

    def explanation(self) -> str:
        """Return the two terms in words."""
        image, patch = "no consistency", "no intrinsic"
        if (term := self.consistency) is not None:
            image = f"consistency {term.name} x {term.weight:g}{term.when.words()}"
            image += " with the key's original" if term.of_mate else ""
        if (term := self.intrinsic) is not None:
            where = {"map": "the map", "views": "the views' own maps"}.get(term.source, "pixels")
            where += "" if term.source == "views" else f", {term.preset}"
            cut = f"on {term.grid.rows}x{term.grid.columns} patches of {where}"
            patch = f"intrinsic {term.name} x {term.weight:g} {cut}{term.when.words()}"
        return f"{image}, {patch}"
