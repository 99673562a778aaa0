from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from upreid.data.records import Record
from upreid.data.splits import share_of_people
from upreid.errors import InputError

CHOSEN = [1221, 2005, 2406, 2424, 3226, 3609, 4010, 4411, 5213, 7619, 8822, 9624]
"""Of 40 people with seed 1: written down, because splits made with one version must hold in the next."""


def name(place: int) -> int:
    """Ids with gaps, in no order."""
    return 401 * place % 10007


def records(num_people: int = 40, images: int = 3, root: str = "a") -> list[Record]:
    return [
        Record(path=Path(root, f"{name(person):04d}_{image}.jpg"), person=name(person), camera=image)
        for person in range(num_people)
        for image in range(images)
    ]


def people(kept: tuple[Record, ...]) -> list[int]:
    return sorted({record.person for record in kept if record.person is not None})


@pytest.mark.parametrize(
    ("num_people", "share", "kept"),
    [
        (751, 0.1, 75),
        (751, 0.3, 225),
        (751, 0.5, 375),
        (751, 0.7, 525),
        (751, 0.9, 675),
        (1041, 0.3, 312),
        (767, 0.7, 536),
        (100, 0.29, 29),
        (10, 1.0, 10),
    ],
)
def test_int_of_people_times_share_are_kept_as_in_lupersons_lists(num_people: int, share: float, kept: int) -> None:
    assert len(people(share_of_people(records(num_people, images=1), share, seed=1))) == kept


def test_a_kept_person_keeps_all_images_in_their_order() -> None:
    everything = records()
    kept = share_of_people(everything, 0.3, seed=1)
    assert len(kept) == 12 * 3
    assert list(kept) == [record for record in everything if record.person in people(kept)]


def test_the_choice_is_the_same_on_every_machine() -> None:
    assert people(share_of_people(records(), 0.3, seed=1)) == CHOSEN


def test_neither_the_order_of_files_nor_their_folder_matters() -> None:
    shuffled = [records(root="elsewhere")[place] for place in np.random.default_rng(0).permutation(120)]
    assert people(share_of_people(shuffled, 0.3, seed=1)) == people(share_of_people(records(), 0.3, seed=1))


def test_a_smaller_share_is_part_of_a_larger_one_and_another_seed_is_another_choice() -> None:
    tenth, third = (people(share_of_people(records(), share, seed=1)) for share in (0.1, 0.3))
    assert set(tenth) < set(third)
    assert people(share_of_people(records(), 0.3, seed=2)) != third


def test_seeds_choose_everybody_equally_often() -> None:
    everything = records(20, images=1)
    counts = Counter(person for seed in range(400) for person in people(share_of_people(everything, 0.5, seed=seed)))
    assert len(counts) == 20
    assert all(abs(count - 200) < 5 * 10 for count in counts.values())  # five standard deviations of a binomial


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"identity-share .*at most 1"):
        share_of_people(records(), share, seed=1)


def test_a_share_that_leaves_nobody_to_compare_with_is_refused_with_the_numbers() -> None:
    with pytest.raises(InputError, match="leaves 1 of 40 people"):
        share_of_people(records(), 0.03, seed=1)
