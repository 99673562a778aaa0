"""How much of a labelled training set is used: the same part on every machine."""

from collections.abc import Sequence

from upreid.errors import InputError
from upreid.runtime.seed import permutation
from upreid.types import Record


def share_of_people(records: Sequence[Record], share: float, *, seed: int) -> tuple[Record, ...]:
    """Small-scale setting: int(people x share) people with all their images, drawn from the sorted ids.

    Raises InputError where `share` is not in (0, 1] or leaves fewer than two people.
    """
    if not 0 < share <= 1:
        raise InputError(f"--data.identity-share {share}: must be above 0 and at most 1")
    people = sorted({record.person for record in records if record.person is not None})
    kept = int(len(people) * share + 1e-9)
    if kept < 2:
        raise InputError(
            f"--data.identity-share {share} leaves {kept} of {len(people)} people; training needs two or more"
        )
    order = permutation(seed, 0, len(people), purpose="share of people")
    chosen = {people[place] for place in order[:kept]}
    return tuple(record for record in records if record.person in chosen)
