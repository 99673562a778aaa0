"""How much of a labelled training set is used: the same part on every machine."""

from collections.abc import Sequence

import numpy as np

from upreid.errors import InputError
from upreid.runtime.seed import uniforms
from upreid.types import Record


def share_of_people(records: Sequence[Record], share: float, *, seed: int) -> tuple[Record, ...]:
    """Small-scale setting (LUPerson): int(people x share) people with all their images, in the order of `records`.

    Each place in the sorted list of ids has a number of its own, from our own generator and not numpy's, whose draws may
    change between versions; the people with the lowest numbers are kept. So a smaller share is part of a larger one.
    Raises InputError where `share` is not in (0, 1] or leaves fewer than two people.
    """
    if not 0 < share <= 1:
        raise InputError(f"--data.identity-share {share}: must be above 0 and at most 1")
    people = sorted({record.person for record in records if record.person is not None})
    kept = int(len(people) * share + 1e-9)  # 0.29 x 100 is 28.999999999999996 in floating point
    if kept < 2:
        raise InputError(
            f"--data.identity-share {share} leaves {kept} of {len(people)} people; training needs two or more"
        )
    numbers = uniforms(seed, 0, np.arange(len(people)), purpose="share of people", count=1)[:, 0]
    chosen = {people[place] for place in np.argsort(numbers, kind="stable")[:kept]}
    return tuple(record for record in records if record.person in chosen)
