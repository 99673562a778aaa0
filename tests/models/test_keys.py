from collections import deque

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from upreid.models.keys import Queue


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 7), batches=st.lists(st.integers(1, 18), max_size=6))
def test_after_any_pushes_it_holds_the_newest_like_a_deque(size: int, batches: list[int]) -> None:
    queue = Queue(size, 2, seed=0)
    twin = deque([tuple(row.tolist()) for row in queue.keys], maxlen=size)
    count = 0
    for batch in batches:
        keys = torch.arange(count, count + 2 * batch, dtype=torch.float32).view(batch, 2)
        count += 2 * batch
        queue.push(keys)
        twin.extend(tuple(row.tolist()) for row in keys)
    assert sorted(tuple(row.tolist()) for row in queue.keys) == sorted(twin)


def test_it_starts_as_unit_vectors_that_a_seed_decides() -> None:
    one, same, other = Queue(16, 8, seed=1), Queue(16, 8, seed=1), Queue(16, 8, seed=2)
    torch.testing.assert_close(one.keys.norm(dim=1), torch.ones(16))
    assert torch.equal(one.keys, same.keys)
    assert not torch.equal(one.keys, other.keys)


def test_a_saved_queue_goes_on_where_it_was() -> None:
    one, other = Queue(5, 2, seed=1), Queue(5, 2, seed=2)
    one.push(torch.ones(3, 2))
    other.load_state_dict(one.state_dict())
    for queue in (one, other):
        queue.push(torch.full((4, 2), 2.0))
    assert torch.equal(one.keys, other.keys)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 7), batches=st.lists(st.integers(1, 18), min_size=1, max_size=6))
def test_numbers_of_tracklets_stay_beside_their_vectors(size: int, batches: list[int]) -> None:
    queue, count = Queue(size, 2, seed=0, numbered=True), 0
    assert queue.tracklets is not None
    for batch in batches:
        numbers = torch.arange(count, count + batch)
        queue.push(numbers[:, None].expand(-1, 2).float(), numbers)
        count += batch
    known = queue.tracklets >= 0
    assert int(known.sum()) == min(size, count)
    assert torch.equal(queue.keys[known, 0], queue.tracklets[known].float())
    of_last = queue.of_tracklets(torch.tensor([count - 1, 999]))
    assert of_last is not None
    assert of_last.sum(dim=1).tolist() == [1, 0]


def test_without_numbers_nothing_is_known_and_its_state_has_no_more_than_before() -> None:
    queue = Queue(4, 2, seed=0)
    queue.push(torch.ones(2, 2), torch.tensor([1, 2]))
    assert queue.of_tracklets(torch.tensor([1])) is None
    assert queue.state_dict().keys() == {"keys", "pointer"}
