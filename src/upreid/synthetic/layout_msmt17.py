"""MSMT17 (Wei et al., CVPR 2018): folders per person with four lists, and the renamed form that ECN reads.

    MSMT17_V2/mask_train_v2/0000/0000_000_01_0303morning_0008_0.jpg    person, image, camera, time, frame, box
    MSMT17_V2/list_{train,val,query,gallery}.txt                       lines of `0000/0000_000_...jpg 0`

Training and test people are both numbered from 0. Every training person gives one image to the validation list.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from upreid.synthetic.corpus import Shot
from upreid.synthetic.settings import CorpusSettings

CAMERAS = (1, 4, 7, 10, 12, 15)
"""The numbers of the six cameras, of MSMT17's fifteen."""
TIMES = ("0113noon", "0303morning")
"""One per image of a camera."""
LISTS = {part: f"list_{part}.txt" for part in ("train", "val", "query", "gallery")}


@dataclass(frozen=True)
class Version:
    """Folder names of a version; faces are masked in V2 (not in what is rendered here)."""

    folder: str
    train: str
    test: str


V1 = Version("MSMT17_V1", "train", "test")
V2 = Version("MSMT17_V2", "mask_train_v2", "mask_test_v2")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One picture: the part it belongs to, the number its person goes by, and what was taken."""

    part: str
    label: int
    place: int
    """Which picture of its person it is."""
    person: int
    camera: int
    image: int

    @property
    def path(self) -> PurePosixPath:
        """Its line in a list."""
        frame, number = 20 * self.place + 8, CAMERAS[self.camera - 1]
        name = f"{self.label:04d}_{self.place:03d}_{number:02d}_{TIMES[self.image]}_{frame:04d}_0.jpg"
        return PurePosixPath(f"{self.label:04d}", name)

    def shot(self, path: PurePosixPath) -> Shot:
        """Take it, and put it there."""
        return Shot(path=path, person=self.person, camera=self.camera, image=self.image)


def entries(corpus: CorpusSettings) -> Iterator[Entry]:
    """Every picture: 6 cameras x 2 images of each person."""
    num_train = corpus.identities // 2
    for person in range(1, corpus.identities + 1):
        is_train = person <= num_train
        label = person - 1 if is_train else person - 1 - num_train
        for place in range(len(CAMERAS) * len(TIMES)):
            camera, image = place // len(TIMES) + 1, place % len(TIMES)
            seen = "val" if place == len(CAMERAS) * len(TIMES) - 1 else "train"
            part = seen if is_train else ("query", "gallery")[image]
            yield Entry(part=part, label=label, place=place, person=person, camera=camera, image=image)


def official_shots(corpus: CorpusSettings, version: Version) -> list[Shot]:
    """The pictures in the folders of a version."""
    folders = {"train": version.train, "val": version.train, "query": version.test, "gallery": version.test}
    return [entry.shot(PurePosixPath(version.folder, folders[entry.part]) / entry.path) for entry in entries(corpus)]


def write_lists(folder: Path, corpus: CorpusSettings, version: Version) -> None:
    """The four lists beside them."""
    lines: dict[str, list[str]] = {part: [] for part in LISTS}
    for entry in entries(corpus):
        lines[entry.part].append(f"{entry.path} {entry.label}\n")
    for part, name in LISTS.items():
        (folder / version.folder / name).write_text("".join(lines[part]))


def renamed_shots(corpus: CorpusSettings) -> list[Shot]:
    """Market-style folders, training and validation images together: `0000_c12_0036.jpg` = person, camera, number."""
    folders = {"train": "bounding_box_train", "val": "bounding_box_train", "query": "query"}
    shots = []
    for entry in entries(corpus):
        name = f"{entry.label:04d}_c{CAMERAS[entry.camera - 1]}_{entry.place:04d}.jpg"
        shots.append(entry.shot(PurePosixPath(folders.get(entry.part, "bounding_box_test"), name)))
    return shots
