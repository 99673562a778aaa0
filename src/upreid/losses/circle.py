"""Circle loss in its class-level form: the farther a similarity is from its target, the harder it is pulled there.

Sun et al., https://arxiv.org/abs/2002.10857, section 3: similarities s in [-1, 1] to every class become logits

    right class   scale * [1 + margin - s]+ * (s - (1 - margin))
    wrong class   scale * [s + margin]+ * (s - margin)

whose weights [.]+ carry no gradient. Cross-entropy over these logits is the circle loss; LUPerson's fine-tuning uses it with
smoothed labels (fast-reid's CircleSoftmax).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


def circle_logits(
    similarity: Float[Tensor, "batch people"], people: Int64[Tensor, " batch"], *, scale: float, margin: float
) -> Float[Tensor, "batch people"]:
    """Turn cosine similarities into the logits of the circle loss. Only `similarity` receives a gradient.

    for row, person in zip(similarity, people):
        for column, s in enumerate(row):
            weight = max(0, 1 + margin - s) if column == person else max(0, s + margin)     # a constant
            target = 1 - margin if column == person else margin
            logits[row, column] = scale * weight * (s - target)
    """
    is_right = F.one_hot(people, similarity.shape[1]).bool()
    constant = similarity.detach()
    weight = torch.where(is_right, 1.0 + margin - constant, constant + margin).clamp_min(0.0)
    target = torch.full_like(constant, margin).masked_fill(is_right, 1.0 - margin)
    return scale * weight * (similarity - target)
