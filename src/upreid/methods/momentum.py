"""Forwards through the momentum copy, without gradient, of the images of all ranks together."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from upreid.models.batchnorm import regrouped
from upreid.models.network import Network
from upreid.runtime.distributed import World, gather
from upreid.runtime.seed import permutation


@dataclass(frozen=True, kw_only=True)
class MomentumForwards:
    """How keys, originals and key patches are embedded: split as the query forwards are, images in a permuted order.

    With `shuffles` no key meets the BatchNorm group of its query.
    """

    seed: int
    accumulate: int
    shuffles: bool
    world: World

    def shuffled(
        self,
        teacher: Network,
        images: Float[Tensor, "batch 3 height width"],
        step: int,
        *,
        groups: int | None = None,
        boxes: Float[Tensor, "batch 4"] | None = None,
    ) -> tuple[Float[Tensor, "images dim"], Float[Tensor, "images parts dim"] | None]:
        """Embed this rank's images, and regions in `boxes`; return those of all ranks.

        Shuffle-BN (MoCo, section 3.3): the ranks exchange images, each encodes a random share, and the
        embeddings go back to their places. In one process the shares are BatchNorm groups.
        """
        given = [images] if boxes is None else [images, boxes]
        if not self.shuffles:
            embedded, order = self.embed(teacher, given, groups), slice(None)
        else:
            given = [gather(tensor, self.world) for tensor in given]
            there = torch.from_numpy(permutation(self.seed, step, len(given[0]), purpose="shuffle"))
            there = there.to(images.device, non_blocking=True)
            mine = there[self.world.share(len(there))]
            embedded, order = self.embed(teacher, [tensor[mine] for tensor in given], groups), there.argsort()
        images, *regions = (gather(tensor, self.world)[order] for tensor in embedded)
        return images, regions[0] if regions else None

    def embed(self, teacher: Network, given: Sequence[Tensor], groups: int | None) -> list[Tensor]:
        """Embed images and boxes in as many parts as the queries will be, each in `groups` of BatchNorm."""
        with regrouped(teacher.backbone, groups):
            parts = zip(*(tensor.chunk(self.accumulate) for tensor in given), strict=True)
            outputs = [teacher(images, None, boxes=boxes[0] if boxes else None) for images, *boxes in parts]
        return [torch.cat(tensors) for tensors in zip(*outputs, strict=True) if tensors[0] is not None]

    def patches(
        self, teacher: Network, patches: Float[Tensor, "batch patches 3 height width"], groups: int | None
    ) -> Float[Tensor, "images parts dim"]:
        """Embed this rank's patches; return those of all ranks."""
        parts = patches.chunk(self.accumulate)
        return gather(torch.cat([teacher(None, part, groups)[1] for part in parts]), self.world)
