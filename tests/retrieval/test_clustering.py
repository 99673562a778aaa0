import importlib.util
import json
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from upreid.errors import InputError
from upreid.retrieval import cluster_report
from upreid.retrieval.cluster_report import agreement, check_clusters, cluster_line
from upreid.retrieval.clustering import cluster, dbscan
from upreid.retrieval.jaccard import jaccard_distances

NEAR = {"k1": 10, "k2": 3}  # fewer than a person of `crowd` has images


def dense_dbscan(distance, eps, min_samples):
    """DBSCAN by its definition, on a full matrix: clusters grow from core images in their order."""
    near = [[j for j in range(len(distance)) if distance[i, j] <= np.float32(eps)] for i in range(len(distance))]
    labels = [-1] * len(distance)
    found = 0
    for i in range(len(distance)):
        if labels[i] >= 0 or len(near[i]) < min_samples:
            continue
        border = [i]
        while border:
            j = border.pop()
            if labels[j] < 0:
                labels[j] = found
                border += near[j] if len(near[j]) >= min_samples else []
        found += 1
    return np.array(labels)


def full(graph):
    distances = np.ones(graph.shape, dtype=np.float32)
    rows = np.repeat(np.arange(graph.shape[0]), np.diff(graph.indptr))
    distances[rows, graph.indices] = graph.data
    return distances


def crowd(seed, people=12, each=15, dim=16, noise=0.7, strangers=30):
    """People with `each` images, and images of strangers, in a random order; and who is on each."""
    numbers = np.random.default_rng(seed)
    who = np.concatenate([np.repeat(np.arange(people), each), people + np.arange(strangers)])
    who = who[numbers.permutation(len(who))]
    centres = numbers.normal(size=(people + strangers, dim))
    return (centres[who] + noise * numbers.normal(size=(len(who), dim))).astype(np.float32), who


@pytest.mark.parametrize("eps", [0.3, 0.45, 0.6, 0.75])
@pytest.mark.parametrize("min_samples", [1, 2, 4])
def test_labels_are_those_of_the_dense_formulation(eps, min_samples) -> None:
    seen = set()
    for seed in range(4):
        features, _ = crowd(seed, noise=0.4 + 0.2 * seed)
        features[5:9] = features[40]
        found = cluster(features, eps=eps, min_samples=min_samples, quiet=True)
        expected = dense_dbscan(full(jaccard_distances(features, quiet=True)), eps, min_samples)
        assert np.array_equal(found.labels, expected)
        seen |= set(expected.tolist())
    assert len(seen) > 5


def test_a_cluster_of_copies_is_a_cluster_because_stored_zeros_are_neighbours() -> None:
    copies = csr_array((np.zeros(16, dtype=np.float32), np.tile(np.arange(4), 4), np.arange(0, 17, 4)), shape=(4, 4))
    assert dbscan(copies, 0.5, 4).tolist() == [0, 0, 0, 0]
    features, _ = crowd(0)
    features[[2, 50, 100, 150]] = np.random.default_rng(1).normal(size=16) * 9
    labels = cluster(features, eps=0.1, quiet=True).labels
    assert len({*labels[[2, 50, 100, 150]].tolist()}) == 1
    assert labels[2] >= 0


def test_the_same_images_have_the_same_clusters_and_other_distances_share_a_graph() -> None:
    features, _ = crowd(3)
    found = cluster(features, eps=0.5, others=(0.45, 0.55), quiet=True)
    for labels, eps in zip((found.labels, *found.others), (0.5, 0.45, 0.55), strict=True):
        assert np.array_equal(labels, cluster(features, eps=eps, quiet=True).labels)
    assert (found.others[0] < 0).sum() > (found.labels < 0).sum() > (found.others[1] < 0).sum()


def test_the_silhouette_is_that_of_the_dense_matrix_with_outliers_at_zero(monkeypatch) -> None:
    features, _ = crowd(1, noise=0.9)
    found = cluster(features, eps=0.5, k1=10, k2=3, quiet=True)  # a graph within 0.5 lacks most of these distances
    distances = full(jaccard_distances(features, k1=10, k2=3, quiet=True))
    inside = np.flatnonzero(found.labels >= 0)
    assert 0 < len(inside) < len(features)
    scores = silhouette_samples(distances[np.ix_(inside, inside)], found.labels[inside], metric="precomputed")
    assert found.report["silhouette_clustered"] == pytest.approx(scores.mean(), abs=1e-5)
    assert found.report["silhouette"] == pytest.approx(scores.sum() / len(features), abs=1e-5)
    fourth = np.sort(distances, axis=1)[:, 3]
    for percent, distance in found.report["neighbour_distances"].items():
        assert distance == pytest.approx(np.percentile(fourth, int(percent)), abs=1e-5)
    monkeypatch.setattr(cluster_report, "SAMPLE", 50)
    part = cluster(features, eps=0.5, k1=10, k2=3, quiet=True).report
    assert part["images_looked_at"] == 50
    assert part["silhouette"] == pytest.approx(found.report["silhouette"], abs=0.15)


def test_it_prefers_the_distance_that_finds_the_people() -> None:
    features, who = crowd(2, strangers=0, noise=0.6)
    settings = {"eps": 0.02, **NEAR}, {"eps": 0.5, **NEAR}, {"eps": 0.99}
    reports = [cluster(features, **one, people=who.tolist(), quiet=True).report for one in settings]
    scores, truths = ([report[name] for report in reports] for name in ("silhouette", "clusters"))
    assert truths == [0, 12, 1]
    assert scores[0] == scores[2] == 0
    assert scores[1] > 0.5


def test_a_report_counts_what_the_labels_say() -> None:
    features, who = crowd(5, noise=0.9)
    found = cluster(features, people=who.tolist(), **NEAR, quiet=True)
    report, labels = found.report, found.labels
    sizes = np.bincount(labels[labels >= 0])
    assert report["images"] == len(features) == 210
    assert report["clusters"] == labels.max() + 1 > 3
    assert report["outliers"] == (labels < 0).sum() > 0
    assert report["outlier_share"] == report["outliers"] / 210
    assert report["largest_share"] == sizes.max() / 210
    assert report["sizes"]["0"] == sizes.min()
    assert report["sizes"]["100"] == sizes.max()
    assert list(report["phases"]) == ["neighbours", "encodings", "distances", "clusters", "report"]
    assert all(phase["peak_gib"] > 0 for phase in report["phases"].values())
    alone = labels.copy()
    alone[labels < 0] = 1000 + np.arange((labels < 0).sum())
    with warnings.catch_warnings(action="ignore"):  # that there are many clusters
        assert report["agreement"]["adjusted_rand"] == pytest.approx(adjusted_rand_score(who, alone))
    assert report["agreement"]["people"] == 42
    assert json.loads(json.dumps(report)) == report
    line = cluster_line(report)
    assert line.startswith(f"{report['clusters']} clusters of 210 images, ")
    assert "adjusted Rand index with the labels 0." in line
    assert "Rand" not in cluster_line(cluster(features, quiet=True).report)


def test_agreement_worked_out_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, -1, -1])
    people = [7, 7, 8, 8, 8, 9, None]  # the last is left out: 15 pairs of six images
    found = agreement(labels, people)
    # in one cluster: 3 + 1 pairs; of one person: 1 + 3; of both: 1 + 1
    assert found["precision"] == found["recall"] == 0.5
    assert found["purity"] == 4 / 5
    assert found["people"] == 3
    assert found["adjusted_rand"] == pytest.approx((2 - 16 / 15) / (4 - 16 / 15))
    assert agreement(np.array([-1, -1]), [1, 2])["adjusted_rand"] == 1
    with pytest.raises(InputError, match="people of 2 images came for 7 features"):
        agreement(labels, [1, 2])


def test_clusters_that_nothing_can_be_learnt_from_are_refused_with_what_to_try() -> None:
    features, _ = crowd(2, strangers=0)
    check_clusters(cluster(features, **NEAR, quiet=True).report, people_per_batch=12)
    noise = np.random.default_rng(0).normal(size=(300, 64))
    cases = [
        (
            features,
            {"eps": 0.02},
            2,
            r"there is no cluster: --cluster\.eps 0\.02 leaves 100\.0% of 180 images as outliers",
        ),
        (
            features,
            {"eps": 0.99, "k1": 30, "k2": 6},
            2,
            "one cluster holds 100.0% of all images: .*; try --cluster.eps 0",
        ),
        (features, {}, 16, "there are 12 clusters, fewer than the 16 people of a batch: .* or put at most 12 people"),
        (noise, {"eps": 0.55, "k1": 6, "k2": 2}, 2, "nearly all images are outliers: .*; try --cluster.eps 0"),
    ]
    for values, settings, people, words in cases:
        report = cluster(values, **NEAR | settings, quiet=True).report
        with pytest.raises(InputError, match=words) as error:
            check_clusters(report, people_per_batch=people, prefix="--cluster.")
        assert "\n" not in str(error.value)
        far = report["neighbour_distances"]
        assert f"within Jaccard distance {far['10']:.2f} of 10 % of the images, {far['50']:.2f} of 50 %" in str(
            error.value
        )


def test_the_distance_that_is_advised_against_outliers_makes_half_of_the_images_cores() -> None:
    features, _ = crowd(2, strangers=0)
    with pytest.raises(InputError, match="try eps ") as error:
        check_clusters(cluster(features, eps=0.02, **NEAR, quiet=True).report)
    better = float(str(error.value).rpartition(" ")[2])
    report = cluster(features, eps=better, **NEAR, quiet=True).report
    check_clusters(report)
    assert report["outlier_share"] < 0.5


def test_bad_settings_and_a_missing_package_are_said_in_one_line(monkeypatch) -> None:
    features, _ = crowd(0)
    for settings, words in [
        ({"eps": 0.0}, "eps 0: expected a Jaccard distance between 0 and 1"),
        ({"eps": 1.0}, "eps 1: expected"),
        ({"others": (2.0,)}, "eps 2: expected"),
        ({"min_samples": 0}, "min_samples 0: expected a number of images, at least 1"),
        ({"k1": 4, "k2": 5}, "k2 5 exceeds k1 4"),
    ]:
        with pytest.raises(InputError, match=words):
            cluster(features, **settings, quiet=True)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "upreid.retrieval.clustering.find_spec", lambda name: None if name == "sklearn" else found(name)
    )
    with pytest.raises(InputError, match=r"clustering needs scikit-learn: pip install 'upreid\[adapt\]'"):
        cluster(features, quiet=True)
