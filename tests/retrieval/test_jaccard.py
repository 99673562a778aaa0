import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import upreid
from upreid.errors import InputError, RunError
from upreid.retrieval import jaccard, neighbours
from upreid.retrieval.jaccard import graph_within, jaccard_distances

CLOSE = {"rtol": 1e-5, "atol": 2e-6}


def dense(features, k1=30, k2=6):
    """The public formulation of unsupervised re-ID, one image after the other, in double precision and full matrices."""
    features = np.asarray(features, dtype=np.float64)
    features = features / np.linalg.norm(features, axis=1, keepdims=True)
    distance = np.array([[((one - other) ** 2).sum() for other in features] for one in features])  # 2 - 2 cosine
    count = len(features)
    order = [sorted(range(count), key=lambda j, row=row: (row[j], j)) for row in distance]

    def mutual(p, k):  # k nearest, p itself included
        return [q for q in order[p][:k] if p in order[q][:k]]

    codes = np.zeros((count, count))
    for p in range(count):
        own = mutual(p, k1)
        members = set(own)
        for q in own:
            half = mutual(q, int(np.around(k1 / 2)) + 1)
            if len(set(half) & set(own)) > 2 / 3 * len(half):
                members |= set(half)
        if members:
            found = sorted(members)
            exponentials = np.exp(-distance[p, found])
            codes[p, found] = exponentials / exponentials.sum()  # softmax over the set
    if k2 > 1:
        codes = np.array([codes[order[p][:k2]].mean(axis=0) for p in range(count)])
    shared = np.array([[np.minimum(one, other).sum() for other in codes] for one in codes])
    return np.maximum(1 - shared / (2 - shared), 0)


def crowd(seed, count=70, dim=8, people=9, noise=0.6):
    numbers = np.random.default_rng(seed)
    centres = numbers.normal(size=(people, dim))
    return (centres[numbers.integers(0, people, count)] + noise * numbers.normal(size=(count, dim))).astype(np.float32)


def full(graph: csr_array):
    """All distances of a graph: what it lacks is 1."""
    distances = np.ones(graph.shape)
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    distances[rows, graph.indices] = graph.data
    return distances


@pytest.mark.parametrize(("k1", "k2"), [(30, 6), (20, 6), (7, 1), (5, 5), (1, 1), (200, 9)])
def test_it_equals_the_dense_formulation(k1, k2) -> None:
    for seed in range(4):
        features = crowd(seed, noise=(0.3, 1, 3)[seed % 3])
        graph = jaccard_distances(features, k1, k2, quiet=True)
        assert graph.dtype == np.float32
        assert graph.has_canonical_format
        np.testing.assert_allclose(full(graph), dense(features, k1, k2), **CLOSE)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([-1, 1]), min_size=4, max_size=4), min_size=2, max_size=24),
    st.integers(1, 12),
    st.integers(1, 6),
)
def test_ties_and_copies_fall_as_in_the_dense_formulation_with_a_stable_sort(rows, k1, k2) -> None:
    features = np.array(rows, dtype=np.float32)  # of 16 directions at most, so that many are copies
    k1, k2 = max(k1, k2), min(k1, k2)
    np.testing.assert_allclose(full(jaccard_distances(features, k1, k2, quiet=True)), dense(features, k1, k2), **CLOSE)


def test_weights_are_the_softmax_of_squared_distances_where_re_ranking_divides_them_by_the_farthest() -> None:
    features = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=np.float32)
    images = jaccard.directions_of(features)
    ranked, farthest = neighbours.neighbours(images, 2, quiet=True)
    squared = np.array([0, 0.4])  # 2 - 2 cosine of the first two; the farthest from the first is 4 away
    for k2 in (1, 2):
        code = jaccard.clustering_encodings(images, ranked, 2, k2).toarray()[0]
        if k2 == 1:
            np.testing.assert_allclose(code[:2], np.exp(-squared) / np.exp(-squared).sum(), **CLOSE)
        np.testing.assert_allclose(code.sum(), 1, **CLOSE)
    assert farthest[0] == 4
    code = jaccard.encode(jaccard.neighbourhoods(ranked, 1), images, farthest).toarray()[0]
    np.testing.assert_allclose(code[:2], np.exp(-squared / 4) / np.exp(-squared / 4).sum(), **CLOSE)


def test_a_radius_leaves_out_what_is_farther_and_changes_nothing_else() -> None:
    features = crowd(1, noise=0.5)
    whole = jaccard_distances(features, k1=8, quiet=True)
    assert 0 < whole.nnz < len(features) ** 2
    for radius in (0.05, 0.3, 0.6, 0.99):
        near = jaccard_distances(features, k1=8, radius=radius, quiet=True)
        kept = whole.data <= np.float32(radius)
        assert 0 < kept.sum() < whole.nnz
        assert np.array_equal(near.data, whole.data[kept])
        assert np.array_equal(near.indices, whole.indices[kept])


def test_copies_stand_at_distance_zero_and_are_entries() -> None:
    features = crowd(0)
    features[[3, 30, 60]] = features[9]
    graph = jaccard_distances(features, radius=0.5, quiet=True)
    rows = np.repeat(np.arange(len(features)), np.diff(graph.indptr))
    zeros = {(int(i), int(j)) for i, j in zip(rows[graph.data == 0], graph.indices[graph.data == 0], strict=True)}
    copies = (3, 9, 30, 60)
    assert {(i, j) for i in copies for j in copies} <= zeros
    assert {(i, i) for i in range(len(features))} <= zeros


def test_the_graph_is_symmetric_to_the_last_bit_and_does_not_depend_on_threads_or_portions(monkeypatch) -> None:
    features = crowd(2, count=300, dim=64, people=30, noise=1.0)
    graph = jaccard_distances(features, quiet=True)
    turned = graph.T.tocsr()
    turned.sort_indices()
    assert np.array_equal(turned.data, graph.data)
    assert np.array_equal(turned.indices, graph.indices)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        monkeypatch.setattr(jaccard, "ELEMENTS_AT_A_TIME", 1000)
        again = jaccard_distances(features, quiet=True)
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(again.data, graph.data)
    assert np.array_equal(again.indices, graph.indices)


def test_arrays_and_tensors_give_the_same_and_stay_as_they_are() -> None:
    features = crowd(3)
    graph = upreid.jaccard_distances(features, k1=30, k2=6)
    for kind in (torch.tensor, np.float64, np.ndarray.tolist):
        assert np.array_equal(upreid.jaccard_distances(kind(features)).data, graph.data)
    assert np.array_equal(features, crowd(3))


def test_progress_goes_to_the_console_or_to_a_watcher_that_may_end_the_work(capsys) -> None:
    jaccard_distances(crowd(0))
    said = capsys.readouterr().err
    assert "neighbours: 70/70 images" in said
    assert "jaccard distances: 70/70 images" in said
    seen = []
    jaccard_distances(crowd(0), quiet=True, watch=lambda *words: seen.append(words))
    assert seen == [("neighbours", 70, 70), ("jaccard distances", 70, 70)]
    assert capsys.readouterr() == ("", "")

    def stop(*words):
        raise RunError("enough")

    with pytest.raises(RunError, match="enough"):
        jaccard_distances(crowd(0), watch=stop)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k1": 0, "k2": 0}, "k1 0: expected a number of neighbours, at least 1"),
        ({"k1": 5, "k2": 6}, "k2 6 exceeds k1 5"),
        ({"radius": 0.0}, "Jaccard distance 0: expected a number between 0 and 1"),
        ({"radius": 1.0}, "Jaccard distance 1"),
        ({"radius": float("nan")}, "Jaccard distance nan"),
        ({"features": np.ones((3, 0))}, "image features have shape"),
        ({"features": np.array([[1.0, np.nan]])}, "1 of 1 image features are not finite"),
        ({"features": np.eye(3)[[0, 1, 2]] * [1, 1, 0]}, "1 of 3 image features are zero"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(changes, words) -> None:
    with pytest.raises(InputError, match=words) as error:
        jaccard_distances(**{"features": np.eye(4)} | changes, quiet=True)
    assert "\n" not in str(error.value)


def test_images_that_are_all_alike_are_refused_before_memory_runs_out(monkeypatch) -> None:
    monkeypatch.setattr(jaccard, "PAIRS_PER_IMAGE", 20)
    encodings = csr_array(np.full((50, 50), 1 / 50, dtype=np.float32))
    with pytest.raises(RunError, match=r"more than 20 others lie within Jaccard distance 0\.6"):
        graph_within(encodings, 0.6, quiet=True)
