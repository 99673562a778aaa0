"""The hybrid memory: what it keeps over epochs, what is a class, and what follows what; and how single images are drawn."""

from collections import Counter

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from upreid.methods.hybrid_memory import HybridMemory
from upreid.training.feeds.cluster_batches import ClusterBatches

DIM, MOMENTUM = 5, 0.3
CLASSES = torch.tensor([2, -1, 2, 3, 0, 0, 1])  # images of the target, the second unreadable; then those of two people


def noise(rows: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def filled() -> HybridMemory:
    memory = HybridMemory(DIM, num_people=2, momentum=MOMENTUM, temperature=0.1).double()
    assert memory.kept() is None
    memory.fill(noise(7), CLASSES, torch.full((7,), -1))
    return memory


def test_people_begin_as_mean_directions_and_images_as_their_features() -> None:
    memory, features = filled(), F.normalize(noise(7))
    assert_close(memory.vectors[0], F.normalize(features[4] + features[5], dim=0))
    assert_close(memory.vectors[1], features[6])
    kept = memory.kept()
    assert kept is not None
    assert_close(kept, features[:4])
    assert (memory.rows.tolist(), memory.sizes.tolist()) == ([0, 1, 2, 4, 5], [1, 1, 2, 1])


def test_images_and_people_follow_their_features_in_turn_and_others_stay() -> None:
    memory = filled()
    expected = memory.vectors.clone()
    seen = [(2, 2, 2), (0, 2, 0), (2, 2, 2)]  # place, class, and row behind the two people
    features = F.normalize(noise(3, seed=1))
    for feature, (_, _, row) in zip(features, seen, strict=True):
        expected[2 + row] = F.normalize(MOMENTUM * expected[2 + row] + (1 - MOMENTUM) * feature, dim=0)
    places, classes = (torch.tensor([one[number] for one in seen]) for number in range(2))
    memory.follow(features, {"classes": classes, "places": places})
    assert_close(memory.vectors, expected)
    of_source = F.normalize(noise(1, seed=2))
    expected[1] = F.normalize(MOMENTUM * expected[1] + (1 - MOMENTUM) * of_source[0], dim=0)
    memory.follow(of_source, {"classes": torch.tensor([1]), "places": torch.tensor([6])})
    assert_close(memory.vectors, expected)


def test_a_new_clustering_changes_classes_and_no_vector() -> None:
    memory = filled()
    before = memory.vectors.clone()
    memory.regroup(torch.tensor([2, 3, 4, 2, 0, 0, 1]))
    assert torch.equal(memory.vectors, before)
    assert (memory.rows.tolist(), memory.sizes.tolist()) == ([0, 1, 2, 5, 3, 4], [1, 1, 2, 1, 1])


def test_an_epoch_of_the_source_alone_drops_the_images_and_the_next_begins_anew() -> None:
    memory = filled()
    memory.regroup(torch.tensor([-1, -1, -1, -1, 0, 0, 1]))
    assert len(memory.vectors) == 2
    assert memory.kept() is None
    loss = memory.losses("cluster", F.normalize(noise(2)), {"classes": torch.tensor([0, 1])})["cluster"]
    assert loss.isfinite()
    memory.fill(noise(7, seed=3), CLASSES, torch.full((7,), -1))
    kept = memory.kept()
    assert kept is not None
    assert_close(kept, F.normalize(noise(7, seed=3))[:4])


LABELS = [0, 0, 0, 1, 1, 1, 2, 3, 4, -1]


def drawn(steps: int) -> list[list[int]]:
    how = {"clusters_per_batch": 2, "images_per_cluster": 3, "seed": 1}
    return ClusterBatches(LABELS, [0, 1] * 5, singles=True, **how).epoch(0, steps)


def test_a_pass_draws_each_single_image_once_and_k_images_of_each_cluster() -> None:
    batches = drawn(6)
    assert [len(batch) for batch in batches] == [6] * 6
    row = [place for batch in batches for place in batch]
    for first in range(0, 36, 9):  # a pass is 3 + 3 + 1 + 1 + 1 images
        counts = Counter(LABELS[place] for place in row[first : first + 9])
        assert counts == {0: 3, 1: 3, 2: 1, 3: 1, 4: 1}
    assert drawn(6) == batches
    assert drawn(2) == batches[:2]


def test_the_images_of_a_cluster_are_neighbours_in_the_row() -> None:
    row = [LABELS[place] for batch in drawn(3) for place in batch][:9]
    for cluster in (0, 1):
        first = row.index(cluster)
        assert row[first : first + 3] == [cluster] * 3


def test_images_of_one_cluster_alone_make_batches_too() -> None:
    batches = ClusterBatches([0] * 5, [0] * 5, clusters_per_batch=2, images_per_cluster=3, seed=1, singles=True).epoch(
        0, 2
    )
    assert [len(batch) for batch in batches] == [6, 6]
