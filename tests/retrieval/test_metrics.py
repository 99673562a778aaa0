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
from upreid.retrieval.ranking import UNKNOWN, Labels, distance_chunks, entries_before, rank_queries

NUMBERS = ("mAP", "mAP_trapezoid", "rank1", "rank5", "rank10", "mINP")


def labels(query_people, gallery_people, query_cameras=None, gallery_cameras=None) -> Labels:
    def array(values, like, fill):
        return np.array([fill] * len(like) if values is None else values)

    return Labels(
        query_people=np.array(query_people),
        gallery_people=np.array(gallery_people),
        query_cameras=array(query_cameras, query_people, 1),
        gallery_cameras=array(gallery_cameras, gallery_people, 2),
    )


def brute_force(distances, marks: Labels) -> dict[str, float]:
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
    marked = Labels(query_people=marks[0], gallery_people=marks[1], query_cameras=marks[2], gallery_cameras=marks[3])
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
        ({"query_features": np.ones((2, 3))}, "3 dimensions, gallery features 2"),
        ({"query_features": np.ones(2)}, r"shape \(2,\)"),
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


@settings(max_examples=200, deadline=None)
@given(problem=problems(), first=st.integers(1, 14))
def test_the_first_of_a_ranking_are_those_of_a_stable_sort_without_junk(problem, first) -> None:
    distances, marks = problem
    for row, number, ranked in zip(distances, range(9), rank_queries([distances], marks, first=first), strict=False):
        is_junk = (marks.gallery_people == marks.query_people[number]) & (
            marks.gallery_cameras == marks.query_cameras[number]
        )
        kept = [place for place in np.argsort(row, kind="stable") if not is_junk[place]]
        assert ranked.first.tolist() == kept[:first]
        is_match = marks.gallery_people[kept] == marks.query_people[number]
        assert ranked.ranks.tolist() == (np.flatnonzero(is_match) + 1).tolist()
        if is_match.any():
            assert ranked.nearest in np.array(kept)[is_match & (row[kept] == row[kept][is_match].min())]
            assert ranked.is_tied == (row[kept][~is_match] == row[kept][is_match].min()).any()


def test_an_unknown_camera_is_nobody_elses(features) -> None:
    query, gallery, *marks = features
    unknown = [np.full(len(cameras), UNKNOWN) for cameras in marks[2:]]
    marked = Labels(
        query_people=marks[0], gallery_people=marks[1], query_cameras=unknown[0], gallery_cameras=unknown[1]
    )
    everything = brute_force(
        next(distance_chunks(query, gallery, metric="cosine")),
        labels(marks[0], marks[1], np.arange(50), np.arange(150) + 50),
    )
    for cameras in ((None, None), (None, marks[3]), ([None] * 50, marks[3].tolist()), (marks[2], [None] * 150)):
        result = evaluate_features(query, gallery, *marks[:2], *cameras)
        assert numbers(result) == pytest.approx(everything)
        assert result["protocol"]["same_person_same_camera"] == "kept, since no cameras are known"
    assert numbers(evaluate_distances(distance_chunks(query, gallery, metric="cosine"), marked)) == pytest.approx(
        everything
    )
    kept = evaluate_features(*features, same_camera="keep")
    assert numbers(kept) == pytest.approx(everything)
    assert kept["protocol"]["same_person_same_camera"] == "kept"
    assert everything != pytest.approx(numbers(evaluate_features(*features)))


def test_some_unknown_cameras_are_said_and_leave_the_rule_for_the_others(features) -> None:
    query, gallery, *marks = features
    partly = [None, *marks[2][1:].tolist()]
    alone = np.array([-7, *marks[2][1:]])
    result = evaluate_features(query, gallery, *marks[:2], partly, marks[3])
    assert numbers(result) == numbers(evaluate_features(query, gallery, *marks[:2], alone, marks[3]))
    assert result["protocol"]["same_person_same_camera"] == "left out per query where both cameras are known"


def test_labels_may_be_words_and_mean_the_same_in_both_lists(features) -> None:
    query, gallery, *marks = features
    whole = evaluate_features(*features)
    words = [np.array([f"name {number}" for number in part.tolist()]) for part in marks]
    assert evaluate_features(query, gallery, *words) == whole
    assert evaluate_features(query, gallery, *(part.tolist() for part in words)) == whole
    assert evaluate_features(query, gallery, *(part.astype(object) for part in words)) == whole
    assert evaluate_features(query, gallery, *(part.astype("S") for part in words)) == whole
    assert evaluate_features(query, gallery, *words[:2], *marks[2:]) == whole
    floats = [part.astype(np.float32) for part in marks]
    assert evaluate_features(query, gallery, *floats) == whole
    scalars = [list(torch.tensor(part)) for part in marks]
    assert evaluate_features(query, gallery, *scalars) == whole


TOY = {
    "query_features": np.eye(2),
    "gallery_features": np.array([[1.0, 0.1], [0.1, 1.0], [1.0, 2.0]]),
    "query_ids": [1, 2],
    "gallery_ids": [1, 2, 2],
    "query_cameras": [1, 1],
    "gallery_cameras": [2, 2, 2],
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"query_ids": [0.25, 0.5]}, "2 of 4 different ids are not whole numbers, such as 0.25; give whole numbers"),
        ({"gallery_ids": torch.tensor([1.0, 2.0, 2.5])}, "1 of 3 different ids are not whole numbers, such as 2.5"),
        ({"gallery_ids": [1.0, 2.0, float("nan")]}, "such as nan"),
        ({"gallery_cameras": [2.0, 2.0, float("inf")]}, "different cameras are not whole numbers, such as inf"),
        ({"query_ids": [1, 2**70]}, "of up to 64 bits"),
        ({"query_ids": [1, 2.0**60]}, "such as 1.15"),
        ({"query_ids": np.array([True, False])}, "such as False"),
        ({"query_ids": [1, None]}, "1 ids are None; give every image its person"),
        ({"query_ids": ["anna", "bert"]}, r"ids mix words \('anna'\) and numbers"),
        ({"query_ids": [1, "bert"]}, r"ids mix words \('bert'\) and numbers"),
        ({"query_ids": [[1], [2]]}, r"query ids have shape \(2, 1\); expected one for each of 2"),
        ({"query_ids": [[1, 2], [3]]}, "ids hold lists within lists"),
        ({"query_ids": [(1, 2), (3,)]}, r"ids are not whole numbers, such as \(1, 2\)"),
        ({"gallery_cameras": []}, r"gallery cameras have shape \(0,\)"),
        ({"query_features": []}, r"query features have shape \(0,\)"),
        ({"gallery_features": np.ones((0, 2))}, "at least one of each"),
        ({"query_features": [[1.0, 2.0], [1.0]]}, "query features differ in their number of dimensions"),
        ({"query_features": [["a", "b"], ["c", "d"]]}, "query features are of type <U1"),
        ({"query_features": np.array([[1e300, 0], [0, 1]])}, "1 of 2 query features are not finite"),
        ({"query_features": np.array([[1e25, 0], [0, 1]])}, "so long that their distances exceed single precision"),
        ({"query_features": np.array([[0, 0], [0, 1]])}, "1 of 2 query features are zero"),
        ({"gallery_features": np.full((3, 2), 1e-30)}, "3 of 3 gallery features are zero"),
        (
            {"query_features": np.zeros((2, 2)), "gallery_features": np.zeros((3, 2)), "metric": "euclidean"},
            "2 of 2 query features are zero",
        ),
        ({"same_camera": "maybe"}, "drop or keep"),
    ],
)
def test_features_and_labels_that_mean_nothing_are_refused_in_one_line(changes, words) -> None:
    assert evaluate_features(**TOY)["protocol"]["remarks"] == []
    with pytest.raises(InputError, match=words) as error:
        evaluate_features(**TOY | changes)
    assert "\n" not in str(error.value)


def test_one_feature_at_the_origin_is_a_point_like_others_for_euclidean_distances() -> None:
    problem = TOY | {"query_features": np.array([[0.0, 0.0], [0.0, 1.0]]), "metric": "euclidean"}
    assert evaluate_features(**problem)["mAP"] > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"gallery_features": np.array([[1.0, 0], [0.1, 1.0], [1.0, 2.0]])},
            ["1 of 2 queries have the same features as"],
        ),
        (  # the same picture in a batch of another size: last bits differ
            {"gallery_features": np.array([[1.0 + 3e-7, 0], [0.1, 1.0], [1.0, 2.0]])},
            ["1 of 2 queries have the same features as"],
        ),
        (
            {"query_features": np.eye(2)[[0, 0]], "query_ids": [1, 1]},
            ["1 of 2 queries repeat another query"],
        ),
        (
            {"gallery_features": np.array([[1.0, 0.1], [0.1, 1.0], [0.1, 1.0]])},
            ["2 of 3 gallery entries share their features with another one, up to 2"],
        ),
        (
            {"gallery_features": np.array([[1.0, 0.1], [1.0, 0.1], [1.0, 2.0]])},
            ["for 1 of 2 queries somebody else is exactly as far away", "2 of 3 gallery entries"],
        ),
        (  # equal distances of different features
            {"gallery_features": np.array([[1.0, 0.5], [2.0, 1.0], [1.0, 2.0]])},
            ["for 1 of 2 queries somebody else is exactly as far away"],
        ),
        (
            {"query_features": np.ones((2, 2)), "gallery_features": np.ones((3, 2))},
            ["2 of 2 queries have the same", "for 2 of 2 queries", "3 of 3 gallery entries share"],
        ),
    ],
    ids=["copy", "nearly", "repeated", "twins", "tie", "scaled", "constant"],
)
def test_what_makes_a_score_doubtful_is_said_in_the_protocol(changes, words) -> None:
    found = evaluate_features(**TOY | changes)["protocol"]["remarks"]
    assert len(found) == len(words)
    for sentence, expected in zip(found, words, strict=True):
        assert expected in sentence


def test_distances_that_do_not_fit_the_labels_are_refused() -> None:
    with pytest.raises(InputError, match="a column for each of 2 gallery labels"):
        evaluate_distances([np.zeros((1, 3))], labels([1], [1, 2]))
    with pytest.raises(InputError, match="distances of more than 1 queries came"):
        evaluate_distances([np.zeros((2, 2))], labels([1], [1, 2]))
