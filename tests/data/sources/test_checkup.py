"""What reading all images of an unlabelled source shows: copies, near copies, and what cannot be read."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from upreid.data.sources.checkup import BANDS, NEAR, difference_hash, look_through, near_pairs, repeats
from upreid.data.sources.recognise import open_source


def test_the_bands_cover_a_hash_once_and_are_more_than_the_bits_that_may_differ() -> None:
    assert [bit for start, length in BANDS for bit in range(start, start + length)] == list(range(64))
    assert len(BANDS) > NEAR


@given(
    seeds=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4),
    flips=st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 63), max_size=4)), max_size=12),
)
def test_near_pairs_are_those_that_comparing_all_with_all_finds(
    seeds: list[int], flips: list[tuple[int, list[int]]]
) -> None:
    hashes = set(seeds)
    for number, bits in flips:
        changed = seeds[number % len(seeds)]
        for bit in bits:
            changed ^= 1 << bit
        hashes.add(changed)
    ordered = list(hashes)
    found = {tuple(pair) for pair in near_pairs(np.array(ordered, dtype=np.uint64)).tolist()}
    assert found == {
        (one, other)
        for other in range(len(ordered))
        for one in range(other)
        if (ordered[one] ^ ordered[other]).bit_count() <= NEAR
    }


def test_repeats_name_the_first_of_their_kind() -> None:
    marks = np.array([5, 7, 5, 9, 7, 5], dtype=np.uint64)
    assert repeats(np.array([0, 1, 2, 4, 5]), marks).tolist() == [[0, 2], [1, 4], [0, 5]]


def test_the_hash_says_where_a_picture_grows_lighter() -> None:
    ramp = np.tile(np.arange(0, 180, 20, dtype=np.uint8)[None, :, None], (8, 1, 3))
    assert difference_hash(ramp) == 2**64 - 1
    assert difference_hash(ramp[:, ::-1]) == 0
    half = ramp.copy()
    half[4:] = ramp[4:, ::-1]
    assert difference_hash(half).bit_count() == 32


def test_copies_are_told_by_bytes_then_by_looks(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0)
    for name in range(8):
        coarse = Image.fromarray(numbers.integers(0, 256, (8, 9, 3), dtype=np.uint8))
        coarse.resize((54, 96), Image.Resampling.BILINEAR).save(tmp_path / f"{name}.png")
    first = Image.open(tmp_path / "0.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "0.png").read_bytes())
    first.save(tmp_path / "other.bmp")
    first.save(tmp_path / "squeezed.jpg", quality=80)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    source = open_source(tmp_path)
    found = look_through(source)

    def named(pairs: np.ndarray) -> list[tuple[str, ...]]:
        return [tuple(source.name(int(image)) for image in pair) for pair in pairs]

    assert named(found.same_bytes) == [("0.png", "copy.png")]
    assert ("0.png", "other.bmp") in named(found.same_looks)
    alike = sorted(named(found.same_looks) + named(found.near_looks))
    assert alike == [("0.png", "other.bmp"), ("0.png", "squeezed.jpg")]
    assert len(found.trouble) == 1
    assert "broken.png" in found.trouble[0]
    assert (found.heights.tolist(), found.widths.tolist()) == ([96] * 11, [54] * 11)
