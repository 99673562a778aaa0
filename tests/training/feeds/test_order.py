import pytest

from upreid.runtime.distributed import World
from upreid.training.feeds.unlabelled import StepBatches


def batches(
    first: int = 0, last: int = 25, *, seed: int = 1, world: World | None = None
) -> list[list[tuple[int, int]]]:
    order = StepBatches(103, 10, seed=seed, first=first, last=last, world=world or World())
    found = list(order)
    assert len(found) == len(order)
    return found


def test_an_epoch_shows_no_image_twice_and_leaves_only_the_last_part_of_a_batch_out() -> None:
    for epoch in (0, 1):
        shown = [image for batch in batches()[10 * epoch : 10 * epoch + 10] for image in batch]
        assert {number for number, _ in shown} == {epoch}
        assert len({index for _, index in shown}) == 100
        assert all(0 <= index < 103 for _, index in shown)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    first = [index for _, index in batches()[0]]
    assert first != [index for _, index in batches()[10]]
    assert first != [index for _, index in batches(seed=2)[0]]


@pytest.mark.parametrize("step", [1, 9, 10, 17, 20, 24])
def test_a_run_resumed_at_a_step_sees_what_it_would_have_seen(step: int) -> None:
    assert batches(first=step) == batches()[step:]


def test_ranks_share_a_batch_in_contiguous_parts() -> None:
    whole = batches()
    parts = [batches(world=World(rank=rank, size=2)) for rank in (0, 1)]
    assert [one + other for one, other in zip(*parts, strict=True)] == whole


def test_nothing_is_left_to_do_at_the_end() -> None:
    assert batches(first=25) == []
