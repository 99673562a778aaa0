"""A term on a share of the batch and of the training: which images it looks at, in which BatchNorm groups, and in which steps.

The images are the first ones of each BatchNorm group, so that several ranks look at the same ones as one process with as many
groups. Their own groups are at least as large as those of whole batches, and so there are fewer of them: normalised by the
statistics of a few images, a term harms.
"""

from dataclasses import dataclass
from math import ceil

import torch
from jaxtyping import Int64
from torch import Tensor

from upreid.data.augment import FirstOfGroups
from upreid.errors import InputError
from upreid.methods.method import rows_of
from upreid.methods.schedule import ramp
from upreid.runtime.distributed import World

SMALLEST_GROUP = 16
"""Number of images that make a BatchNorm group in any case, also where whole batches have larger ones."""


def first_images(term: str, share: float, *, size: int, groups: int, accumulate: int) -> FirstOfGroups | None:
    """Return the images of a rank's batch that a share of it holds, or None for all; `size` is that of a BatchNorm group.

    Raises InputError where too few are left for a group of their own.
    """
    kept, needed = round(share * size), min(size, SMALLEST_GROUP)
    if kept == size:
        return None
    if kept * groups < needed:
        left = f"{kept * groups} images to a forward" if kept else "no image"
        raise InputError(
            f"--{term}.share {share:g} leaves {left} of {groups} x {size}, and BatchNorm needs a group of {needed}; "
            f"give {ceil(needed / groups) / size:.4g} or more, or a larger --train.batch"
        )
    return FirstOfGroups(groups=groups * accumulate, kept=kept)


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """The images of a batch that a term looks at, and the steps in which it is on; None: all of them."""

    images: FirstOfGroups | None = None
    steps: range | None = None

    def weight(self, step: int, ramp_up: int) -> float:
        """Return the factor on the term's weight: it grows from the first step of the term on."""
        return ramp(step - (self.steps.start if self.steps else 0), ramp_up)

    def words(self) -> str:
        """Say which images and steps these are, where they are not all."""
        images = f", {self.images.kept} images of each BatchNorm group" if self.images else ""
        steps = f", in steps {self.steps.start} to {self.steps.stop - 1}" if self.steps is not None else ""
        return images + steps


@dataclass(frozen=True, kw_only=True)
class BatchPart:
    """Some rows of this rank's batch that go through the network in one forward, in so many BatchNorm groups.

    `count` is everywhere the number of images of this rank's batch that a view holds: all of them, or the first ones of each
    BatchNorm group.
    """

    rows: slice
    batch: int
    groups: int
    world: World

    def of_view(self, count: int) -> slice:
        """Return the rows of the view that belong to this part."""
        return slice(self.rows.start * count // self.batch, self.rows.stop * count // self.batch)

    def places(self, count: int, device: torch.device) -> Int64[Tensor, " rows"]:
        """Return the places of those rows in the views of all ranks together."""
        return rows_of(self.of_view(count), self.world.rank * count, device)

    def first(self, whole: Tensor, count: int) -> Tensor:
        """Select, of a tensor with all rows of this part, the images that the view holds."""
        if count == self.batch:
            return whole
        rows = self.of_view(count)
        return FirstOfGroups(groups=self.groups, kept=(rows.stop - rows.start) // self.groups).of(whole)

    def norm_groups(self, count: int) -> int | None:
        """Return the number of BatchNorm groups for the view, none smaller than the images' own; None where it is theirs."""
        if count == self.batch:
            return None
        rows, size = self.of_view(count), (self.rows.stop - self.rows.start) // self.groups
        number = rows.stop - rows.start
        return next((groups for groups in range(number // size, 1, -1) if number % groups == 0), 1)
