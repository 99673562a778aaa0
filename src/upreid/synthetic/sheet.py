"""Contact sheets: many pictures at one glance, to see with one's own eyes what a corpus holds."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from upreid.synthetic.corpus import Shot, take, wild_shots
from upreid.synthetic.draw import generator
from upreid.synthetic.figure import Light, draw_figure, stand
from upreid.synthetic.identity import draw_identity
from upreid.synthetic.layouts import LAYOUTS
from upreid.synthetic.raster import Window
from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.skeleton import Pose

GAP = 2
"""Pixels between pictures."""
STUDIO = Light(direction=(0.4, 0.6, 0.69), strength=0.45, ambient=0.75)
BACKDROP = np.array([0.8, 0.82, 0.84], np.float32)
WALKING = Pose(phase=1.4, stride=0.42, arm_swing=0.35, elbows=(0.3, 0.3))
VIEWS = (
    (0.0, 0.08, Pose()),
    (np.pi, 0.08, Pose()),
    (np.pi / 2, 0.08, Pose()),
    (np.pi / 2, 0.12, WALKING),
    (0.7, 0.25, WALKING),
    (-2.4, 0.4, WALKING),
)
"""Yaw, elevation and pose: front, back, side, and three moments of walking."""


def contact_sheet(path: Path, corpus: CorpusSettings, *, people: int = 6, wild: bool = False) -> None:
    """Write a PNG with one row per person: every camera, every image; `wild`: unlabelled pictures, in order."""
    shots = wild_shots(corpus) if wild else LAYOUTS[corpus.layout].shots(corpus)
    columns = 12
    pictures = [_picture(corpus, shot) for shot in shots[: people * columns]]
    _mosaic(pictures, columns).save(path)


def studio_sheet(path: Path, corpus: CorpusSettings, *, people: int = 5) -> None:
    """Write a PNG with one row per person, seen in a studio from the front, the back, the side, and walking."""
    rows, columns = corpus.height, corpus.width
    pictures = []
    for number in range(1, people + 1):
        person = draw_identity(generator(corpus.seed, "benchmark person", number))
        for yaw, elevation, pose in VIEWS:
            window = Window(
                rows=rows,
                columns=columns,
                left=-2.05 / 2 * columns / rows,
                top=2.0 * np.cos(elevation) + 0.02,
                metres_per_row=2.05 / rows,
                metres_per_column=2.05 / rows,
            )
            figure = draw_figure(person, stand(person, pose, yaw, elevation), window, STUDIO)
            image = figure.colour + (1 - figure.cover) * BACKDROP
            pictures.append(Image.fromarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)))
    _mosaic(pictures, len(VIEWS)).save(path)


def _picture(corpus: CorpusSettings, shot: Shot) -> Image.Image:
    return Image.open(io.BytesIO(take(corpus, shot)))


def _mosaic(pictures: list[Image.Image], columns: int) -> Image.Image:
    """Lay pictures of one size out in rows, white between them."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        sheet.paste(picture, (column * (width + GAP), row * (height + GAP)))
    return sheet
