"""Identity loss: classification of the training people.

Label smoothing (Szegedy et al., https://arxiv.org/abs/1512.00567) as in Bag of Tricks (https://arxiv.org/abs/1903.07071).
"""

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F


def smoothed_cross_entropy(
    logits: Float[Tensor, "batch people"], people: Int64[Tensor, " batch"], *, smoothing: float
) -> Float[Tensor, ""]:
    """Cross-entropy against a target in which a share of `smoothing`, from 0 to 1, is spread over all people.

    The right person keeps 1 - smoothing (people - 1) / people of the target, as Bag of Tricks writes it, and every other person
    gets smoothing / people. Only `logits` receives a gradient.

        for scores, person in zip(logits, people):
            target = [smoothing / len(scores)] * len(scores)
            target[person] += 1 - smoothing
            loss -= sum(target * log_softmax(scores)) / batch
    """
    return F.cross_entropy(logits, people, label_smoothing=smoothing)
