"""How the pictures of version 2 are taken: the cameras of the benchmark and those of the videos in `wild/`."""

from functools import lru_cache, partial
from statistics import NormalDist

from upreid.synthetic.identity import draw_identity
from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.shot import CAMERAS, Shot, generator
from upreid.synthetic.version2.camera import VideoCamera, draw_video_camera
from upreid.synthetic.version2.passage import draw_passage
from upreid.synthetic.version2.photograph import photograph_frame
from upreid.synthetic.version2.scene import View, draw_view
from upreid.synthetic.version2.wardrobe import WARDROBE


def take_fixed(corpus: CorpusSettings, shot: Shot, number: int) -> bytes:
    """Take a picture of the benchmark with one of its cameras; a person passes each of them once."""
    return _take(corpus, shot, "benchmark", number - 1)


def take_wild(corpus: CorpusSettings, shot: Shot) -> bytes:
    """Take a crop of a video."""
    assert shot.camera is not None
    return _take(corpus, shot, "wild", shot.camera)


def _take(corpus: CorpusSettings, shot: Shot, part: str, number: int) -> bytes:
    camera, view = camera_of(corpus, part, number)
    person = draw_identity(generator(corpus.seed, f"{part} person", *shot.who), WARDROBE)
    passage = draw_passage(person, camera, generator(corpus.seed, f"{part} passage", number, shot.person))
    rng = generator(corpus.seed, f"{part} frame", number, shot.person, shot.image)
    return photograph_frame(passage, shot.image, camera, view, corpus, rng, slip=shot.slipped)


@lru_cache(maxsize=16)
def camera_of(corpus: CorpusSettings, part: str, number: int) -> tuple[VideoCamera, View]:
    """Set up a camera and paint what it sees."""
    rng = generator(corpus.seed, f"{part} camera", number)
    camera = draw_video_camera(rng, partial(spread, corpus.seed, part, number), corpus.camera_strength)
    scenery = generator(corpus.seed, f"{part} view", number)
    return camera, draw_view(scenery, corpus.height, corpus.width, camera.elevation)


def spread(seed: int, part: str, number: int, name: str) -> float:
    """Draw a normal number for a camera; of six cameras in a row each has another sixth of the distribution.

    Six independent draws would make one corpus twice as hard as the next.
    """
    group, member = divmod(number, CAMERAS)
    rng = generator(seed, f"{part} {name}", group)
    stratum, within = rng.permutation(CAMERAS)[member], rng.random(CAMERAS)[member]
    return NormalDist().inv_cdf((stratum + 0.1 + 0.8 * within) / CAMERAS)
