"""What a corpus holds, and what its options do."""

import dataclasses
import io
import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from upreid.synthetic.corpus import GAP, contact_sheet, take, wild_shots
from upreid.synthetic.figure import stand
from upreid.synthetic.identity import Identity, draw_identity
from upreid.synthetic.layouts import market1501_shots
from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.shot import Shot, generator
from upreid.synthetic.skeleton import draw_pose
from upreid.synthetic.version1.camera import draw_camera, transfer_colours
from upreid.synthetic.version1.photograph import frame, photograph
from upreid.synthetic.version1.scene import cut, draw_panorama

CORPUS = CorpusSettings(version=1, identities=6, seed=1, height=64, width=32)


def pixels(corpus: CorpusSettings, shot: Shot) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(take(corpus, shot)))).astype(int)


def test_half_the_people_train_and_each_has_two_images_in_each_of_six_cameras():
    shots = market1501_shots(dataclasses.replace(CORPUS, identities=40))
    in_folder = {
        name: [s for s in shots if s.path.parts[0] == name]
        for name in ("bounding_box_train", "query", "bounding_box_test")
    }
    assert {name: len(some) for name, some in in_folder.items()} == {
        "bounding_box_train": 240,
        "query": 120,
        "bounding_box_test": 120,
    }
    train, query, gallery = ({s.person for s in some} for some in in_folder.values())
    assert train == set(range(1, 21))
    assert query == gallery == set(range(21, 41))
    assert {(s.person, s.camera) for s in in_folder["query"]} == {
        (s.person, s.camera) for s in in_folder["bounding_box_test"]
    }
    assert len({s.path for s in shots}) == 480


def test_an_odd_number_of_people_gives_the_test_half_one_more():
    shots = market1501_shots(dataclasses.replace(CORPUS, identities=5))
    assert {s.person for s in shots if s.path.parts[0] == "bounding_box_train"} == {1, 2}


def test_names_follow_market_1501_and_agree_with_the_shot():
    for shot in market1501_shots(CORPUS):
        match = re.fullmatch(r"(\d{4})_c(\d)s1_\d{6}_00\.jpg", shot.path.name)
        assert match
        assert (int(match[1]), int(match[2])) == (shot.person, shot.camera)


def test_the_wild_has_three_times_as_many_people_with_four_images_each_in_shuffled_order():
    shots = wild_shots(dataclasses.replace(CORPUS, identities=100))
    assert sorted((s.person, s.image) for s in shots) == [(p, i) for p in range(300) for i in range(4)]
    assert [s.path for s in shots] == sorted(s.path for s in shots)
    neighbours = np.array([s.person for s in shots])
    assert (neighbours[1:] == neighbours[:-1]).mean() < 0.05
    assert {s.path.parts[0] for s in shots} == {"000", "001"}


def test_nobody_is_both_in_the_wild_and_in_the_benchmark(monkeypatch: pytest.MonkeyPatch):
    seen: dict[str, set[str]] = {"wild": set(), "benchmark": set()}
    for where, shots in (("wild", wild_shots(CORPUS)), ("benchmark", market1501_shots(CORPUS))):

        def note(person: Identity, *_: object, kind: str = where) -> bytes:
            seen[kind].add(repr(person))
            return b""

        monkeypatch.setattr("upreid.synthetic.version1.pictures.photograph", note)
        for shot in shots:
            take(CORPUS, shot)
    assert len(seen["wild"]) == 18
    assert len(seen["benchmark"]) == 6
    assert not seen["wild"] & seen["benchmark"]


def test_a_png_holds_the_pixels_of_the_jpeg():
    jpeg = market1501_shots(CORPUS)[0]
    png = dataclasses.replace(jpeg, path=jpeg.path.with_suffix(".png"))
    assert take(CORPUS, png).startswith(b"\x89PNG")
    np.testing.assert_array_equal(pixels(CORPUS, png), pixels(CORPUS, jpeg))


def test_a_picture_depends_on_its_numbers_and_on_nothing_taken_before():
    shots = market1501_shots(CORPUS)[:6]
    forward = [take(CORPUS, shot) for shot in shots]
    backward = [take(CORPUS, shot) for shot in reversed(shots)][::-1]
    assert forward == backward
    assert len(set(forward)) == 6


def test_another_seed_gives_other_pictures():
    shot = market1501_shots(CORPUS)[0]
    assert take(CORPUS, shot) != take(dataclasses.replace(CORPUS, seed=2), shot)


@pytest.mark.parametrize("size", [(128, 64), (64, 32), (48, 48), (256, 128)])
def test_pictures_have_the_size_asked_for(size: tuple[int, int]):
    corpus = dataclasses.replace(CORPUS, height=size[0], width=size[1])
    for shot in (market1501_shots(corpus)[0], wild_shots(corpus)[0]):
        assert pixels(corpus, shot).shape == (*size, 3)


def test_camera_strength_zero_leaves_every_colour_as_it_is():
    image = np.random.default_rng(0).random((8, 4, 3), dtype=np.float32)
    for number in range(5):
        off, on = (draw_camera(generator(1, "camera", number), strength).optics for strength in (0.0, 1.0))
        np.testing.assert_allclose(transfer_colours(image, off), image, atol=1e-6)
        assert np.abs(transfer_colours(image, on) - image).max() > 0.01


def test_stronger_cameras_change_colours_more():
    image = np.full((1, 1, 3), 0.5, np.float32)
    change = [
        np.mean(
            [
                np.abs(transfer_colours(image, draw_camera(generator(1, "c", n), s).optics) - image).mean()
                for n in range(20)
            ]
        )
        for s in (0.5, 1.0, 2.0)
    ]
    assert change[0] < 0.7 * change[1] < 0.5 * change[2]


def test_background_strength_zero_is_plain_grey_and_one_is_the_street_itself():
    street = draw_panorama(generator(1, "street"), 64, 64, elevation=0.2)
    np.testing.assert_array_equal(cut(street, 3, 32, 0.0), 0.5)
    np.testing.assert_allclose(cut(street, 3, 32, 1.0), street.pixels[:, 3:35] / 255, atol=1e-6)
    assert cut(street, 3, 32, 0.5).std() == pytest.approx(0.5 * cut(street, 3, 32, 1.0).std(), rel=1e-3)


@pytest.mark.slow
def test_occlusion_strength_decides_how_often_something_stands_in_front(monkeypatch: pytest.MonkeyPatch):
    count = 0

    def note(image, *_):
        nonlocal count
        count += 1
        return image

    monkeypatch.setattr("upreid.synthetic.version1.photograph.occlude", note)
    counts = []
    for strength in (0.0, 1.0, 3.0):
        count, corpus = 0, dataclasses.replace(CORPUS, height=32, width=16, occlusion_strength=strength)
        for shot in wild_shots(corpus):
            take(corpus, shot)
        counts.append(count)
    assert counts[0] == 0
    assert 5 <= counts[1] <= 25
    assert counts[2] > 1.8 * counts[1]


def test_the_box_is_imperfect_but_holds_most_of_the_person():
    corpus = CorpusSettings(version=1, height=128, width=64)
    shares, tops = [], []
    for number in range(60):
        rng = generator(1, "box", number)
        solids = stand(draw_identity(rng), draw_pose(rng), rng.uniform(0, 6), 0.2)
        window = frame(solids, corpus, rng)
        boxes = solids.boxes()
        tall = boxes[:, 3].max() - boxes[:, 2].min()
        shares.append(tall / (window.metres_per_row * 128))
        tops.append((window.top - boxes[:, 3].max()) / tall)
    assert 0.8 < np.mean(shares) < 1
    assert np.std(tops) > 0.01


def test_noise_and_pose_differ_between_two_pictures_of_one_person_and_camera():
    first, second = market1501_shots(CORPUS)[:2]
    assert (first.person, first.camera) == (second.person, second.camera)
    assert np.abs(pixels(CORPUS, first) - pixels(CORPUS, second)).mean() > 5


def test_photograph_takes_everything_from_its_arguments():
    person, camera = draw_identity(generator(1, "p")), draw_camera(generator(1, "c"), 1.0)
    street = draw_panorama(generator(1, "s"), 64, 64, camera.elevation)
    one, two = (photograph(person, camera, street, CORPUS, generator(1, "i")) for _ in range(2))
    assert one == two


def test_a_contact_sheet_shows_the_pictures_in_rows(tmp_path: Path):
    shots = market1501_shots(CORPUS)[:5]
    contact_sheet(tmp_path / "sheet.png", CORPUS, shots, columns=3)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (3 * (32 + GAP) - GAP, 2 * (64 + GAP) - GAP)
        last = sheet.crop((32 + GAP, 64 + GAP, 64 + GAP, 128 + GAP))
    np.testing.assert_array_equal(np.asarray(last), pixels(CORPUS, shots[4]))


BLOCKS = {
    (1, "benchmark"): [[106.2, 89.3], [114.4, 117.9], [101.0, 85.2], [127.7, 114.5]],
    (1, "wild"): [[112.4, 128.1], [121.4, 133.5], [68.0, 67.4], [99.3, 72.3]],
    (2, "benchmark"): [[92.4, 188.3], [156.2, 197.6], [106.7, 184.4], [93.4, 200.2]],
    (2, "wild"): [[137.4, 107.3], [120.7, 104.5], [50.8, 60.3], [70.0, 77.0]],
}
"""Mean brightness of 4 x 2 blocks of a picture, by version and part."""


@pytest.mark.parametrize(("version", "part"), BLOCKS)
def test_the_pictures_of_a_version_never_change(version: Literal[1, 2], part: str):
    corpus = dataclasses.replace(CORPUS, version=version)
    shot = wild_shots(corpus)[5] if part == "wild" else market1501_shots(corpus)[0]
    found = pixels(corpus, shot).reshape(4, 16, 2, 16, 3).mean(axis=(1, 3, 4))
    np.testing.assert_allclose(found, BLOCKS[version, part], atol=0.5)  # JPEG libraries round differently
