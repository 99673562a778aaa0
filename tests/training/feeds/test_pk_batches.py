from collections import Counter

import pytest

from upreid.errors import InputError
from upreid.training.feeds.labelled import PKBatches

PEOPLE = [person for person in range(10) for _ in range(person + 1)]  # person n has n + 1 images
P, K = 4, 3


def batches(people: list[int] = PEOPLE, *, seed: int = 1, p: int = P, k: int = K) -> PKBatches:
    return PKBatches(people, people_per_batch=p, images_per_person=k, seed=seed)


def test_every_batch_holds_p_people_with_k_images_each() -> None:
    for batch in batches().epoch(0):
        counts = Counter(PEOPLE[place] for place in batch)
        assert len(batch) == P * K
        assert sorted(counts.values()) == [K] * P


def test_a_persons_images_stand_side_by_side() -> None:
    for batch in batches().epoch(0):
        for start in range(0, P * K, K):
            assert len({PEOPLE[place] for place in batch[start : start + K]}) == 1


def test_a_person_with_fewer_than_k_images_repeats_them_and_leaves_none_out() -> None:
    people = [person for person in range(6) for _ in range(2)]
    for batch in batches(people).epoch(0):
        for start in range(0, P * K, K):
            assert len(set(batch[start : start + K])) == 2


def test_nobody_with_k_images_or_more_has_one_twice_in_a_batch() -> None:
    for epoch in range(20):
        for batch in batches().epoch(epoch):
            for start in range(0, P * K, K):
                hand = batch[start : start + K]
                assert len(set(hand)) == min(PEOPLE[hand[0]] + 1, K)


def test_no_image_comes_twice_in_an_epoch_whose_people_all_have_a_multiple_of_k() -> None:
    people = [person for person in range(8) for _ in range(6)]
    for epoch in range(20):
        seen = [place for batch in batches(people).epoch(epoch) for place in batch]
        assert len(set(seen)) == len(seen)


def test_an_epoch_ends_when_fewer_than_p_people_have_images_left() -> None:
    people = [person for person in range(8) for _ in range(6)]
    for epoch in range(20):
        seen = Counter(people[place] for batch in batches(people).epoch(epoch) for place in batch)
        assert sum(seen[person] < 6 for person in range(8)) < P


def test_every_person_is_visited_in_an_epoch_of_one_hand_each() -> None:
    people = [person for person in range(8) for _ in range(2)]
    epoch = batches(people).epoch(0)
    assert sorted({people[place] for batch in epoch for place in batch}) == list(range(8))
    assert len(epoch) == 2


def test_what_a_person_gets_in_an_epoch_never_exceeds_its_images_rounded_up() -> None:
    seen = Counter(PEOPLE[place] for batch in batches().epoch(0) for place in batch)
    assert all(count <= -(-(person + 1) // K) * K for person, count in seen.items())


def test_over_many_epochs_every_image_comes_up() -> None:
    sampler = batches()
    assert {place for epoch in range(30) for batch in sampler.epoch(epoch) for place in batch} == set(
        range(len(PEOPLE))
    )


def test_an_epoch_follows_from_seed_and_number_alone() -> None:
    assert batches().epoch(5) == batches().epoch(5)
    sampler = batches()
    sampler.epoch(0)
    assert sampler.epoch(5) == batches().epoch(5)
    assert batches().epoch(5) != batches().epoch(6)
    assert batches(seed=1).epoch(5) != batches(seed=2).epoch(5)


def test_steps_run_through_the_epochs_and_stop_at_the_total() -> None:
    sampler = batches()
    by_hand = [(epoch, batch) for epoch in range(20) for batch in sampler.epoch(epoch)]
    for total in (0, 1, 4, 11):
        assert list(sampler.steps(total)) == by_hand[:total]


def test_names_of_people_need_not_be_small_numbers() -> None:
    people = [1500, 7, 1500, 7, -3, -3]
    (first, *_) = batches(people, p=3, k=2).epoch(0)
    assert Counter(people[place] for place in first) == {1500: 2, 7: 2, -3: 2}


def test_too_few_people_are_refused_with_both_numbers_and_the_flag() -> None:
    with pytest.raises(InputError, match=r"4 people.* 3; lower --train\.identities"):
        batches([0, 0, 1, 1, 2, 2])
