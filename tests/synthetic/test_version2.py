"""Version 2 of the renderer: crops of videos, their tracklets, and cameras that change a person's own colours."""

import dataclasses
import io
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from upreid.cli import main
from upreid.commands.synth import synthesise
from upreid.data.sources.recognise import open_source
from upreid.data.tracklet_lists import read_tracklets
from upreid.synthetic.corpus import take, wild_shots
from upreid.synthetic.figure import stand
from upreid.synthetic.identity import Identity, draw_identity
from upreid.synthetic.layouts import LAYOUTS
from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.shot import Shot, generator
from upreid.synthetic.skeleton import draw_pose
from upreid.synthetic.version2.camera import draw_video_camera, tone
from upreid.synthetic.version2.photograph import detect
from upreid.synthetic.version2.pictures import camera_of, spread
from upreid.synthetic.version2.scene import cut_view

CORPUS = CorpusSettings(version=2, identities=6, seed=1, height=64, width=32, wild=60)
MANY = dataclasses.replace(CORPUS, wild=20_000)


def pixels(corpus: CorpusSettings, shot: Shot) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(take(corpus, shot)))).astype(int)


def benchmark(corpus: CorpusSettings = CORPUS) -> list[Shot]:
    return LAYOUTS["market1501"].shots(corpus)


@pytest.mark.parametrize("wild", [1, 7, 60, 1234, 20_000])
def test_the_wild_has_as_many_crops_as_asked_for(wild: int) -> None:
    shots = wild_shots(dataclasses.replace(CORPUS, wild=wild))
    assert len({shot.path for shot in shots}) == len(shots) == wild


def test_videos_show_many_people_with_several_frames_each_in_the_order_of_time() -> None:
    shots = wild_shots(MANY)
    assert [shot.path for shot in shots] == sorted(shot.path for shot in shots)
    people = defaultdict(set)
    for shot in shots:
        people[shot.camera].add(shot.person)
    assert len(people) >= 40
    assert all(len(those) > 50 for those in people.values())
    frames = Counter((shot.camera, shot.person) for shot in shots)
    assert 2.5 < np.mean(list(frames.values())) < 6


@pytest.mark.slow
def test_most_tracklets_are_one_person_and_some_have_the_faults_of_a_tracker() -> None:
    shots = wild_shots(MANY)
    held, true = defaultdict(list), defaultdict(list)
    for shot in shots:
        true[shot.camera, shot.person].append(shot)
        if shot.tracklet:
            held[shot.tracklet].append(shot)
    assert all(len({shot.camera for shot in those}) == 1 for those in held.values())
    assert min(map(len, held.values())) == 2
    switched = np.mean([len({shot.person for shot in those}) > 1 for those in held.values()])
    cut = np.mean([len({shot.tracklet for shot in those} - {""}) > 1 for those in true.values()])
    assert 0.02 < switched < 0.2
    assert 0.02 < cut < 0.2
    assert 0.005 < np.mean([shot.slipped for shot in shots]) < 0.05
    assert 0.75 < np.mean([shot.tracklet != "" for shot in shots]) < 0.9
    pairs = [(one.person, two.person) for those in held.values() for one, two in combinations(those, 2)]
    assert 0.9 < np.mean([one == two for one, two in pairs]) < 0.99


@pytest.mark.slow
def test_the_list_beside_the_wild_is_what_tracklets_are_read_from(tmp_path: Path) -> None:
    corpus = dataclasses.replace(CORPUS, height=32, width=16, identities=4)
    synthesise(tmp_path, corpus, workers=1)
    source = open_source(tmp_path / "wild")
    known = read_tracklets(Path("own"), source)
    shots = {str(shot.path): shot for shot in wild_shots(corpus)}
    assert {source.name(index) for index in range(len(source))} == set(shots)
    for one, two in combinations(range(len(source)), 2):
        first, second = (shots[source.name(index)].tracklet for index in (one, two))
        assert (known.numbers[one] == known.numbers[two]) == (first == second != "")


def test_nobody_is_in_two_videos_or_in_a_video_and_in_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def note(rng: np.random.Generator, *_: object) -> Identity:
        person = draw_identity(rng)
        seen.append(repr(person))
        raise InterruptedError

    monkeypatch.setattr("upreid.synthetic.version2.pictures.draw_identity", note)
    shots = [*wild_shots(CORPUS), *benchmark()]
    for shot in shots:
        with pytest.raises(InterruptedError):
            take(CORPUS, shot)
    people = defaultdict(set)
    for shot, person in zip(shots, seen, strict=True):
        people[person].add((shot.camera, shot.person) if shot.is_wild else shot.person)
    assert all(len(those) == 1 for those in people.values())
    assert len(people) == len({(shot.camera, shot.person) for shot in wild_shots(CORPUS)}) + CORPUS.identities


def test_a_picture_depends_on_its_numbers_and_on_nothing_taken_before() -> None:
    shots = [*benchmark()[:4], *wild_shots(CORPUS)[::15]]
    forward = [take(CORPUS, shot) for shot in shots]
    camera_of.cache_clear()
    assert forward == [take(CORPUS, shot) for shot in reversed(shots)][::-1]
    assert len(set(forward)) == len(shots)


@pytest.mark.parametrize("size", [(128, 64), (48, 48), (256, 128)])
def test_pictures_have_the_size_asked_for(size: tuple[int, int]) -> None:
    corpus = dataclasses.replace(CORPUS, height=size[0], width=size[1])
    for shot in (benchmark(corpus)[0], wild_shots(corpus)[0]):
        assert pixels(corpus, shot).shape == (*size, 3)


def test_crops_of_a_video_have_backgrounds_more_alike_than_those_of_two_videos() -> None:
    corpus = dataclasses.replace(CORPUS, wild=96)
    shots = wild_shots(corpus)
    edges = np.stack([np.median(pixels(corpus, shot)[:, [0, 1, -2, -1]], axis=(0, 1)) for shot in shots])
    videos = np.array([shot.camera for shot in shots])
    apart = np.abs(edges[:, None] - edges[None]).mean(axis=-1)
    same = (videos[:, None] == videos[None]) & ~np.eye(len(videos), dtype=bool)
    assert apart[same].mean() < 0.9 * apart[videos[:, None] != videos[None]].mean()


def test_camera_strength_zero_gives_all_cameras_the_same_colours() -> None:
    image = np.random.default_rng(0).random((8, 4, 3), dtype=np.float32)

    def seen(strength: float) -> list[np.ndarray]:
        cameras = [draw_video_camera(generator(1, "camera", n), lambda _, n=n: n - 1.5, strength) for n in range(4)]
        return [tone(image, camera.response) for camera in cameras]

    for other in seen(0.0)[1:]:
        np.testing.assert_allclose(other, seen(0.0)[0], atol=1e-6)
    assert min(np.abs(other - seen(1.0)[0]).mean() for other in seen(1.0)[1:]) > 0.01


def test_six_cameras_in_a_row_have_a_sixth_of_the_distribution_each() -> None:
    drawn = np.array([[spread(seed, "benchmark", n, "blue") for n in range(6)] for seed in range(200)])
    edges = [-0.967, -0.431, 0.0, 0.431, 0.967]
    assert (np.sort(np.digitize(drawn, edges), axis=1) == np.arange(6)).all()
    assert drawn.std() == pytest.approx(1, abs=0.1)


def test_background_strength_zero_is_plain_grey() -> None:
    _, view = camera_of(CORPUS, "benchmark", 0)
    np.testing.assert_array_equal(cut_view(view, (3.0, 4.0, 30.0, 60.0), (32, 64), 0.0), 0.5)
    assert cut_view(view, (3.0, 4.0, 30.0, 60.0), (32, 64), 1.0).std() > 0.02


@pytest.mark.slow
def test_occlusion_strength_decides_how_often_somebody_else_is_in_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[object] = []

    def note(image: np.ndarray, *_: object, **__: object) -> np.ndarray:
        others.append(image)
        return image

    for name in ("_occlude", "_accompany"):
        monkeypatch.setattr(f"upreid.synthetic.version2.photograph.{name}", note)
    counts = []
    for strength in (0.0, 1.0, 3.0):
        others.clear()
        corpus = dataclasses.replace(CORPUS, height=32, width=16, occlusion_strength=strength)
        for shot in [*wild_shots(corpus), *benchmark(corpus)]:
            take(corpus, shot)
        counts.append(len(others))
    assert counts[0] == 0
    assert 12 <= counts[1] <= 50
    assert counts[2] > 1.8 * counts[1]


def test_a_box_holds_most_of_the_person_and_one_that_slipped_a_part_only() -> None:
    def held(number: int, *, slip: bool) -> float:
        rng = generator(1, "box", number)
        solids = stand(draw_identity(rng), draw_pose(rng), rng.uniform(0, 6), 0.2)
        window = detect(solids, CORPUS, rng, slip=slip)
        boxes = solids.boxes()
        middle = (boxes[:, 0].min() + boxes[:, 1].max()) / 2
        offset = window.left + window.metres_per_column * CORPUS.width / 2 - middle
        return abs(offset) / (window.metres_per_column * CORPUS.width)

    assert max(held(number, slip=False) for number in range(60)) < 0.2
    assert min(held(number, slip=True) for number in range(60)) > 0.1


def test_two_frames_of_a_passage_differ_but_show_one_person() -> None:
    shots = [shot for shot in wild_shots(CORPUS) if not shot.slipped]
    one, two = next((a, b) for a, b in combinations(shots, 2) if a.who == b.who)
    assert 3 < np.abs(pixels(CORPUS, one) - pixels(CORPUS, two)).mean() < 80


def test_the_number_of_crops_belongs_to_version_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", str(tmp_path / "out"), "--version", "1", "--wild", "20"]) == 2
    said = capsys.readouterr().err
    assert "--wild needs --version 2" in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
