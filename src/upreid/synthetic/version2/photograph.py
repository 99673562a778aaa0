"""One frame of a passage as a detector cuts it out."""

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from upreid.synthetic.figure import CLOTHED, Light, brightness, cast_shadow, draw_figure, stand
from upreid.synthetic.identity import draw_identity
from upreid.synthetic.raster import Solids, Surface, Window
from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.skeleton import draw_pose
from upreid.synthetic.version2.camera import VideoCamera, develop
from upreid.synthetic.version2.passage import Passage
from upreid.synthetic.version2.scene import View, cut_view, stone
from upreid.synthetic.version2.texture import texture
from upreid.synthetic.version2.wardrobe import WARDROBE

Plane = NDArray[np.float32]

FOLDS = 0.14
"""Standard deviation of the brightness of cloth, which folds otherwise in every frame."""
OCCLUSION_SHARE = 0.12
"""Share of crops with something or somebody in front of the person, at strength 1."""
COMPANY_SHARE = 0.1
"""Share of crops with somebody behind or beside the person, at strength 1."""
ABOVE = 0.015
WIDTH, NARROWEST = (0.76, 1.0), 0.45
"""Width of a box in widths of the person, and the least in halves of its height."""
TRUNCATED = 0.1
"""Share of boxes that miss the feet or the head."""


def photograph_frame(
    passage: Passage, frame: int, camera: VideoCamera, view: View, corpus: CorpusSettings, rng: Generator, slip: bool
) -> bytes:
    """Take the picture number `frame` of a passage: a JPEG file; a box that slipped shows part of the person only."""
    pose = replace(passage.pose, phase=passage.pose.phase + frame * passage.pace + rng.normal(0, 0.1))
    yaw = passage.yaw + rng.normal(0, 0.12)
    solids = stand(passage.person, pose, yaw, camera.elevation + rng.normal(0, 0.03))
    window = detect(solids, corpus, rng, slip=slip)
    shading = partial(shade, light=passage.light, texture_rng=rng)
    figure = draw_figure(passage.person, solids, window, shading)
    image = background(passage, frame, view, corpus, rng)
    cast_shadow(image, solids, window)
    if rng.random() < COMPANY_SHARE * corpus.occlusion_strength:
        image = _accompany(image, window, passage.light, rng, aside=(0.25, 0.6), size=(0.75, 1.05))
    image = image * (1 - figure.cover) + figure.colour
    if rng.random() < OCCLUSION_SHARE * corpus.occlusion_strength:
        image = _occlude(image, window, passage.light, rng)
    image *= lighting(passage, corpus.height, corpus.width)
    image *= np.array(passage.balance, np.float32) * np.float32(passage.exposure * np.exp(rng.normal(0, 0.02)))
    return develop(image, camera.response, passage.blur, rng)


def background(passage: Passage, frame: int, view: View, corpus: CorpusSettings, rng: Generator) -> Plane:
    """Cut out what is behind the person."""
    columns, rows = view.pixels.size
    wide, tall = passage.size * corpus.width, passage.size * corpus.height
    walked = (passage.step * frame + rng.normal(0, 0.03)) * corpus.width
    left = (passage.place * (columns - wide) + walked) % (columns - wide)
    top = float(np.clip((rows - tall) * 0.5 + rng.normal(0, 0.03) * corpus.height, 0, rows - tall))
    box = (left, top, left + wide, top + tall)
    return cut_view(view, box, (corpus.width, corpus.height), corpus.background_strength)


def detect(solids: Solids, corpus: CorpusSettings, rng: Generator, *, slip: bool) -> Window:
    """Draw the box of an imperfect detector: loose, shifted, stretched, now and then without feet or head."""
    boxes = solids.boxes()
    left, bottom = boxes[:, [0, 2]].min(axis=0)
    right, top = boxes[:, [1, 3]].max(axis=0)
    tall = top - bottom
    above, below = tall * np.clip(rng.normal(ABOVE, 0.035), -0.06, 0.15), tall * rng.normal(0.025, 0.04)
    cut = rng.random()
    if cut < 0.75 * TRUNCATED:
        below -= tall * rng.uniform(0.05, 0.3)
    elif cut < TRUNCATED:
        above -= tall * rng.uniform(0.03, 0.12)
    aside = np.clip(rng.normal(0, 0.06), -0.15, 0.15)
    if slip:
        aside += float(rng.choice([-1, 1])) * rng.uniform(0.3, 0.6)
        shift = tall * rng.normal(0, 0.15)
        above, below = above + shift, below - shift
    height = tall + above + below
    wide = height / 2 * float(np.clip((right - left) * rng.uniform(*WIDTH) / (height / 2), NARROWEST, 1.05))
    middle = (left + right) / 2 + wide * aside
    return Window(
        rows=corpus.height,
        columns=corpus.width,
        left=middle - wide / 2,
        top=top + above,
        metres_per_row=height / corpus.height,
        metres_per_column=wide / corpus.width,
    )


def lighting(passage: Passage, rows: int, columns: int) -> Plane:
    """Compute how light differs over a picture: a gradient from head to feet, and perhaps the edge of a shadow."""
    y, x = np.linspace(0, 1, rows)[:, None], np.linspace(-0.5, 0.5, columns)[None, :]
    light = np.exp(passage.gradient * (0.5 - y))
    if passage.shadow is not None:
        height, slant, darkness = passage.shadow
        is_dark = 1 / (1 + np.exp(-40 * (y - height - slant * x)))
        light = light * (1 - (1 - darkness) * is_dark)
    return light.astype(np.float32)[:, :, None]


def _occlude(image: Plane, window: Window, light: Light, rng: Generator) -> Plane:
    """Put a post, a box, or another person's edge in front."""
    rows, columns = image.shape[:2]
    kind = rng.integers(4)
    if kind >= 2:
        return _accompany(image, window, light, rng, aside=(0.38, 0.65), size=(0.95, 1.2))
    thickness = int(columns * (rng.uniform(0.06, 0.18) if kind == 0 else rng.uniform(0.3, 0.8)))
    left = int(rng.uniform(-0.2, 1) * columns)
    top = 0 if kind == 0 else int(rows * rng.uniform(0.5, 0.85))
    image[top:, max(0, left) : max(0, left + thickness)] = stone(rng, 0.08, 0.6)
    return image


def _accompany(
    image: Plane,
    window: Window,
    light: Light,
    rng: Generator,
    *,
    aside: tuple[float, float],
    size: tuple[float, float],
) -> Plane:
    """Put another person into the picture, some widths aside and so much larger or smaller."""
    person = draw_identity(rng, WARDROBE)
    solids = stand(person, draw_pose(rng), rng.uniform(0, 2 * np.pi), 0.2)
    scale = rng.uniform(*size)
    rows, columns = window.metres_per_row / scale, window.metres_per_column / scale
    wide = columns * window.columns
    shift = float(rng.choice([-1, 1])) * wide * rng.uniform(*aside)
    shifted = replace(
        window,
        left=-wide / 2 + shift,
        top=window.top / scale + rng.uniform(-0.1, 0.15),
        metres_per_row=rows,
        metres_per_column=columns,
    )
    figure = draw_figure(person, solids, shifted, partial(shade, light=light, texture_rng=rng))
    return image * (1 - figure.cover) + figure.colour


def shade(
    surface: Surface, members: NDArray[np.intp], window: Window, *, light: Light, texture_rng: Generator
) -> Plane:
    """Compute the brightness of every visible point; cloth has folds."""
    shaded = brightness(surface, light)
    folds = texture(texture_rng, window.rows, window.columns, window.rows / 256).ravel()[surface.pixel]
    is_cloth = IS_CLOTH[members]
    shaded *= 1 + np.float32(FOLDS) * folds * is_cloth
    return shaded


IS_CLOTH = np.full(16, 0.25, np.float32)
"""How much the folds show, by `BodyPart`: fully on cloth, less on skin, hair and shoes."""
IS_CLOTH[list(CLOTHED)] = 1
