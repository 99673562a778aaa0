"""Global consistency: what augmentation did to an image must not change whom it resembles.

UP-ReID (https://arxiv.org/abs/2112.00317) enforces consistency between augmented and original images (sourced, abstract); its
equation is not public. Every function here is a *reading* of it, by name in `READINGS`. All share one signature:

- `query`: embeddings of augmented views, [batch, dim]; the only argument that learns.
- `original`: embeddings of the un-augmented images by the momentum encoder, [batch, dim]; the teacher, because an
  original is undistorted.
- `anchors`: what similarities are measured to, [anchors, dim]; `READINGS[name].anchors` says which vectors those are.
- `own`: place of each image's original among the anchors, [batch].
- `temperature` of the student's similarities, `teacher_temperature` of the teacher's; lower is sharper.

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
) -> Float[Tensor, ""]:
    """KL(P || S): view and original are similar to the same anchors, in the same proportions.

    Reading, because the abstract says "consistency" and similarity distributions are what MoCo's relatives keep
    consistent (CO2, https://arxiv.org/abs/2010.02217). Anchors: the queue of past keys. Does not use `own`.

        for q, o in zip(query, original):
            p = softmax([o @ a / teacher_temperature for a in anchors])
            s = softmax([q @ a / temperature for a in anchors])
            loss += sum(p * (log(p) - log(s))) / batch
    """
    del own
    return divergence(query, original, anchors, None, temperature, teacher_temperature)


def g_batch(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, ""]:
    """KL(P || S) over the originals of the same batch, one's own left out.

    Reading: as G-queue, with anchors that are un-augmented like the teacher, so that being un-augmented is no clue.
    Anchors: the originals of the whole batch, all ranks together. Raises InputError for a batch of one.

        for i, (q, o) in enumerate(zip(query, original)):
            others = [a for j, a in enumerate(anchors) if j != own[i]]
            ... as in g_queue, over others
    """
    if len(anchors) < 2:
        raise InputError(
            f"reading g-batch compares an image with the others of its batch and got {len(anchors)}; "
            "use a batch of 2 or more"
        )
    left_out = own[:, None] == torch.arange(len(anchors), device=own.device)  # [batch, anchors]
    return divergence(query, original, anchors, left_out, temperature, teacher_temperature)


def g_cos(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, ""]:
    """Squared distance between a view and its original.

    Reading: the plainest consistency there is (as BYOL's loss). Uses neither `anchors`, `own` nor a temperature.

        for q, o in zip(query, original):
            loss += (2 - 2 * q @ o) / batch
    """
    del anchors, own, temperature, teacher_temperature
    return (2.0 - 2.0 * torch.einsum("bd,bd->b", query, original.detach())).mean()


def g_pos(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, ""]:
    """InfoNCE with the original as a second positive.

    Reading, the least natural: it contrasts rather than keeps consistent, and against a queue of augmented keys an
    original can be told by its being un-augmented. Anchors: the queue of past keys, as negatives. Does not use `own`
    and `teacher_temperature`.

        loss = info_nce(query, original, anchors)
    """
    del own, teacher_temperature
    return info_nce(query, original, anchors, temperature=temperature)


def g_key(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, ""]:
    """As G-pos, told from past originals: the view's original among originals.

    Our variant of G-pos, not claimed for the paper: with negatives that are un-augmented too, being un-augmented is no
    clue. Anchors: a queue of past originals. Does not use `own` and `teacher_temperature`; the loop is g_pos's.
    """
    del own, teacher_temperature
    return info_nce(query, original, anchors, temperature=temperature)


def g_rel(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    own: Int64[Tensor, " batch"],
    *,
    temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, ""]:
    """KL(P || S) over past originals, with a sharper teacher.

    Our variant, after ReSSL (https://arxiv.org/abs/2107.09282: teacher 0.04, student 0.1). Anchors: a queue of past originals, so
    that being un-augmented is no clue. Does not use `own`; the loop is g_queue's.
    """
    del own
    return divergence(query, original, anchors, None, temperature, teacher_temperature)


def divergence(
    query: Float[Tensor, "batch dim"],
    original: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchors dim"],
    left_out: Bool[Tensor, "batch anchors"] | None,
    temperature: float,
    teacher_temperature: float,
) -> Float[Tensor, ""]:
    """KL from the original's similarities to the anchors to the view's, averaged over the batch."""
    anchors = anchors.detach()
    student = exact(query @ anchors.T) / temperature
    teacher = exact(original.detach() @ anchors.T) / teacher_temperature
    if left_out is not None:
        lowest = torch.finfo(student.dtype).min  # finite: -inf - -inf would make a NaN of the divergence
        student, teacher = student.masked_fill(left_out, lowest), teacher.masked_fill(left_out, lowest)
    log_student, log_teacher = student.log_softmax(dim=1), teacher.log_softmax(dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def exact(similarities: Tensor) -> Tensor:
    """Logarithms of small probabilities need single precision or better."""
    return similarities if similarities.dtype.itemsize >= 4 else similarities.float()


@dataclass(frozen=True)
class ConsistencyLoss:
    """A loss, and what it takes for anchors: past keys, past originals, the batch's originals, or nothing."""

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
