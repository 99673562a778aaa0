"""Which pictures a corpus holds, and how each is made from its numbers alone.

`wild/`: 3 N people x 4 images, each with a camera and a street of its own (plays LUPerson). `market1501/`: N other
people, 6 fixed cameras x 2 images, the first half train and the rest test; of a test person's two images per camera one
is the query and one stands in the gallery (plays PersonX). There are no distractors: N people means N people.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath

from upreid.data.synthetic.camera import Camera, draw_camera
from upreid.data.synthetic.draw import generator
from upreid.data.synthetic.identity import draw_identity
from upreid.data.synthetic.photograph import Look, photograph
from upreid.data.synthetic.scene import Panorama, draw_panorama

CAMERAS, IMAGES_PER_CAMERA = 6, 2
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


def market1501_shots(recipe: Recipe) -> list[Shot]:
    """List the benchmark's pictures; names as Market-1501 has them: person, camera, frame, box."""
    shots = []
    for person in range(1, recipe.identities + 1):
        is_train = person <= recipe.identities // 2
        for camera in range(1, CAMERAS + 1):
            for image in range(IMAGES_PER_CAMERA):
                folder = "bounding_box_train" if is_train else ("query", "bounding_box_test")[image]
                frame = (person - 1) * IMAGES_PER_CAMERA + image + 1
                name = f"{person:04d}_c{camera}s1_{frame:06d}_00.jpg"
                shots.append(Shot(path=PurePosixPath(folder, name), person=person, camera=camera, image=image))
    return shots


LAYOUTS = {"market1501": market1501_shots}
"""How the benchmark is laid out, by name."""


def take(recipe: Recipe, shot: Shot) -> bytes:
    """Make one picture: a JPEG file."""
    if shot.camera is None:
        return _take_wild(recipe, shot)
    person = draw_identity(generator(recipe.seed, "benchmark person", shot.person))
    rng = generator(recipe.seed, "benchmark image", shot.person, shot.camera, shot.image)
    camera, street = (
        fixed_camera(recipe, shot.camera),
        fixed_place(recipe, shot.camera, int(rng.integers(PLACES))),
    )
    return photograph(person, camera, street, recipe.look(), rng)


def _take_wild(recipe: Recipe, shot: Shot) -> bytes:
    person = draw_identity(generator(recipe.seed, "wild person", shot.person))
    camera = draw_camera(generator(recipe.seed, "wild camera", shot.person, shot.image), recipe.camera_strength)
    scenery = generator(recipe.seed, "wild street", shot.person, shot.image)
    street = draw_panorama(scenery, recipe.height, recipe.width, camera.elevation)
    rng = generator(recipe.seed, "wild image", shot.person, shot.image)
    return photograph(person, camera, street, recipe.look(), rng)


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
