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
