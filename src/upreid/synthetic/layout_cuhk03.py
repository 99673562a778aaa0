"""CUHK03 (Li et al., CVPR 2014) with the 767/700 protocol of Zhong et al. (CVPR 2017): PNG folders, and the raw release.

    cuhk03-np/labeled/{bounding_box_train,query,bounding_box_test}/0001_c1_1.png      person, camera, number
    cuhk03_release/cuhk-03.mat                                      every image in a cell of its own
    cuhk03_new_protocol_config_{labeled,detected}.mat               which of them train, are searched for, are searched

Two cameras take five images each of a person, some fewer: a labelled box is missing here and there, and a detector
misses a few people more. Of a test person's images the first of each camera is a query, the others are the gallery.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from upreid.synthetic.matlab import Cells, write_v5, write_v73
from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.shot import Shot

VIEWS, IMAGES_PER_VIEW = 2, 5
PAIRS = 5
"""Pairs of cameras in the raw release; each person walks past one pair."""
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
KINDS = ("labeled", "detected")
IMAGES = "cuhk03_release/cuhk-03.mat"
CONFIGS = {kind: f"cuhk03_new_protocol_config_{kind}.mat" for kind in KINDS}
RELEASE = (IMAGES, *CONFIGS.values())
NUM_TESTSETS = 20


@dataclass(frozen=True, kw_only=True)
class Cuhk03Picture:
    """One picture of a person, in one of ten places: five per view."""

    part: str
    person: int
    view: int
    place: int
    """1 to 10."""

    @property
    def pair(self) -> int:
        """Number of the pair of cameras that saw the person."""
        return (self.person - 1) % PAIRS + 1

    @property
    def row(self) -> int:
        """Number of the person within that pair."""
        return (self.person - 1) // PAIRS + 1

    @property
    def name(self) -> str:
        """Name that readers of the raw release give the picture: pair, person, view, image."""
        return f"{self.pair}_{self.row:03d}_{self.view}_{self.place:02d}.png"

    def shot(self, path: PurePosixPath) -> Shot:
        """Return the shot that takes this picture and stores it at `path`."""
        return Shot(path=path, person=self.person, camera=self.view, image=(self.place - 1) % IMAGES_PER_VIEW)


def entries(corpus: CorpusSettings, kind: str) -> Iterator[Cuhk03Picture]:
    """List every picture that has a box of this kind."""
    for person in range(1, corpus.identities + 1):
        for place in range(1, VIEWS * IMAGES_PER_VIEW + 1):
            view, image = divmod(place - 1, IMAGES_PER_VIEW)
            not_labeled = person % 4 == 0 and place == 2 * IMAGES_PER_VIEW
            not_detected = person % 3 == 0 and place == IMAGES_PER_VIEW
            if not_labeled or (not_detected and kind == "detected"):
                continue
            test = "gallery" if image else "query"
            part = "train" if person <= corpus.identities // 2 else test
            yield Cuhk03Picture(part=part, person=person, view=view + 1, place=place)


def np_shots(corpus: CorpusSettings, kind: str) -> list[Shot]:
    """Name PNG files in Market-style folders; numbers run through the whole set."""
    shots = []
    for entry in entries(corpus, kind):
        number = VIEWS * IMAGES_PER_VIEW * (entry.person - 1) + entry.place
        name = f"{entry.person:04d}_c{entry.view}_{number}.png"
        shots.append(entry.shot(PurePosixPath("cuhk03-np", kind, FOLDERS[entry.part], name)))
    return shots


def raw_shots(corpus: CorpusSettings) -> list[Shot]:
    """List the pictures to pack; detected boxes are some of the labelled ones."""
    return [entry.shot(PurePosixPath(entry.name)) for entry in entries(corpus, "labeled")]


def write_release(folder: Path, corpus: CorpusSettings, *, as_released: bool) -> None:
    """Pack the pictures of `folder` into the files of the release, and remove them.

    As released: `cuhk-03.mat` in MATLAB's version 7.3 (HDF5), the configs in version 5; else the other way round.
    """
    write_images, write_config = (write_v73, write_v5) if as_released else (write_v5, write_v73)
    tests = sorted({(entry.pair, entry.row) for entry in entries(corpus, "labeled") if entry.part != "train"})
    testset = np.array(tests, dtype=float)
    content: dict[str, Any] = {kind: cells(folder, corpus, kind) for kind in ("detected", "labeled")}
    content["testsets"] = Cells([[testset] for _ in range(NUM_TESTSETS)])
    (folder / IMAGES).parent.mkdir(parents=True, exist_ok=True)
    write_images(folder / IMAGES, content)
    for kind, name in CONFIGS.items():
        write_config(folder / name, protocol(list(entries(corpus, kind))))
    for shot in raw_shots(corpus):
        (folder / shot.path).unlink()


def cells(folder: Path, corpus: CorpusSettings, kind: str) -> Cells:
    """Return 5 x 1 cells, one per pair, of people x 10 cells, one per image; a missing image is an empty cell."""
    pairs: list[list[list[Path | None]]] = [[] for _ in range(PAIRS)]
    for person in range(1, corpus.identities + 1):
        pairs[(person - 1) % PAIRS].append([None] * (VIEWS * IMAGES_PER_VIEW))
    for entry in entries(corpus, kind):
        pairs[entry.pair - 1][entry.row - 1][entry.place - 1] = folder / entry.name
    return Cells([[Cells(rows, columns=VIEWS * IMAGES_PER_VIEW)] for rows in pairs])


def protocol(boxes: list[Cuhk03Picture]) -> dict[str, Any]:
    """Return the variables of a config: names and labels of all images, and three lists of their numbers, from 1."""

    def column(numbers: list[int]) -> np.ndarray:
        return np.array(numbers, dtype=float)[:, None]

    places = {
        f"{part}_idx": column([number for number, entry in enumerate(boxes, start=1) if entry.part == part])
        for part in ("train", "query", "gallery")
    }
    labels, views = column([entry.person for entry in boxes]), column([entry.view for entry in boxes])
    return {"filelist": Cells([[entry.name] for entry in boxes]), "labels": labels, "camId": views, **places}
