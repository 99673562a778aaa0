import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

import upreid
from upreid.errors import InputError
from upreid.retrieval import ranking
from upreid.retrieval.inputs import as_features
from upreid.retrieval.metrics import evaluate_distances, evaluate_features
from upreid.retrieval.ranking import Labelled, entries_before, top_ranked

NUMBERS = ("mAP", "mAP_trapezoid", "rank1", "rank5", "rank10", "mINP")


def labels(query_people, gallery_people, query_cameras=None, gallery_cameras=None) -> Labelled:
    def array(values, like, fill):
        return np.array([fill] * len(like) if values is None else values)

    return Labelled(
        query_people=np.array(query_people),
        gallery_people=np.array(gallery_people),
        query_cameras=array(query_cameras, query_people, 1),
        gallery_cameras=array(gallery_cameras, gallery_people, 2),
    )


def brute_force(distances, marks: Labelled) -> dict[str, float]:
    """Rank every gallery by hand, one entry after the other."""
    rows = []
    for row, person, camera in zip(distances, marks.query_people, marks.query_cameras, strict=True):
        order = sorted(range(len(row)), key=lambda j: (row[j], j))
        kept = [j for j in order if not (marks.gallery_people[j] == person and marks.gallery_cameras[j] == camera)]
        hits = [rank for rank, j in enumerate(kept, start=1) if marks.gallery_people[j] == person]
        if not hits:
            continue
        rectangle = sum((k + 1) / rank for k, rank in enumerate(hits)) / len(hits)
        trapezoid = 0.0
        for k, rank in enumerate(hits):
            before = 1.0 if rank == 1 else k / (rank - 1)
            trapezoid += ((k + 1) / rank + before) / 2 / len(hits)
        cmc = [float(hits[0] <= k) for k in (1, 5, 10)]
        rows.append([rectangle, trapezoid, *cmc, len(hits) / hits[-1]])
    return dict(zip(NUMBERS, (100 * np.mean(rows, axis=0)).tolist(), strict=True)) if rows else {}


def numbers(result):
    return {name: result[name] for name in NUMBERS}


def test_a_ranking_worked_out_by_hand() -> None:
    # gallery by distance: stranger, junk (same camera), match, stranger, match
    marks = labels([7], [8, 7, 7, 9, 7], [1], [2, 1, 2, 3, 3])
    result = evaluate_distances([np.array([[0.1, 0.2, 0.3, 0.4, 0.5]])], marks)
    # kept ranks: stranger 1, match 2, stranger 3, match 4
    assert result["mAP"] == pytest.approx(100 * (1 / 2 + 2 / 4) / 2)
    assert result["mAP_trapezoid"] == pytest.approx(100 * ((1 / 2 + 0 / 1) / 2 + (2 / 4 + 1 / 3) / 2) / 2)
    assert (result["rank1"], result["rank5"], result["rank10"]) == (0, 100, 100)
    assert result["mINP"] == pytest.approx(100 * 2 / 4)


def test_queries_without_a_match_leave_the_denominator_and_are_counted() -> None:
    marks = labels([1, 5], [1, 2])
    result = evaluate_distances([np.array([[0.0, 1.0], [0.0, 1.0]])], marks)
    assert result["mAP"] == 100
    assert (result["protocol"]["queries"], result["protocol"]["valid_queries"]) == (2, 1)
    assert result["protocol"]["queries_without_match"] == 1


def test_of_equal_distances_the_lower_index_comes_first() -> None:
    for match, expected in ((0, 100.0), (1, 50.0), (2, 100 / 3)):
        people = [9, 9, 9]
        people[match] = 1
        assert evaluate_distances([np.zeros((1, 3))], labels([1], people))["mAP"] == pytest.approx(expected)


@st.composite
def problems(draw):
    queries, gallery = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    steps = draw(st.sampled_from([3, 1000]))  # few distinct distances make ties

    def integers(count, most):
        return np.array(draw(st.lists(st.integers(0, most), min_size=count, max_size=count)))

    marks = labels(integers(queries, 3), integers(gallery, 3), integers(queries, 2), integers(gallery, 2))
    kind = draw(st.sampled_from([np.float32, np.float64, np.float16, np.int64]))
    return integers(queries * gallery, steps).reshape(queries, gallery).astype(kind), marks


@pytest.mark.parametrize("few", [0, 2], ids=["counting", "sorting"])
@settings(max_examples=300, deadline=None)
@given(problem=problems())
def test_it_equals_a_ranking_by_brute_force_ties_and_junk_included(few, problem) -> None:
    distances, marks = problem
    expected = brute_force(distances, marks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "FEW", few)
        if expected:
            assert numbers(evaluate_distances([distances], marks)) == pytest.approx(expected)
        else:
            with pytest.raises(InputError):
                evaluate_distances([distances], marks)


def test_sorting_the_nearest_few_and_counting_them_agree_on_large_galleries(monkeypatch) -> None:
    numbers = np.random.default_rng(0)
    for most in (50, 10_000):  # ties by the hundred, and hardly any
        row = numbers.integers(0, most, 5_000).astype(np.float32)
        early = np.sort(numbers.choice(np.argsort(row, kind="stable")[:250], 9, replace=False))
        for matches in (early, np.sort(numbers.choice(5_000, 9, replace=False))):
            place = np.empty(5_000, dtype=np.int64)
            place[np.argsort(row, kind="stable")] = np.arange(5_000)
            for few in (0, ranking.FEW, 2):
                with monkeypatch.context() as patch:
                    patch.setattr(ranking, "FEW", few)
                    assert np.array_equal(entries_before(row, matches), place[matches])


@pytest.fixture(scope="module")
def features():
    numbers = np.random.default_rng(0)
    people, cameras = numbers.integers(0, 20, 200), numbers.integers(0, 4, 200)
    centres = numbers.normal(size=(20, 16))
    vectors = (centres[people] + numbers.normal(size=(200, 16)) * 1.5).astype(np.float32)
    return vectors[:50], vectors[50:], people[:50], people[50:], cameras[:50], cameras[50:]


def test_average_precision_agrees_with_scikit_learn(features) -> None:
    query, gallery, query_ids, gallery_ids, query_cameras, gallery_cameras = features
    similarity = (
        torch.nn.functional.normalize(torch.tensor(query)) @ torch.nn.functional.normalize(torch.tensor(gallery)).T
    )
    precisions = []
    for row, person, camera in zip(similarity.numpy(), query_ids, query_cameras, strict=True):
        kept = ~((gallery_ids == person) & (gallery_cameras == camera))
        if (gallery_ids[kept] == person).any():
            precisions.append(average_precision_score(gallery_ids[kept] == person, row[kept]))
    assert evaluate_features(*features)["mAP"] == pytest.approx(100 * np.mean(precisions), rel=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_chunks_change_nothing(features, metric, monkeypatch) -> None:
    whole = evaluate_features(*features, metric=metric)
    for elements in (1, 150 * 7):
        monkeypatch.setattr(ranking, "ELEMENTS_PER_CHUNK", elements)
        assert numbers(evaluate_features(*features, metric=metric)) == pytest.approx(numbers(whole), rel=1e-6)


def test_metrics_are_the_distances_they_are_called(features) -> None:
    query, gallery, *marks = features
    marked = Labelled(query_people=marks[0], gallery_people=marks[1], query_cameras=marks[2], gallery_cameras=marks[3])
    euclidean = ((query[:, None].astype(np.float64) - gallery[None]) ** 2).sum(-1)
    length = np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
    cosine = 1 - query.astype(np.float64) @ gallery.T / length
    for metric, distances in (("euclidean", euclidean), ("cosine", cosine)):
        expected = brute_force(distances, marked)
        assert numbers(evaluate_features(*features, metric=metric)) == pytest.approx(expected, rel=1e-5)


def test_arrays_lists_and_tensors_give_the_same(features) -> None:
    whole = evaluate_features(*features)
    assert evaluate_features(*(torch.tensor(part) for part in features)) == whole
    assert evaluate_features(*(part.tolist() for part in features)) == whole
    assert upreid.evaluate_features(*features) == whole
    halves = [torch.tensor(part).bfloat16() for part in features[:2]]
    assert evaluate_features(*halves, *features[2:])["mAP"] == pytest.approx(whole["mAP"], abs=1)


def test_order_of_queries_changes_nothing(features) -> None:
    order = np.random.default_rng(1).permutation(50)
    shuffled = [part[order] if len(part) == 50 else part for part in features]
    assert numbers(evaluate_features(*shuffled)) == pytest.approx(numbers(evaluate_features(*features)))


def test_the_cumulative_match_rises_with_the_rank(features) -> None:
    result = evaluate_features(*features)
    assert 0 < result["rank1"] < result["rank5"] <= result["rank10"] <= 100


def test_a_gallery_smaller_than_the_ranks_is_no_trouble() -> None:
    result = evaluate_distances([np.array([[1.0, 0.5]])], labels([1], [1, 2]))
    assert (result["rank1"], result["rank5"], result["rank10"]) == (0, 100, 100)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"query_cameras": [1, 1], "gallery_cameras": [1, 1, 1]}, "one camera"),
        ({"gallery_ids": [7, 8, 9]}, "none of the people in 2 queries"),
        ({"query_cameras": [1, 2], "gallery_cameras": [1, 2, 2]}, "from another camera"),
        ({"query_features": np.array([[0.0, np.nan], [1, 0]])}, "1 of 2 query features are not finite"),
        ({"query_features": np.zeros((2, 3))}, "3 dimensions, gallery features 2"),
        ({"query_features": np.zeros(2)}, r"shape \(2,\)"),
        ({"gallery_ids": [1, 2]}, "gallery ids have shape"),
        ({"metric": "manhattan"}, "cosine or euclidean"),
    ],
)
def test_what_cannot_be_evaluated_is_said(changes, words) -> None:
    problem = {
        "query_features": np.eye(2),
        "gallery_features": np.ones((3, 2)),
        "query_ids": [1, 2],
        "gallery_ids": [1, 2, 2],
        "query_cameras": [1, 1],
        "gallery_cameras": [2, 2, 2],
    }
    evaluate_features(**problem)
    with pytest.raises(InputError, match=words):
        evaluate_features(**problem | changes)


def test_distances_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="distances of query 1 or shortly after are NaN"):
        evaluate_distances([np.zeros((1, 2)), np.array([[0.0, np.nan]])], labels([1, 2], [1, 2]))


def test_features_are_taken_as_they_are_where_they_fit_and_never_changed(features) -> None:
    query = features[0]
    assert np.shares_memory(as_features(query, "query"), query)
    assert np.shares_memory(as_features(torch.from_numpy(query), "query"), query)
    before = [part.copy() for part in features]
    for metric in ("cosine", "euclidean"):
        evaluate_features(*features, metric=metric)
    assert all(np.array_equal(one, other) for one, other in zip(before, features, strict=True))
    frozen = query.copy()
    frozen.flags.writeable = False
    assert evaluate_features(frozen, *features[1:]) == evaluate_features(*features)  # and torch warns of nothing


def test_fewer_distances_than_queries_are_noticed() -> None:
    with pytest.raises(InputError, match="1 queries came, labels for 2"):
        evaluate_distances([np.zeros((1, 2))], labels([1, 2], [1, 2]))


def test_the_first_of_a_ranking_leave_junk_out_and_name_matches(features) -> None:
    query, gallery, *marks = features
    marked = Labelled(query_people=marks[0], gallery_people=marks[1], query_cameras=marks[2], gallery_cameras=marks[3])
    places, hits = top_ranked(query, gallery, marked, k=3)
    first = np.mean([row[0] for row, own in zip(hits, marks[0], strict=True) if (marks[1] == own).any()])
    assert 100 * first == pytest.approx(evaluate_features(*features)["rank1"], abs=2)
    for number, (row, hit) in enumerate(zip(places, hits, strict=True)):
        assert len(row) == 3
        assert np.array_equal(hit, marks[1][row] == marks[0][number])
        assert not (hit & (marks[3][row] == marks[2][number])).any()
