"""Which pictures version 1 holds: `wild/` shows 3 N people x 4 images, each with a camera and a street of its own."""

from functools import lru_cache
from pathlib import PurePosixPath

from upreid.synthetic.identity import draw_identity
from upreid.synthetic.settings import CorpusSettings, wild_images
from upreid.synthetic.shot import CAMERAS, Shot, generator
from upreid.synthetic.version1.camera import Camera, draw_camera
from upreid.synthetic.version1.photograph import photograph
from upreid.synthetic.version1.scene import Panorama, draw_panorama

WILD_IMAGES = 4
FILES_PER_FOLDER = 1000
PLACES, PLACE_WIDTHS = 32, 2
"""Number of places in which people pass a fixed camera, and the width of each in pictures."""


def wild_shots(corpus: CorpusSettings) -> list[Shot]:
    """List the unlabelled pictures; names are shuffled, so that neighbouring files show different people."""
    order = generator(corpus.seed, "wild order").permutation(wild_images(corpus))
    return [
        Shot(
            path=PurePosixPath(f"{place // FILES_PER_FOLDER:03d}", f"{place:07d}.jpg"),
            person=number // WILD_IMAGES,
            camera=None,
            image=number % WILD_IMAGES,
        )
        for place, number in enumerate(order.tolist())
    ]


def take_fixed(corpus: CorpusSettings, shot: Shot, number: int) -> bytes:
    """Take a picture of the benchmark with one of its cameras."""
    person = draw_identity(generator(corpus.seed, "benchmark person", shot.person))
    rng = generator(corpus.seed, "benchmark image", shot.person, number, shot.image)
    street = fixed_place(corpus, number, int(rng.integers(PLACES)))
    return photograph(person, fixed_camera(corpus, number), street, corpus, rng)


def take_wild(corpus: CorpusSettings, shot: Shot) -> bytes:
    """Take an unlabelled picture with a camera of its own."""
    person = draw_identity(generator(corpus.seed, "wild person", shot.person))
    camera = draw_camera(generator(corpus.seed, "wild camera", shot.person, shot.image), corpus.camera_strength)
    scenery = generator(corpus.seed, "wild street", shot.person, shot.image)
    street = draw_panorama(scenery, corpus.height, corpus.width, camera.elevation)
    rng = generator(corpus.seed, "wild image", shot.person, shot.image)
    return photograph(person, camera, street, corpus, rng)


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
