import pytest

from upreid.data.benchmarks import BENCHMARKS
from upreid.data.benchmarks.benchmark import differences, published


def counts(**images_and_people: tuple[int, int]) -> dict[str, dict[str, int]]:
    return {part: {"images": images, "people": people} for part, (images, people) in images_and_people.items()}


def test_the_published_counts_give_no_sentence_and_one_image_less_gives_one() -> None:
    market = counts(train=(12_936, 751), query=(3_368, 750), gallery=(15_913, 751))
    assert differences("market1501", market) == []
    market["query"]["images"] -= 1
    assert differences("market1501", market) == ["query has 3,367 images of 750 people; published: 3,368 of 750"]


@pytest.mark.parametrize(
    ("name", "train", "query", "gallery"),
    [
        ("msmt17-v2", 30_248, 11_659, 82_161),
        ("msmt17-v1-trainval", 32_621, 11_659, 82_161),
        ("msmt17-ecn", 32_621, 11_659, 82_161),
        ("cuhk03-raw-labeled", 7_368, 1_400, 5_328),
        ("cuhk03-np-detected", 7_365, 1_400, 5_332),
        ("personx", 9_840, 5_136, 30_816),
        ("personx-original", 6 * 14_760, 6 * 856, 6 * 30_816),
        ("personx-original-45", 2 * 14_760, 2 * 856, 2 * 30_816),
    ],
)
def test_the_numbers_of_images_are_those_of_the_literature(name: str, train: int, query: int, gallery: int) -> None:
    assert [published(name)[part][0] for part in ("train", "query", "gallery")] == [train, query, gallery]


def test_only_custom_sets_have_no_published_counts() -> None:
    assert [name for name in BENCHMARKS if not published(name)] == ["market-style", "csv", "packed"]
