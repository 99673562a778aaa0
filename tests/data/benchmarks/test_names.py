"""What can be read by which name."""

from collections.abc import Callable
from pathlib import Path

import pytest

from upreid.data.benchmarks import BENCHMARKS, read_benchmark
from upreid.errors import InputError, UpreidError
from upreid.synthetic.layouts import LABELLED

SETS = {
    "market1501": ("market1501", 48, 24, 24),
    "cuhk03-np-labeled": ("cuhk03-np-labeled", 39, 8, 31),
    "cuhk03-np-detected": ("cuhk03-np-detected", 38, 8, 30),
    "cuhk03-raw-labeled": ("cuhk03-raw", 39, 8, 31),
    "cuhk03-raw-detected": ("cuhk03-raw", 38, 8, 30),
    "msmt17-v1": ("msmt17-v1", 44, 24, 24),
    "msmt17-v2": ("msmt17-v2", 44, 24, 24),
    "msmt17-v1-trainval": ("msmt17-v1", 48, 24, 24),
    "msmt17-v2-trainval": ("msmt17-v2", 48, 24, 24),
    "msmt17-ecn": ("msmt17-ecn", 48, 24, 24),
    "personx": ("personx", 48, 24, 24),
    "personx-original": ("personx-original", 48, 24, 48),
    "personx-original-45": ("personx-original", 16, 8, 16),
    "personx-original-456": ("personx-original", 24, 12, 24),
    "market-style": ("market1501", 48, 24, 24),
}
"""The layout that each name reads, and the images of its three lists."""


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_what_synth_writes_is_read_by_name_from_its_folder(name: str, copied: Callable[[str], Path]) -> None:
    layout, *sizes = SETS[name]
    found = read_benchmark(name, copied(layout))
    assert found.name == name
    assert [len(found.train), len(found.query), len(found.gallery)] == sizes
    assert {record.path.is_file() for record in (*found.train, *found.query, *found.gallery)} == {True}
    assert [found.facts[part]["people"] for part in ("train", "query", "gallery")] == [4, 4, 4]
    assert (found.facts["junk_dropped"], found.facts["distractors"], found.facts["names_not_matched"]) == (0, 0, 0)
    assert found.facts["variant"]


@pytest.mark.parametrize("name", [name for name in SETS if name != "market-style"])
def test_the_folder_above_will_do_and_gives_the_same(name: str, copied: Callable[[str], Path]) -> None:
    folder = copied(SETS[name][0])
    assert read_benchmark(name, folder.parent) == read_benchmark(name, folder)


@pytest.mark.parametrize("name", SETS)
def test_every_query_has_a_match_from_another_camera(name: str, copied: Callable[[str], Path]) -> None:
    found = read_benchmark(name, copied(SETS[name][0]))
    seen = {(record.person, record.camera) for record in found.gallery}
    for query in found.query:
        assert any(person == query.person and camera != query.camera for person, camera in seen)


@pytest.mark.parametrize("name", SETS)
def test_train_people_are_strangers_unless_the_set_numbers_both_sides_from_zero(
    name: str, copied: Callable[[str], Path]
) -> None:
    found = read_benchmark(name, copied(SETS[name][0]))
    both = {record.person for record in found.train} & {record.person for record in found.gallery}
    assert found.shares_ids == (not name.startswith("msmt17"))
    assert bool(both) != found.shares_ids


def test_counts_that_are_not_the_published_ones_are_said(rendered: Callable[[str], Path]) -> None:
    found = read_benchmark("market1501", rendered("market1501"))
    assert found.facts["differs_from_published"][0] == "train has 48 images of 4 people; published: 12,936 of 751"
    assert len(found.facts["differs_from_published"]) == 3
    assert read_benchmark("market-style", rendered("market1501")).facts["differs_from_published"] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("msmt17", "which form of it? msmt17-v1, msmt17-v2, msmt17-v1-trainval, msmt17-v2-trainval, msmt17-ecn"),
        ("cuhk03", "cuhk03-np-labeled, cuhk03-np-detected, cuhk03-raw-labeled, cuhk03-raw-detected"),
        ("cuhk03-np", "cuhk03-np-labeled, cuhk03-np-detected"),
        ("cuhk03-raw", "cuhk03-raw-labeled, cuhk03-raw-detected"),
        ("market", "did you mean 'market1501'"),
        ("personx-orignal", "did you mean 'personx-original'"),
    ],
)
def test_a_short_or_wrong_name_is_answered_with_exact_ones(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_benchmark(name, tmp_path)
    assert words in str(caught.value)


FOREIGN = [
    ("market1501", "msmt17-v2", "that looks like msmt17-v2"),
    ("market1501", "msmt17-ecn", "that looks like msmt17-ecn"),
    ("market1501", "personx/PersonX", "that looks like personx"),
    ("market1501", "personx-original", "that looks like personx-original"),
    ("market1501", "cuhk03-np-labeled/cuhk03-np/labeled", "that looks like cuhk03-np"),
    ("msmt17-v1", "msmt17-v2", "that looks like msmt17-v2"),
    ("msmt17-v1", "msmt17-v2/MSMT17_V2", "that looks like msmt17-v2"),
    ("msmt17-ecn", "market1501", "that looks like market1501"),
    ("msmt17-ecn", "msmt17-v1", "that looks like msmt17-v1"),
    ("cuhk03-np-labeled", "cuhk03-np-detected", "that looks like cuhk03-np-detected"),
    ("cuhk03-np-labeled", "cuhk03-raw", "that looks like cuhk03-raw"),
    ("cuhk03-raw-labeled", "market1501", "that looks like market1501"),
    ("personx", "market1501", "that looks like market1501"),
    ("personx", "personx-original", "that looks like personx-original"),
    ("personx-original", "personx", "that looks like personx"),
]


@pytest.mark.parametrize(("name", "layout", "words"), FOREIGN)
def test_another_set_is_refused_with_a_hint_at_its_name(
    name: str, layout: str, words: str, rendered: Callable[[str], Path]
) -> None:
    top, _, below = layout.partition("/")
    with pytest.raises(UpreidError) as caught:
        read_benchmark(name, rendered(top) / below)
    assert str(caught.value).endswith(words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "csv"])
def test_a_root_that_is_not_there_or_empty_is_one_clear_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        read_benchmark(name, tmp_path / "none")
    with pytest.raises(InputError, match="it has nothing"):
        read_benchmark(name, tmp_path)


def test_every_layout_that_synth_writes_is_read_by_some_name() -> None:
    assert set(LABELLED) == {layout for layout, *_ in SETS.values()} | {"cuhk03-raw-v5"}
