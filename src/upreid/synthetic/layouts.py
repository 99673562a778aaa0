"""How people are laid out on disk: folders, names and lists as the authors of each real set have them.

A layout is a list of shots, and where it needs one a finishing step that writes lists or packs the pictures away. In all
labelled ones the first half of the N people (rounded down) trains and the rest tests, and there are no distractors.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from upreid.synthetic import layout_cuhk03 as cuhk03
from upreid.synthetic import layout_luperson as luperson
from upreid.synthetic import layout_msmt17 as msmt17
from upreid.synthetic.corpus import CAMERAS, Shot
from upreid.synthetic.settings import CorpusSettings

IMAGES_PER_CAMERA = 2
FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
PERSONX_CAMERAS = (3, 4, 8, 10, 11, 12)
"""The numbers that the six cameras have in the subset of PersonX that SpCL uses."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is written below `OUT/<name of the layout>`."""

    shots: Callable[[CorpusSettings], list[Shot]]
    finish: Callable[[Path, CorpusSettings], None] | None = None
    """Called with the layout's folder once the pictures are there."""
    writes: tuple[str, ...] = ()
    """Files that the finishing step leaves."""
    packs: bool = False
    """Does the finishing step put the pictures into those files?"""
    needs: str | None = None
    """A package that the finishing step needs, which is an extra of the same name."""

    def files(self, corpus: CorpusSettings) -> set[str]:
        """Every file that the finished layout has, relative to its folder."""
        pictures = () if self.packs else (str(shot.path) for shot in self.shots(corpus))
        return {*pictures, *self.writes}


def market1501_shots(corpus: CorpusSettings) -> list[Shot]:
    """6 cameras x 2 images; of a test person's two images per camera one is the query and one stands in the gallery.

    Names as Market-1501 has them: person, camera, frame, box.
    """
    shots = []
    for person in range(1, corpus.identities + 1):
        is_train = person <= corpus.identities // 2
        for camera in range(1, CAMERAS + 1):
            for image in range(IMAGES_PER_CAMERA):
                folder = "bounding_box_train" if is_train else ("query", "bounding_box_test")[image]
                frame = (person - 1) * IMAGES_PER_CAMERA + image + 1
                name = f"{person:04d}_c{camera}s1_{frame:06d}_00.jpg"
                shots.append(Shot(path=PurePosixPath(folder, name), person=person, camera=camera, image=image))
    return shots


def personx_shots(corpus: CorpusSettings) -> list[Shot]:
    """As Market-1501's, with the subset's camera numbers; `0001_c10s1_02.jpg` = person, camera, viewpoint."""
    shots = []
    for person in range(1, corpus.identities + 1):
        is_train = person <= corpus.identities // 2
        for camera, number in enumerate(PERSONX_CAMERAS, start=1):
            for image in range(IMAGES_PER_CAMERA):
                folder = "bounding_box_train" if is_train else ("query", "bounding_box_test")[image]
                path = PurePosixPath("PersonX", folder, f"{person:04d}_c{number}s1_{image + 1:02d}.jpg")
                shots.append(Shot(path=path, person=person, camera=camera, image=image))
    return shots


def personx_original_shots(corpus: CorpusSettings) -> list[Shot]:
    """One folder per background, and a background is a camera; the gallery holds every view, the query's too."""
    shots = []
    for person in range(1, corpus.identities + 1):
        is_train = person <= corpus.identities // 2
        for camera in range(1, CAMERAS + 1):
            for image in range(IMAGES_PER_CAMERA):
                queries = ("query",) if image == 0 else ()
                for folder in ("bounding_box_train",) if is_train else (*queries, "bounding_box_test"):
                    name = f"{person:04d}_c{camera}s1_{image + 1:02d}.jpg"
                    path = PurePosixPath("PersonX_v1", str(camera), folder, name)
                    shots.append(Shot(path=path, person=person, camera=camera, image=image))
    return shots


def write_personx_readme(folder: Path, corpus: CorpusSettings) -> None:
    """The release has a readme beside its folders, which no reader should take for a background."""
    text = f"{corpus.identities} rendered people in the layout of PersonX_v1; one folder per background.\n"
    (folder / "PersonX_v1" / "readme.txt").write_text(text)


def _msmt17(version: msmt17.Version) -> Layout:
    return Layout(
        shots=partial(msmt17.official_shots, version=version),
        finish=partial(msmt17.write_lists, version=version),
        writes=tuple(f"{version.folder}/{name}" for name in msmt17.LISTS.values()),
    )


def _cuhk03_raw(*, as_released: bool) -> Layout:
    return Layout(
        shots=cuhk03.raw_shots,
        finish=partial(cuhk03.write_release, as_released=as_released),
        writes=cuhk03.RELEASE,
        packs=True,
    )


LABELLED = {
    "market1501": Layout(shots=market1501_shots),
    "cuhk03-np-labeled": Layout(shots=partial(cuhk03.np_shots, kind="labeled")),
    "cuhk03-np-detected": Layout(shots=partial(cuhk03.np_shots, kind="detected")),
    "cuhk03-raw": _cuhk03_raw(as_released=True),
    "cuhk03-raw-v5": _cuhk03_raw(as_released=False),
    "msmt17-v1": _msmt17(msmt17.V1),
    "msmt17-v2": _msmt17(msmt17.V2),
    "msmt17-ecn": Layout(shots=msmt17.renamed_shots),
    "personx": Layout(shots=personx_shots),
    "personx-original": Layout(
        shots=personx_original_shots, finish=write_personx_readme, writes=("PersonX_v1/readme.txt",)
    ),
}
"""Benchmarks, by name."""

UNLABELLED = {
    "luperson-folder": Layout(shots=luperson.shots),
    "luperson-lmdb": Layout(
        shots=luperson.shots, finish=luperson.write_lmdb, writes=luperson.FILES, packs=True, needs="lmdb"
    ),
}
"""What pre-training reads, by name."""

LAYOUTS = LABELLED | UNLABELLED
"""By name, as `upreid synth --layout` takes it."""
