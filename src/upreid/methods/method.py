"""The interface of a method: everything that learns is one, and one loop (`upreid.training`) trains all of them.

In a step the trainer calls, in this order:

    method.before_update(step)                              the momentum copy follows
    targets = method.targets(batch, step)                   no gradient; the whole batch, all ranks together
    for part in the parts of the batch:                     more than one with gradient accumulation
        outputs = student(*method.inputs(batch, part))      the one wrapped forward
        losses = method.losses(outputs, batch, targets, part)
        sum(method.weights(step)[name] * loss).backward()
    the optimiser's step
    method.after_update(targets)                            the queue takes the keys
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from upreid.data.augment import ViewRequest
from upreid.models.encoder import Encoder
from upreid.types import Views


class Method(nn.Module):
    """A way to train an encoder.

    Whatever a method learns or remembers (momentum copy, queue, centre, memory) is a parameter or a buffer of it, so that one
    function saves and restores all methods. The buffers of BatchNorm may differ between ranks; every other buffer must be the
    same on all of them.
    """

    student: Any
    """The `nn.Module` that learns by gradient. DistributedDataParallel wraps it, and its forward is the one that is trained."""

    def views(self) -> Mapping[str, ViewRequest]:
        """Name the views of each unlabelled image that a batch is to hold. Methods on labelled images name none."""
        return {}

    def phase(self, step: int) -> bool:
        """Set what learns at this step and return whether that has changed; called before every step."""
        del step
        return False

    def before_update(self, step: int) -> None:
        """Do what precedes the forwards of a step."""

    def targets(self, batch: Views, step: int) -> Any:
        """Compute what the outputs are compared with, without gradient, for the whole batch of all ranks."""
        del batch, step

    def inputs(self, batch: Views, part: slice) -> tuple[Any, ...]:
        """Return the arguments of the student's forward for some rows of this rank's batch."""
        raise NotImplementedError

    def losses(self, outputs: Any, batch: Views, targets: Any, part: slice) -> dict[str, Float[Tensor, ""]]:
        """Return the named losses of those rows, unweighted."""
        raise NotImplementedError

    def weights(self, step: int) -> Mapping[str, float]:
        """Return the weight of each loss at this step; a name that is missing has weight 1."""
        del step
        return {}

    def after_update(self, targets: Any) -> None:
        """Do what follows the optimiser's step."""

    def make_room(self, shapes: Mapping[str, torch.Size]) -> None:
        """Give what has no fixed size (a memory of clusters) the shapes that it has in a saved state, which are given by name."""
        del shapes

    def encoder(self) -> Encoder:
        """Return what is exported; its modules are those that learn, not copies."""
        raise NotImplementedError

    def compile_student(self) -> None:
        """Compile what is worth it with `torch.compile`, in place, so that names in files stay."""
        self.student.compile(dynamic=False)

    def explanations(self) -> list[str]:
        """Return sentences for the log: which terms are on, and what a reader should know about how they are computed."""
        return []

    def diagnosis_views(self) -> Mapping[str, ViewRequest]:
        """Name the views that a diagnosis looks at, whatever the losses of the run: `query`, `key`, `original`, ..."""
        raise NotImplementedError

    def diagnosis_protocol(self) -> dict[str, Any]:
        """Return what a diagnosis should state about how its views were made, as plain values."""
        return {}

    def embeddings(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Embed images as the losses compare them, with the running statistics of BatchNorm."""
        raise NotImplementedError

    def patch_vectors(
        self, patches: Float[Tensor, "images patches 3 height width"]
    ) -> dict[str, Float[Tensor, "images parts dim"]]:
        """Return unit vectors of patches by who made them, or nothing where the method has no patches."""
        del patches
        return {}

    def learning(self) -> list[nn.Parameter]:
        """Return the parameters that ever learn, in the order in which the optimiser's state is kept."""
        return [parameter for parameter in self.student.parameters() if parameter.requires_grad]


def weighted_sum(losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Float[Tensor, ""]:
    """Sum losses, each with its weight, in the order in which the method names them."""
    total: Tensor | None = None
    for name, loss in losses.items():
        term = weights[name] * loss if name in weights else loss
        total = term if total is None else total + term
    assert total is not None
    return total


def batch_size(batch: Views) -> int:
    """Return the number of rows that all views of a batch have."""
    return len(next(iter(batch.values())))


def rows_of(part: slice, first: int, device: torch.device) -> Tensor:
    """Return the places of a part of this rank's rows in the batch of all ranks; `first` is the place of the rank's own first."""
    return torch.arange(first + part.start, first + part.stop, device=device)
