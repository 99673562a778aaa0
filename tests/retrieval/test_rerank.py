from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import upreid
from upreid.errors import InputError
from upreid.retrieval import neighbours
from upreid.retrieval.metrics import evaluate_distances
from upreid.retrieval.ranking import Labels
from upreid.retrieval.rerank import rerank, reranked_chunks

CLOSE = {"rtol": 1e-5, "atol": 2e-6}


def dense(query, gallery, k1=20, k2=6, lambda_value=0.3, *, metric="cosine", variant="classic"):
    """The paper's definitions, one image after the other, in double precision; every matrix is images x images.

    fast-reid's variant: the k1 nearest have the image itself among them, weights are a softmax of squared distances, and the
    cosine distance or the squared Euclidean one is blended in. LUPerson's squares the distances once more before anything else.
    """
    features = np.concatenate([query, gallery]).astype(np.float64)
    if metric == "cosine":
        features /= np.linalg.norm(features, axis=1, keepdims=True)
    count = len(features)
    distance = np.array([[((one - other) ** 2).sum() for other in features] for one in features])
    order = [sorted(range(count), key=lambda j, row=row: (row[j], j)) for row in distance]
    blended = distance / 2 if metric == "cosine" else distance
    if variant == "luperson":
        distance = distance**2
    if variant != "fast-reid":
        distance /= distance.max(axis=1, keepdims=True)
        blended = distance
    known = k1 if variant == "fast-reid" else k1 + 1

    def first(p, k):  # N(p, k), and p itself, which is its own neighbour
        return set(order[p][: min(k + 1, known)])

    def reciprocal(p, k):
        return {q for q in first(p, k) if p in first(q, k)}

    def expanded(p):
        own = reciprocal(p, k1)
        found = set(own)
        for q in own:
            candidates = reciprocal(q, int(np.around(k1 / 2)))
            if len(candidates & own) > 2 / 3 * len(candidates):
                found |= candidates
        return sorted(found)

    encodings = np.zeros((count, count))
    for p in range(count):
        neighbourhood = expanded(p)
        weights = np.exp(-distance[p, neighbourhood])
        encodings[p, neighbourhood] = weights / weights.sum()
    if k2 > 1:
        encodings = np.array([encodings[order[p][:k2]].mean(axis=0) for p in range(count)])
    final = np.empty((len(query), len(gallery)))
    for p in range(len(query)):
        for g in range(len(query), count):
            shared = np.minimum(encodings[p], encodings[g]).sum()
            jaccard = 1 - shared / (2 - shared)
            final[p, g - len(query)] = (1 - lambda_value) * jaccard + lambda_value * blended[p, g]
    return final


def crowd(seed, queries=15, gallery=45, dim=8, people=8, noise=1.0):
    numbers = np.random.default_rng(seed)
    centres = numbers.normal(size=(people, dim))
    who = numbers.integers(0, people, queries + gallery)
    features = (centres[who] + noise * numbers.normal(size=(len(who), dim))).astype(np.float32)
    return features[:queries], features[queries:]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize(
    ("k1", "k2", "lambda_value"), [(20, 6, 0.3), (7, 1, 0.0), (5, 5, 1.0), (1, 1, 0.5), (80, 9, 0.1)]
)
def test_it_equals_the_dense_formulation(k1, k2, lambda_value, metric) -> None:
    for seed in range(4):
        features = crowd(seed, noise=(0.3, 1, 3)[seed % 3])
        found = rerank(*features, k1, k2, lambda_value, metric=metric, quiet=True)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, dense(*features, k1, k2, lambda_value, metric=metric), **CLOSE)


@pytest.mark.parametrize(
    ("variant", "metric"), [("fast-reid", "cosine"), ("fast-reid", "euclidean"), ("luperson", "cosine")]
)
@pytest.mark.parametrize(("k1", "k2", "lambda_value"), [(20, 6, 0.3), (7, 1, 0.0), (2, 2, 1.0), (1, 1, 0.5)])
def test_the_variants_equal_theirs(k1, k2, lambda_value, variant, metric) -> None:
    for seed in range(3):
        features = crowd(seed, noise=(0.3, 1, 3)[seed])
        settled = k1, k2, lambda_value
        found = rerank(*features, *settled, metric=metric, variant=variant, quiet=True)
        np.testing.assert_allclose(found, dense(*features, *settled, metric=metric, variant=variant), **CLOSE)


def test_the_variants_are_three_algorithms() -> None:
    features = crowd(0)
    found = {name: rerank(*features, variant=name, quiet=True) for name in ("classic", "fast-reid", "luperson")}
    assert np.array_equal(found["classic"], rerank(*features, quiet=True))
    for one, other in (("classic", "fast-reid"), ("classic", "luperson"), ("fast-reid", "luperson")):
        assert not np.allclose(found[one], found[other], atol=1e-3)


@st.composite
def problems(draw):
    """Features on a coarse grid, of which distances are exact in single precision: many ties, and many copies."""
    queries, gallery, dim = draw(st.integers(1, 6)), draw(st.integers(1, 18)), draw(st.sampled_from([1, 4, 16]))
    metric = draw(st.sampled_from(["cosine", "euclidean"]))
    values = st.sampled_from([-1, 1]) if metric == "cosine" and dim > 1 else st.integers(0, 4)
    values = st.sampled_from([-3, 2]) if metric == "cosine" and dim == 1 else values
    count = (queries + gallery) * dim
    grid = np.array(draw(st.lists(values, min_size=count, max_size=count)), dtype=np.float32).reshape(-1, dim)
    if (grid == grid[0]).all():
        grid[0] += 1 if metric == "euclidean" else -2 * grid[0]  # the dense form divides by the farthest distance
    k1 = draw(st.integers(1, 30))
    k2 = draw(st.integers(1, min(k1, 8)))
    return (grid[:queries], grid[queries:], k1, k2, draw(st.sampled_from([0.0, 0.3, 1.0]))), metric


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(problems())
def test_ties_and_copies_fall_as_in_the_dense_formulation_with_a_stable_sort(problem) -> None:
    settled, metric = problem
    np.testing.assert_allclose(rerank(*settled, metric=metric, quiet=True), dense(*settled, metric=metric), **CLOSE)


def test_three_images_worked_out_by_hand() -> None:
    # points 0 (query), 1 and 10 on a line; squared distances 1, 100 and 81; farthest 100, 81, 100
    query, gallery = np.array([[0.0]]), np.array([[1.0], [10.0]])
    # k1 = 1: 0 and 1 are reciprocal; 10 has 1 as its neighbour but not the other way; k1 / 2 rounds to 0: itself alone
    near, nearer = np.exp(-1 / 100), np.exp(-1 / 81)
    shared = min(1 / (1 + near), nearer / (1 + nearer)) + min(near / (1 + near), 1 / (1 + nearer))
    expected = [[0.7 * (1 - shared / (2 - shared)) + 0.3 / 100, 0.7 * 1 + 0.3 * 1]]
    np.testing.assert_allclose(rerank(query, gallery, 1, 1, 0.3, metric="euclidean", quiet=True), expected, **CLOSE)


@pytest.mark.parametrize("tile", [1, 7, 16, 60, 1024])
def test_the_size_of_a_tile_changes_nothing_but_last_bits(tile, monkeypatch) -> None:
    features = crowd(0)
    whole = rerank(*features, quiet=True)
    monkeypatch.setattr(neighbours, "TILE", tile)
    monkeypatch.setattr("upreid.retrieval.rerank.TILE", tile)
    monkeypatch.setattr(neighbours, "PAIRS_AT_A_TIME", tile)
    chunks = list(reranked_chunks(*features, quiet=True))
    assert {len(chunk) for chunk in chunks[:-1]} <= {tile}
    np.testing.assert_allclose(np.concatenate(chunks), whole, **CLOSE)


def test_more_images_than_a_tile_equal_the_dense_formulation(monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "TILE", 16)
    monkeypatch.setattr("upreid.retrieval.rerank.TILE", 16)
    features = crowd(5, queries=37, gallery=64)
    np.testing.assert_allclose(rerank(*features, quiet=True), dense(*features), **CLOSE)


def test_an_image_is_exactly_zero_from_itself_and_from_its_copies_wherever_they_stand() -> None:
    numbers = np.random.default_rng(0)
    features = numbers.normal(size=(700, 333)).astype(np.float32) * 30
    features[::9] = features[4]
    for metric in ("cosine", "euclidean"):
        images = neighbours.images_of(features[:100], features[100:], metric=metric)
        distances = torch.cat([images.distances(0), images.distances(512)])
        assert distances.shape == (700, 700)
        assert (distances.diagonal() == 0).all()
        assert (distances[4, ::9] == 0).all()
        assert torch.equal(distances, distances.T)
        assert torch.equal(images.distances(512, 130), distances[512:, 130:])
        assert torch.equal(images.distances(0, 600), distances[:512, 600:])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=9, max_size=9), min_size=1, max_size=4), st.integers(1, 12))
def test_candidates_are_the_first_of_a_stable_sort(rows, k) -> None:
    distances = torch.tensor(rows, dtype=torch.float32)
    first = distances.sort(dim=1, stable=True).indices[:, :k]
    assert torch.equal(neighbours.candidates(distances, k), first.sort(dim=1).values)


def test_neighbours_that_single_precision_cannot_tell_apart_are_in_their_true_order() -> None:
    # on a line far from zero: squares of 3,000 and more leave steps of 1 between distances of less than 1
    points = 3_000 + np.random.default_rng(0).permutation(18)[:, None].astype(np.float32) / 32
    images = neighbours.images_of(points[:5], points[5:], metric="euclidean")
    gaps = np.abs(points - points.T)
    expected = np.argsort(gaps, axis=1, kind="stable")[:, :10]
    assert not np.array_equal(np.argsort(images.distances(0).numpy(), axis=1, kind="stable")[:, :10], expected)
    assert np.array_equal(neighbours.neighbours(images, 10, quiet=True)[0], expected)


def test_cosines_some_hundred_millionths_apart_are_told_apart() -> None:
    numbers = np.random.default_rng(0)
    axes = np.linalg.qr(numbers.normal(size=(1024, 17)))[0].T
    cosines = 0.6 + 3e-8 * numbers.permutation(16)[:, None]
    gallery = (cosines * axes[0] + np.sqrt(1 - cosines**2) * axes[1:]) * numbers.uniform(0.2, 5, (16, 1))
    images = neighbours.images_of(axes[:1].astype(np.float32), gallery.astype(np.float32), metric="cosine")
    ranked, _ = neighbours.neighbours(images, 17, quiet=True)
    assert np.array_equal(ranked[0, 1:] - 1, np.argsort(-cosines[:, 0]))


def test_distances_of_all_but_copies_are_not_negative() -> None:
    numbers = np.random.default_rng(0)
    features = np.repeat(100 * numbers.normal(size=(1, 64)), 300, axis=0) + 1e-5 * numbers.normal(size=(300, 64))
    images = neighbours.images_of(features[:9].astype(np.float32), features[9:].astype(np.float32), metric="euclidean")
    assert (images.distances(0) >= 0).all()


def test_scaling_the_features_changes_nothing() -> None:
    query, gallery = crowd(1)
    euclidean = rerank(query, gallery, metric="euclidean", quiet=True)
    np.testing.assert_allclose(rerank(4 * query, 4 * gallery, metric="euclidean", quiet=True), euclidean, **CLOSE)
    lengths = np.random.default_rng(0).uniform(0.1, 10, (len(gallery), 1))
    cosine = rerank(query, gallery, quiet=True)
    np.testing.assert_allclose(rerank(query, gallery * lengths, quiet=True), cosine, **CLOSE)


def test_it_orders_a_gallery_better_than_the_features_do() -> None:
    numbers = np.random.default_rng(0)
    people = np.repeat(np.arange(30), 10)
    features = numbers.normal(size=(30, 16))[people] + 1.2 * numbers.normal(size=(300, 16))
    labels = Labels(
        query_people=people[::10],
        gallery_people=np.delete(people, np.s_[::10]),
        query_cameras=np.zeros(30, dtype=np.int64),
        gallery_cameras=np.ones(270, dtype=np.int64),
    )
    sides = features[::10], np.delete(features, np.s_[::10], axis=0)
    scores = [
        evaluate_distances(reranked_chunks(*sides, lambda_value=share, quiet=True), labels)["mAP"]
        for share in (0.3, 1.0)
    ]
    assert scores[0] > scores[1] + 5


def test_distances_lie_between_zero_and_one() -> None:
    for seed in range(3):
        found = rerank(*crowd(seed, noise=2.0), quiet=True)
        assert 0 <= found.min() < found.max() <= 1


def test_images_that_are_all_copies_of_one_are_all_as_near() -> None:
    for metric in ("cosine", "euclidean"):
        found = rerank(np.full((3, 5), 0.3), np.full((40, 5), 0.3), 4, 2, metric=metric, quiet=True)
        assert np.isfinite(found).all()
    found = rerank(np.full((3, 5), 0.3), np.full((7, 5), 0.3), metric="euclidean", quiet=True)
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_arrays_lists_and_tensors_give_the_same_and_stay_as_they_are() -> None:
    features = crowd(2)
    whole = rerank(*features, quiet=True)
    assert np.array_equal(upreid.rerank(*features, k1=20, k2=6, lambda_value=0.3, quiet=True), whole)
    for kind in (torch.tensor, np.ndarray.tolist, np.float64):
        assert np.array_equal(rerank(*(kind(part) for part in features), quiet=True), whole)
    frozen = [part.copy() for part in features]
    for part in frozen:
        part.flags.writeable = False
    assert np.array_equal(rerank(*frozen, quiet=True), whole)
    assert all(np.array_equal(one, other) for one, other in zip(features, crowd(2), strict=True))


def test_it_tells_how_far_it_has_come(capsys) -> None:
    rerank(*crowd(0))
    said = capsys.readouterr().err
    assert "neighbours: 60/60 images" in said
    assert "re-ranking: 15/15 queries" in said
    rerank(*crowd(0), quiet=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"k1": 0}, "k1 0: expected a number of neighbours, at least 1"),
        ({"k2": -1}, "k2 -1"),
        ({"k1": 6, "k2": 20}, "k2 20 exceeds k1 6"),
        ({"lambda_value": 1.1}, "lambda_value 1.1: expected 0"),
        ({"lambda_value": -0.1}, "lambda_value -0.1"),
        ({"lambda_value": float("nan")}, "lambda_value nan"),
        ({"metric": "manhattan"}, "cosine or euclidean"),
        ({"variant": "fastreid"}, "variant 'fastreid': expected classic, fast-reid or luperson"),
        ({"variant": "luperson", "metric": "euclidean"}, "with Euclidean distances it is the classic; leave it out"),
        ({"query_features": np.array([[0.0, np.inf]])}, "1 of 1 query features are not finite"),
        ({"gallery_features": np.ones((3, 4))}, "query features have 2 dimensions, gallery features 4"),
        ({"gallery_features": np.ones((0, 2))}, r"gallery features have shape \(0, 2\)"),
    ],
)
def test_what_cannot_be_re_ranked_is_said_at_once_in_one_line(changes, words) -> None:
    problem = {"query_features": np.eye(2), "gallery_features": np.arange(6.0).reshape(3, 2)}
    rerank(**problem, quiet=True)
    for function in (rerank, reranked_chunks):  # the latter before its first rows are asked for
        with pytest.raises(InputError, match=words) as error:
            function(**problem | changes)
        assert "\n" not in str(error.value)


def test_distances_beyond_single_precision_are_refused() -> None:
    query, gallery = np.array([[1e19, 0]]), np.array([[0, 2e19], [0, 1e19]])
    with pytest.raises(InputError, match="exceed single precision"):
        rerank(query, gallery, metric="euclidean", quiet=True)


def test_the_original_distance_alone_keeps_the_order_of_the_features() -> None:
    query, gallery = crowd(3)
    found = rerank(query, gallery, lambda_value=1.0, metric="euclidean", quiet=True)
    original = ((query[:, None] - gallery[None]) ** 2).sum(-1)
    for row, truth in zip(found, original, strict=True):
        assert all(truth[one] <= truth[other] * (1 + 1e-5) for one, other in pairwise(np.argsort(row)))
