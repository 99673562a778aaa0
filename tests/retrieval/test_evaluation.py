"""Evaluation of a benchmark from features: settings of ranking, multi-query, unknown cameras."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from upreid.data.benchmarks import read_benchmark
from upreid.data.benchmarks.benchmark import Benchmark, Part, assemble
from upreid.data.benchmarks.market1501 import read_multi_query
from upreid.data.records import Record
from upreid.errors import InputError
from upreid.retrieval.evaluation import check_ranking, evaluate_benchmark
from upreid.retrieval.features import EncodedBenchmark, average_queries, encode_benchmark
from upreid.retrieval.settings import Ranking
from upreid.runtime.compute import Compute
from upreid.types import Preprocess

PREPROCESS = Preprocess(height=8, width=4, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
CPU = Compute(device=torch.device("cpu"), threads=1, workers=0)


def records(*pairs: tuple[int, int | None]) -> tuple[Record, ...]:
    return tuple(
        Record(path=Path(f"{person:04d}_c{camera}s1_{place:06d}_00.jpg"), person=person, camera=camera)
        for place, (person, camera) in enumerate(pairs)
    )


def benchmark(query: tuple[Record, ...], gallery: tuple[Record, ...], root: Path = Path("market")) -> Benchmark:
    parts = {"train": Part(), "query": Part(records=query), "gallery": Part(records=gallery)}
    return assemble("market1501", root, parts, variant="made up")


SOUND = benchmark(records((1, 1), (2, 1)), records((1, 2), (2, 2), (3, 1)))
ONE_CAMERA = benchmark(records((1, 1), (2, 1)), records((1, 1), (2, 1), (3, 1)))


@pytest.mark.parametrize(
    ("ranking", "labelled", "words"),
    [
        (Ranking(rerank=True, k1=2, k2=3), SOUND, "--test.k2 3 exceeds --test.k1 2"),
        (Ranking(rerank=True, k1=0), SOUND, "--test.k1 0: expected a number of neighbours"),
        (Ranking(rerank=True, k1=4, k2=0), SOUND, "--test.k2 0: expected"),
        (Ranking(rerank=True, k1=5, k2=1), SOUND, "--test.k1 5: market1501 has 5 images to rank"),
        (Ranking(rerank=True, k1=4, k2=1, lambda_value=3.0), SOUND, "--test.lambda-value 3.0: expected 0"),
        (Ranking(rerank=True, k1=4, k2=1, lambda_value=float("nan")), SOUND, "--test.lambda-value nan"),
        (Ranking(multi_query=True), SOUND, "market1501 at market has no images for multi-query"),
        (Ranking(), ONE_CAMERA, "market1501 at market: all images come from one camera"),
        (Ranking(), replace(SOUND, gallery=()), "the gallery list is empty"),
        (Ranking(), replace(SOUND, query=()), "the query list is empty"),
        (Ranking(), benchmark(SOUND.query, records((3, 2))), "none of the people in 2 queries is in the gallery"),
        (
            Ranking(),
            benchmark(SOUND.query, records((1, 1), (2, 1), (3, 2))),
            "none of 2 queries has a match from another",
        ),
        (Ranking(same_camera="keep"), benchmark(SOUND.query, records((3, 1))), "none of the people in 2 queries"),
    ],
)
def test_what_cannot_be_ranked_is_refused_from_the_lists_alone(ranking, labelled, words) -> None:
    with pytest.raises(InputError, match=words) as error:
        check_ranking(ranking, labelled, prefix="--test.")
    assert "\n" not in str(error.value)


def test_what_can_be_ranked_passes() -> None:
    check_ranking(Ranking(), SOUND)
    check_ranking(Ranking(rerank=True, k1=4, k2=4, lambda_value=0.0), SOUND)
    check_ranking(Ranking(k1=1, k2=7), SOUND)  # not used
    check_ranking(Ranking(same_camera="keep"), ONE_CAMERA)
    check_ranking(Ranking(), benchmark(records((1, None)), records((1, None), (2, None))))


def sides(labelled: Benchmark, ranking: Ranking, seed: int = 0) -> EncodedBenchmark:
    torch.manual_seed(seed)
    query, gallery = (torch.randn(len(some), 6) for some in (labelled.query, labelled.gallery))
    return EncodedBenchmark(query=query, gallery=gallery, labelled=labelled, preprocess=PREPROCESS, ranking=ranking)


def crowd(*cameras: int | None) -> Benchmark:
    people = [number % 7 for number in range(40)]
    seen = [cameras[number % 5 % len(cameras)] for number in range(40)]
    everybody = records(*zip(people, seen, strict=True))
    return benchmark(everybody[:10], everybody[10:])


@pytest.mark.parametrize("rerank", [False, True])
def test_cameras_that_are_not_known_leave_nothing_out_with_and_without_re_ranking(rerank: bool) -> None:
    ranking = Ranking(rerank=rerank, k1=6, k2=3)
    dropped = evaluate_benchmark(sides(crowd(1, 2, 3), ranking))
    kept = evaluate_benchmark(sides(crowd(1, 2, 3), replace(ranking, same_camera="keep")))
    unknown = evaluate_benchmark(sides(crowd(None), ranking))
    assert kept["mAP"] == unknown["mAP"] != dropped["mAP"]
    said = [result["protocol"]["same_person_same_camera"] for result in (dropped, kept, unknown)]
    assert said == ["left out per query", "kept", "kept, since no cameras are known"]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_query_of_several_images_is_their_mean_within_person_and_camera(metric: str) -> None:
    queries = records((1, 1), (2, 1), (2, 2), (3, 1))
    others = records((2, 1), (1, 1), (2, 2), (1, 2), (2, 1), (9, 1), (1, 1))
    torch.manual_seed(0)
    query, more = torch.randn(4, 6), 3 * torch.randn(7, 6)
    found, num_alone = average_queries(query, queries, more, others, metric=metric)
    for row, one, own in zip(found, queries, query, strict=True):
        same = [
            feature / feature.norm() if metric == "cosine" else feature
            for feature, other in zip(more, others, strict=True)
            if (other.person, other.camera) == (one.person, one.camera)
        ]
        alone = own / own.norm() if metric == "cosine" else own
        torch.testing.assert_close(row, sum(same) / len(same) if same else alone)
    assert num_alone == 1


def test_multi_query_reads_the_drawn_boxes_of_the_queries_people_and_cameras(tmp_path: Path) -> None:
    numbers, images = np.random.default_rng(0), {}
    names = ("0001_c1s1_000001_00.jpg", "0001_c1s1_000002_00.jpg", "0001_c2s1_000003_00.jpg", "0007_c1s1_000004_00.jpg")
    for folder, some in {"query": names[:1], "bounding_box_test": names[2:], "gt_bbox": names}.items():
        (tmp_path / folder).mkdir()
        for name in some:
            pixels = numbers.integers(0, 256, (8, 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / folder / name, quality=100)
            images[folder, name] = np.asarray(Image.open(tmp_path / folder / name))
    labelled = read_benchmark("market-style", tmp_path)
    assert [record.path.name for record in read_multi_query(labelled)] == list(names[:2])
    ranking = Ranking(multi_query=True, metric="euclidean")
    encoded = encode_benchmark(lambda batch, _: batch.flatten(1), labelled, PREPROCESS, CPU, ranking, quiet=True)
    boxes = [torch.tensor(images["gt_bbox", name]).permute(2, 0, 1) / 255 * 2 - 1 for name in names[:2]]
    torch.testing.assert_close(encoded.query[0], (boxes[0] + boxes[1]).flatten() / 2)
    result = evaluate_benchmark(encoded)
    assert result["protocol"]["multi_query"] == {"images": 2, "pooling": "mean", "queries_of_one_image": 0}
    single = evaluate_benchmark(
        encode_benchmark(lambda batch, _: batch.flatten(1), labelled, PREPROCESS, CPU, quiet=True)
    )
    assert single["protocol"]["multi_query"] is None
