import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from upreid.data.benchmarks import read_benchmark
from upreid.errors import InputError


def test_the_subset_has_its_six_cameras_and_is_found_as_openunreid_lays_it(copied: Callable[[str], Path]) -> None:
    folder = copied("personx") / "PersonX"
    root = folder.parent / "elsewhere"
    shutil.copytree(folder, root / "personx" / "subset1")
    for place in (folder, root, root / "personx"):
        found = read_benchmark("personx", place)
        assert {record.camera for record in found.train} == {3, 4, 8, 10, 11, 12}
        assert {record.person for record in found.query} == {5, 6, 7, 8}


def test_another_camera_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("personx") / "PersonX"
    (folder / "query" / "0005_c13s1_01.jpg").touch()
    with pytest.raises(InputError, match="has cameras 3, 4, 8, 10, 11, 12, 13, and the subset of PersonX has"):
        read_benchmark("personx", folder)


def test_backgrounds_are_chosen_by_name_and_stated(copied: Callable[[str], Path]) -> None:
    folder = copied("personx-original")
    some, every = read_benchmark("personx-original-456", folder), read_benchmark("personx-original", folder)
    assert {record.camera for record in some.train} == {4, 5, 6}
    assert {record.camera for record in every.gallery} == {1, 2, 3, 4, 5, 6}
    assert some.facts["variant"] == "the original release, backgrounds 4, 5, 6"
    assert set(some.gallery) < set(every.gallery)


def test_a_background_that_is_missing_is_named_where_it_is_needed(copied: Callable[[str], Path]) -> None:
    folder = copied("personx-original") / "PersonX_v1"
    shutil.rmtree(folder / "2" / "query")
    assert read_benchmark("personx-original-456", folder).train
    with pytest.raises(InputError, match="lacks 2/query"):
        read_benchmark("personx-original", folder)


def test_the_query_stands_in_the_gallery_too(rendered: Callable[[str], Path]) -> None:
    found = read_benchmark("personx-original", rendered("personx-original"))
    assert {record.path.name for record in found.query} < {record.path.name for record in found.gallery}
