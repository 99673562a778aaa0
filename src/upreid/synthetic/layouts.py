"""How people are laid out on disk: folders, names and lists as the authors of each real set have them.

A layout is a list of shots, and where it needs one a finishing step that writes lists or packs the pictures away. In all
labelled ones the first half of the people (rounded down) trains and the rest tests, and there are no distractors.
CUHK03, whose raw release is MATLAB files, has a module of its own.
"""

import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from upreid.synthetic import layout_cuhk03 as cuhk03
from upreid.synthetic.corpus import wild_shots
from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.shot import CAMERAS, Shot

IMAGES_PER_CAMERA = 2
TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
PERSONX_CAMERAS = (3, 4, 8, 10, 11, 12)
"""Numbers of the six cameras in the subset of PersonX that SpCL uses."""
MSMT17_FOLDERS = {"MSMT17_V1": ("train", "test"), "MSMT17_V2": ("mask_train_v2", "mask_test_v2")}
"""Training and test folder of each version; V2 masks faces (rendered pictures are the same in both)."""
MSMT17_CAMERAS = (1, 4, 7, 10, 12, 15)
"""Numbers of the six cameras, of MSMT17's fifteen."""
MSMT17_TIMES = ("0113noon", "0303morning")
"""Recording time of each of the two images per camera."""
MSMT17_LISTS = {part: f"list_{part}.txt" for part in ("train", "val", "query", "gallery")}
LUPERSON_CITIES = ("CN_BJ", "CN_SH", "JP_TK", "UK_LN", "US_LA", "US_NY")
LUPERSON_IMAGES_PER_VIDEO = 8
LMDB_GROWTH = 2**30
"""Bytes that the lmdb may take beyond its pictures; what is not used is never written."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is written below `OUT/<name of the layout>`."""

    shots: Callable[[CorpusSettings], list[Shot]]
    finish: Callable[[Path, CorpusSettings], None] | None = None
    """Called with the layout's folder once the pictures are there."""
    writes: tuple[str, ...] = ()
    """Files that the finishing step leaves."""
    packs: bool = False
    """Whether the finishing step packs the pictures into those files."""
    needs: tuple[str, str] | None = None
    """A package that the finishing step needs, and the extra that brings it."""

    def files(self, corpus: CorpusSettings) -> set[str]:
        """List every file of the finished layout, relative to its folder."""
        pictures = () if self.packs else (str(shot.path) for shot in self.shots(corpus))
        return {*pictures, *self.writes}


def benchmark_pictures(corpus: CorpusSettings) -> Iterator[tuple[int, int, int, str]]:
    """List person, camera, image and Market-1501's folder: 6 cameras x 2 images of each person.

    Of a test person's two images per camera the first is the query, the second stands in the gallery.
    """
    for person in range(1, corpus.identities + 1):
        is_train = person <= corpus.identities // 2
        for camera in range(1, CAMERAS + 1):
            for image in range(IMAGES_PER_CAMERA):
                yield person, camera, image, TRAIN if is_train else (QUERY, GALLERY)[image]


def market1501_shots(corpus: CorpusSettings) -> list[Shot]:
    """Name pictures as Market-1501 does: person, camera, frame, box."""
    shots = []
    for person, camera, image, folder in benchmark_pictures(corpus):
        frame = (person - 1) * IMAGES_PER_CAMERA + image + 1
        path = PurePosixPath(folder, f"{person:04d}_c{camera}s1_{frame:06d}_00.jpg")
        shots.append(Shot(path=path, person=person, camera=camera, image=image))
    return shots


def personx_shots(corpus: CorpusSettings) -> list[Shot]:
    """Name pictures as SpCL's subset of PersonX does: `0001_c10s1_02.jpg` = person, camera, viewpoint."""
    shots = []
    for person, camera, image, folder in benchmark_pictures(corpus):
        name = f"{person:04d}_c{PERSONX_CAMERAS[camera - 1]}s1_{image + 1:02d}.jpg"
        path = PurePosixPath("PersonX", folder, name)
        shots.append(Shot(path=path, person=person, camera=camera, image=image))
    return shots


def personx_original_shots(corpus: CorpusSettings) -> list[Shot]:
    """Give each background, which is a camera, a folder; the gallery holds every view, the query's too."""
    shots = []
    for person, camera, image, part in benchmark_pictures(corpus):
        for folder in (QUERY, GALLERY) if part == QUERY else (part,):
            name = f"{person:04d}_c{camera}s1_{image + 1:02d}.jpg"
            path = PurePosixPath("PersonX_v1", str(camera), folder, name)
            shots.append(Shot(path=path, person=person, camera=camera, image=image))
    return shots


def write_personx_readme(folder: Path, corpus: CorpusSettings) -> None:
    """Write the readme that the release has beside its folders, which no reader should take for a background."""
    text = f"{corpus.identities} rendered people in the layout of PersonX_v1; one folder per background.\n"
    (folder / "PersonX_v1" / "readme.txt").write_text(text)


def msmt17_pictures(corpus: CorpusSettings) -> Iterator[tuple[str, int, Shot]]:
    """List the part, the label, and the shot with its path as the lists have it.

    `0000/0000_000_01_0303morning_0008_0.jpg`: person, image, camera, time, frame, box. Training and test people are
    both numbered from 0. Every training person gives its last image to the validation list.
    """
    num_train, last = corpus.identities // 2, CAMERAS * IMAGES_PER_CAMERA - 1
    for person, camera, image, folder in benchmark_pictures(corpus):
        label = person - 1 if folder == TRAIN else person - 1 - num_train
        number = (camera - 1) * IMAGES_PER_CAMERA + image
        part = {TRAIN: "val" if number == last else "train", QUERY: "query", GALLERY: "gallery"}[folder]
        name = f"{label:04d}_{number:03d}_{MSMT17_CAMERAS[camera - 1]:02d}_{MSMT17_TIMES[image]}_{20 * number + 8:04d}_0.jpg"
        path = PurePosixPath(f"{label:04d}", name)
        yield part, label, Shot(path=path, person=person, camera=camera, image=image)


def msmt17_shots(corpus: CorpusSettings, version: str) -> list[Shot]:
    """Put the pictures into the folders of a version, training and validation images into one."""
    train, test = MSMT17_FOLDERS[version]
    return [
        replace(shot, path=PurePosixPath(version, train if part in ("train", "val") else test) / shot.path)
        for part, _, shot in msmt17_pictures(corpus)
    ]


def write_msmt17_lists(folder: Path, corpus: CorpusSettings, version: str) -> None:
    """Write the four lists beside the folders, in lines of `0000/0000_000_...jpg 0`."""
    lines: dict[str, list[str]] = {part: [] for part in MSMT17_LISTS}
    for part, label, shot in msmt17_pictures(corpus):
        lines[part].append(f"{shot.path} {label}\n")
    for part, name in MSMT17_LISTS.items():
        (folder / version / name).write_text("".join(lines[part]))


def msmt17_renamed_shots(corpus: CorpusSettings) -> list[Shot]:
    """Name pictures as ECN reads them, in Market-style folders: `0000_c12_0036.jpg` = person, camera, number."""
    folders = {"train": TRAIN, "val": TRAIN, "query": QUERY, "gallery": GALLERY}
    shots = []
    for part, _, shot in msmt17_pictures(corpus):
        label, number, camera = shot.path.name.split("_")[:3]
        path = PurePosixPath(folders[part], f"{label}_c{int(camera)}_{int(number):04d}.jpg")
        shots.append(replace(shot, path=path))
    return shots


def luperson_shots(corpus: CorpusSettings) -> list[Shot]:
    """Lay the pictures of `wild/` out in videos, as LUPerson's scripts do; every third city has no folders for them.

    Version 1, which has no videos, puts every eight pictures into one.

    country/city/video/image.jpg, or country/city/video_image.jpg
    """
    shots = []
    images: Counter[int] = Counter()
    for place, shot in enumerate(wild_shots(corpus)):
        video = place // LUPERSON_IMAGES_PER_VIDEO if shot.camera is None else shot.camera
        image = images[video]
        images[video] += 1
        number = video % len(LUPERSON_CITIES)
        country, city = LUPERSON_CITIES[number].split("_")
        name = f"{video:04d}_{image:08d}.jpg" if number % 3 == 2 else f"{video:04d}/{image:08d}.jpg"
        shots.append(replace(shot, path=PurePosixPath(country, city, name)))
    return shots


def write_lmdb(folder: Path, corpus: CorpusSettings) -> None:
    """Move the pictures into an lmdb, in the order of their keys `CC_YY_VVVV_FFFFFFFF`, with a list of the keys."""
    import lmdb

    shots = luperson_shots(corpus)
    pictures = {"_".join(shot.path.with_suffix("").parts): folder / shot.path for shot in shots}
    size = sum(path.stat().st_size for path in pictures.values())
    environment = lmdb.open(str(folder / "lmdb"), map_size=2 * size + LMDB_GROWTH, lock=False)
    with environment, environment.begin(write=True) as transaction:
        for key in sorted(pictures):
            transaction.put(key.encode(), pictures[key].read_bytes())
    (folder / "keys.pkl").write_bytes(pickle.dumps(sorted(pictures), protocol=4))
    for country in {shot.path.parts[0] for shot in shots}:
        shutil.rmtree(folder / country)


def _msmt17(version: str) -> Layout:
    return Layout(
        shots=partial(msmt17_shots, version=version),
        finish=partial(write_msmt17_lists, version=version),
        writes=tuple(f"{version}/{name}" for name in MSMT17_LISTS.values()),
    )


def _cuhk03_raw(*, as_released: bool) -> Layout:
    return Layout(
        shots=cuhk03.raw_shots,
        finish=partial(cuhk03.write_release, as_released=as_released),
        writes=cuhk03.RELEASE,
        packs=True,
        needs=("h5py", "cuhk03"),
    )


LABELLED = {
    "market1501": Layout(shots=market1501_shots),
    "cuhk03-np-labeled": Layout(shots=partial(cuhk03.np_shots, kind="labeled")),
    "cuhk03-np-detected": Layout(shots=partial(cuhk03.np_shots, kind="detected")),
    "cuhk03-raw": _cuhk03_raw(as_released=True),
    "cuhk03-raw-v5": _cuhk03_raw(as_released=False),
    "msmt17-v1": _msmt17("MSMT17_V1"),
    "msmt17-v2": _msmt17("MSMT17_V2"),
    "msmt17-ecn": Layout(shots=msmt17_renamed_shots),
    "personx": Layout(shots=personx_shots),
    "personx-original": Layout(
        shots=personx_original_shots, finish=write_personx_readme, writes=("PersonX_v1/readme.txt",)
    ),
}
"""Benchmarks, by name."""

UNLABELLED = {
    "luperson-folder": Layout(shots=luperson_shots),
    "luperson-lmdb": Layout(
        shots=luperson_shots,
        finish=write_lmdb,
        writes=("lmdb/data.mdb", "keys.pkl"),
        packs=True,
        needs=("lmdb", "lmdb"),
    ),
}
"""What pre-training reads, by name."""

LAYOUTS = LABELLED | UNLABELLED
"""Every layout, by the name that `upreid synth --layout` takes."""
