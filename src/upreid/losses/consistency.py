"""Global consistency: augmentation must not change which other images an image resembles.

UP-ReID (https://arxiv.org/abs/2112.00317) enforces consistency between augmented and original images (sourced, abstract); its
equation is not public. Every function here is a *reading* of it, listed by name in `READINGS`. All share one signature:

- `query` holds the embeddings of augmented views, [batch, dim]. It is the only argument that receives a gradient.
- `original` holds the embeddings of the un-augmented images by the momentum encoder, [batch, dim]. It is the teacher, because
  an original is undistorted.
- `anchors` are the vectors that similarities are measured to, [anchors, dim]; `READINGS[name].anchors` says which they are.
- `own` is the place of each image's original among the anchors, [batch].
- `temperature` divides the student's similarities, `teacher_temperature` the teacher's; lower is sharper.
- `left_out` marks anchors that do not count for an image, such as those of its own tracklet; by default all count.

All vectors have unit length.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from upreid.errors import InputError
from upreid.losses.contrast import info_nce


def g_queue(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    teacher_temperature: float,
    left_out: Bool[Tensor, "batch anchors"] | None = None,
) -> Float[Tensor, ""]:
    """KL(P || S): a view should resemble the same anchors as its original, in the same proportions.

    This is a reading: the abstract says "consistency", and what relatives of MoCo keep consistent are distributions of
    similarities (CO2, https://arxiv.org/abs/2010.02217). The anchors are the queue of past keys. `own` is not used.

        for q, o in zip(query, original):
            p = softmax([o @ a / teacher_temperature for a in anchors])
            s = softmax([q @ a / temperature for a in anchors])
            loss += sum(p * (log(p) - log(s))) / batch
    """
    del own
    return divergence(query, original, anchors, left_out, temperature, teacher_temperature)


def g_batch(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    teacher_temperature: float,
    left_out: Bool[Tensor, "batch anchors"] | None = None,
) -> Float[Tensor, ""]:
    """KL(P || S) over the originals of the same batch, without the image's own.

    This is a reading: G-queue with anchors that are un-augmented like the teacher, so that being un-augmented is no clue.
    The anchors are the originals of the whole batch, of all ranks together. Raises InputError for a batch of one.

        for i, (q, o) in enumerate(zip(query, original)):
            others = [a for j, a in enumerate(anchors) if j != own[i]]
            ... as in g_queue, over others
    """
    if len(anchors) < 2:
        raise InputError(
            f"reading g-batch compares an image with the others of its batch and got {len(anchors)}; "
            "use a batch of 2 or more"
        )
    is_own = own[:, None] == torch.arange(len(anchors), device=own.device)  # [batch, anchors]
    left_out = is_own if left_out is None else is_own | left_out
    return divergence(query, original, anchors, left_out, temperature, teacher_temperature)


def g_cos(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    teacher_temperature: float,
    left_out: Bool[Tensor, "batch anchors"] | None = None,
) -> Float[Tensor, ""]:
    """Squared distance between a view and its original.

    This is a reading, the plainest consistency there is: the loss of BYOL (https://arxiv.org/abs/2006.07733). `anchors`, `own`,
    `left_out` and the temperatures are not used.

        for q, o in zip(query, original):
            loss += (2 - 2 * q @ o) / batch
    """
    del anchors, own, temperature, teacher_temperature, left_out
    return (2.0 - 2.0 * torch.einsum("bd,bd->b", query, original.detach())).mean()


def g_pos(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    teacher_temperature: float,
    left_out: Bool[Tensor, "batch anchors"] | None = None,
) -> Float[Tensor, ""]:
    """InfoNCE with the original as a second positive.

    This is the least natural reading: it contrasts instead of keeping consistent, and among augmented keys an original can be
    told by the missing augmentation. The anchors are the queue of past keys, as negatives. `own` and `teacher_temperature` are
    not used.

        loss = info_nce(query, original, anchors)
    """
    del own, teacher_temperature
    return info_nce(query, original, anchors, temperature=temperature, left_out=left_out)


def g_key(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    teacher_temperature: float,
    left_out: Bool[Tensor, "batch anchors"] | None = None,
) -> Float[Tensor, ""]:
    """InfoNCE that finds the original of a view among past originals.

    This is our variant of G-pos, not claimed for the paper: the negatives are un-augmented too, so that being un-augmented is
    no clue. The anchors are a queue of past originals. `own` and `teacher_temperature` are not used; the loop is that of g_pos.
    """
    del own, teacher_temperature
    return info_nce(query, original, anchors, temperature=temperature, left_out=left_out)


def g_rel(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    teacher_temperature: float,
    left_out: Bool[Tensor, "batch anchors"] | None = None,
) -> Float[Tensor, ""]:
    """KL(P || S) over past originals, with a sharper teacher.

    This is our variant, after ReSSL (https://arxiv.org/abs/2107.09282: teacher 0.04, student 0.1). The anchors are a queue of
    past originals, so that being un-augmented is no clue. `own` is not used; the loop is that of g_queue.
    """
    del own
    return divergence(query, original, anchors, left_out, temperature, teacher_temperature)


def divergence(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    left_out: Bool[Tensor, "batch anchors"] | None,
    temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, ""]:
    """Divergence of the view's distribution over the anchors from the original's, averaged over the batch."""
    anchors = anchors.detach()
    student = exact(query @ anchors.T) / temperature
    teacher = exact(original.detach() @ anchors.T) / teacher_temperature
    if left_out is not None:
        lowest = torch.finfo(student.dtype).min  # finite: -inf - -inf would make a NaN of the divergence
        student, teacher = student.masked_fill(left_out, lowest), teacher.masked_fill(left_out, lowest)
    log_student, log_teacher = student.log_softmax(dim=1), teacher.log_softmax(dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def exact(similarities: Tensor) -> Tensor:
    """Convert to single precision or better, which logarithms of small probabilities need."""
    return similarities if similarities.dtype.itemsize >= 4 else similarities.float()


@dataclass(frozen=True)
class ConsistencyLoss:
    """A reading: its loss, and its anchors, which are past keys, past originals, the batch's originals, or nothing."""

    loss: Callable[..., Float[Tensor, ""]]
    anchors: Literal["keys", "originals", "batch", "none"]


READINGS: dict[str, ConsistencyLoss] = {
    "g-queue": ConsistencyLoss(g_queue, "keys"),
    "g-batch": ConsistencyLoss(g_batch, "batch"),
    "g-cos": ConsistencyLoss(g_cos, "none"),
    "g-pos": ConsistencyLoss(g_pos, "keys"),
    "g-key": ConsistencyLoss(g_key, "originals"),
    "g-rel": ConsistencyLoss(g_rel, "originals"),
}
