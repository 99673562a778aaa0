"""Which pictures a corpus holds, and how each is made from its numbers alone.

`wild/`: 3 N people x 4 images, each with a camera and a street of its own (plays LUPerson). A benchmark shows N other
people to 6 fixed cameras, or to the first two of them; `layouts.py` says how many images each takes and where they go.
"""

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.random import Generator
from PIL import Image

from upreid.synthetic.camera import Camera, draw_camera
from upreid.synthetic.identity import draw_identity
from upreid.synthetic.photograph import photograph
from upreid.synthetic.scene import Panorama, draw_panorama
from upreid.synthetic.settings import CorpusSettings

CAMERAS = 6
WILD_PER_IDENTITY, WILD_IMAGES = 3, 4
FILES_PER_FOLDER = 1000
PLACES, PLACE_WIDTHS = 32, 2
"""Number of places in which people pass a fixed camera, and the width of each in pictures."""


GAP = 2
"""Pixels between the pictures of a contact sheet."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture to take; `camera` is None in the wild, where each picture has its own."""

    path: PurePosixPath
    person: int
    camera: int | None
    image: int


def generator(seed: int, role: str, *numbers: int) -> Generator:
    """Return the generator of one person, camera or image.

    The stream depends on (seed, role, numbers) alone, so any worker may draw it, at any time.
    """
    return np.random.default_rng([seed, zlib.crc32(role.encode()), *numbers])


def wild_shots(corpus: CorpusSettings) -> list[Shot]:
    """List the unlabelled pictures; names are shuffled, so that neighbouring files show different people."""
    people = WILD_PER_IDENTITY * corpus.identities
    order = generator(corpus.seed, "wild order").permutation(people * WILD_IMAGES)
    return [
        Shot(
            path=PurePosixPath(f"{place // FILES_PER_FOLDER:03d}", f"{place:07d}.jpg"),
            person=number // WILD_IMAGES,
            camera=None,
            image=number % WILD_IMAGES,
        )
        for place, number in enumerate(order.tolist())
    ]


def take(corpus: CorpusSettings, shot: Shot) -> bytes:
    """Make one picture: a JPEG file as the camera stores it, or the same pixels as PNG where the name says so."""
    picture = _take_wild(corpus, shot) if shot.camera is None else _take_fixed(corpus, shot, shot.camera)
    return _as_png(picture) if shot.path.suffix == ".png" else picture


def _take_fixed(corpus: CorpusSettings, shot: Shot, number: int) -> bytes:
    person = draw_identity(generator(corpus.seed, "benchmark person", shot.person))
    rng = generator(corpus.seed, "benchmark image", shot.person, number, shot.image)
    street = fixed_place(corpus, number, int(rng.integers(PLACES)))
    return photograph(person, fixed_camera(corpus, number), street, corpus, rng)


def _take_wild(corpus: CorpusSettings, shot: Shot) -> bytes:
    person = draw_identity(generator(corpus.seed, "wild person", shot.person))
    camera = draw_camera(generator(corpus.seed, "wild camera", shot.person, shot.image), corpus.camera_strength)
    scenery = generator(corpus.seed, "wild street", shot.person, shot.image)
    street = draw_panorama(scenery, corpus.height, corpus.width, camera.elevation)
    rng = generator(corpus.seed, "wild image", shot.person, shot.image)
    return photograph(person, camera, street, corpus, rng)


def _as_png(picture: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(picture)).save(file, format="PNG")
    return file.getvalue()


@lru_cache(maxsize=CAMERAS)
def fixed_camera(corpus: CorpusSettings, camera: int) -> Camera:
    """Set up one of the benchmark's cameras."""
    return draw_camera(generator(corpus.seed, "benchmark camera", camera), corpus.camera_strength)


@lru_cache(maxsize=CAMERAS * PLACES)
def fixed_place(corpus: CorpusSettings, camera: int, place: int) -> Panorama:
    """Paint one of the places that a benchmark camera sees."""
    scenery = generator(corpus.seed, "benchmark street", camera, place)
    elevation = fixed_camera(corpus, camera).elevation
    return draw_panorama(scenery, corpus.height, PLACE_WIDTHS * corpus.width, elevation)


def contact_sheet(path: Path, corpus: CorpusSettings, shots: Sequence[Shot], *, columns: int = 12) -> None:
    """Write a PNG that shows many pictures of a corpus in rows."""
    down, across = corpus.height + GAP, corpus.width + GAP
    sheet = Image.new("RGB", (columns * across - GAP, -(-len(shots) // columns) * down - GAP), "white")
    for place, shot in enumerate(shots):
        row, column = divmod(place, columns)
        sheet.paste(Image.open(io.BytesIO(take(corpus, shot))), (column * across, row * down))
    sheet.save(path)
