"""Which pictures a corpus holds, and how each is made from its numbers alone.

`wild/`: 3 N people x 4 images, each with a camera and a street of its own (plays LUPerson). A benchmark shows N other
people to 6 fixed cameras, or to the first two of them; `layouts.py` says how many images each takes and where they go.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from PIL import Image

from upreid.synthetic.camera import Camera, draw_camera
from upreid.synthetic.draw import generator
from upreid.synthetic.identity import draw_identity
from upreid.synthetic.photograph import Look, photograph
from upreid.synthetic.scene import Panorama, draw_panorama

CAMERAS = 6
WILD_PER_IDENTITY, WILD_IMAGES = 3, 4
FILES_PER_FOLDER = 1000
PLACES, PLACE_WIDTHS = 32, 2
"""People pass a fixed camera in one of so many places, each so many pictures wide."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the bytes of a corpus."""

    identities: int
    seed: int
    height: int
    width: int
    camera_strength: float
    background_strength: float
    occlusion_strength: float
    layout: str

    def look(self) -> Look:
        """What a single picture needs to know."""
        return Look(
            height=self.height,
            width=self.width,
            background_strength=self.background_strength,
            occlusion_strength=self.occlusion_strength,
        )


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture to take; `camera` is None in the wild, where each picture has its own."""

    path: PurePosixPath
    person: int
    camera: int | None
    image: int


def wild_shots(recipe: Recipe) -> list[Shot]:
    """List the unlabelled pictures; a shuffle decides the names, so that neighbours are strangers."""
    people = WILD_PER_IDENTITY * recipe.identities
    order = generator(recipe.seed, "wild order").permutation(people * WILD_IMAGES)
    return [
        Shot(
            path=PurePosixPath(f"{place // FILES_PER_FOLDER:03d}", f"{place:07d}.jpg"),
            person=number // WILD_IMAGES,
            camera=None,
            image=number % WILD_IMAGES,
        )
        for place, number in enumerate(order.tolist())
    ]


def take(recipe: Recipe, shot: Shot) -> bytes:
    """Make one picture: a JPEG file as the camera stores it, or the same pixels as PNG where the name says so."""
    picture = _take_wild(recipe, shot) if shot.camera is None else _take_fixed(recipe, shot, shot.camera)
    return _as_png(picture) if shot.path.suffix == ".png" else picture


def _take_fixed(recipe: Recipe, shot: Shot, number: int) -> bytes:
    person = draw_identity(generator(recipe.seed, "benchmark person", shot.person))
    rng = generator(recipe.seed, "benchmark image", shot.person, number, shot.image)
    street = fixed_place(recipe, number, int(rng.integers(PLACES)))
    return photograph(person, fixed_camera(recipe, number), street, recipe.look(), rng)


def _take_wild(recipe: Recipe, shot: Shot) -> bytes:
    person = draw_identity(generator(recipe.seed, "wild person", shot.person))
    camera = draw_camera(generator(recipe.seed, "wild camera", shot.person, shot.image), recipe.camera_strength)
    scenery = generator(recipe.seed, "wild street", shot.person, shot.image)
    street = draw_panorama(scenery, recipe.height, recipe.width, camera.elevation)
    rng = generator(recipe.seed, "wild image", shot.person, shot.image)
    return photograph(person, camera, street, recipe.look(), rng)


def _as_png(picture: bytes) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(picture)).save(file, format="PNG")
    return file.getvalue()


@lru_cache(maxsize=CAMERAS)
def fixed_camera(recipe: Recipe, camera: int) -> Camera:
    """Set up one of the benchmark's cameras."""
    return draw_camera(generator(recipe.seed, "benchmark camera", camera), recipe.camera_strength)


@lru_cache(maxsize=CAMERAS * PLACES)
def fixed_place(recipe: Recipe, camera: int, place: int) -> Panorama:
    """Paint one of the places that a benchmark camera sees."""
    scenery = generator(recipe.seed, "benchmark street", camera, place)
    elevation = fixed_camera(recipe, camera).elevation
    return draw_panorama(scenery, recipe.height, PLACE_WIDTHS * recipe.width, elevation)
