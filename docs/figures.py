"""Draw the pictures of docs/concepts.md: docs/views.svg, method.svg, tracklets.svg and clusters.svg.

    python docs/figures.py

Every person in them is rendered, and the views are made by the augmentation that training uses.
"""

import base64
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from upreid.data.augment import PATCH_PRESETS, PRESETS, Augment, OriginalView, PatchGrid, PatchView, StrongView
from upreid.synthetic.corpus import take
from upreid.synthetic.layouts import market1501_shots
from upreid.synthetic.settings import CorpusSettings
from upreid.types import ImageBatch, Preprocess

HERE = Path(__file__).parent
INK, GREY, BLUE, ORANGE, GREEN = "#222222", "#777777", "#0072b2", "#d55e00", "#009e73"
"""Colours that people with any colour vision tell apart; words say the same."""
CORPUS = CorpusSettings(identities=600)
HEIGHT, WIDTH, STD = 128, 64, 0.25


class Drawing:
    """An SVG that grows by shapes; it brings its own white ground, so that it can be read in the dark too."""

    def __init__(self, width: int, height: int, words: str) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
            f'font-family="sans-serif" font-size="15"><title>{words}</title><defs><marker id="tip" viewBox="0 0 8 8" refX="7" '
            f'refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{INK}"/></marker></defs>'
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>'
        ]

    def text(
        self, x: float, y: float, words: str, *, colour: str = INK, anchor: str = "middle", bold: bool = False
    ) -> None:
        """Write a word or a line."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(f'<text x="{x}" y="{y}" fill="{colour}" text-anchor="{anchor}"{weight}>{words}</text>')

    def box(self, x: float, y: float, width: float, height: float, words: str = "", colour: str = INK) -> None:
        """Draw a box, with words in the middle."""
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        if words:
            self.text(x + width / 2, y + height / 2 + 5, words, colour=colour)

    def arrow(self, *points: tuple[float, float], colour: str = INK, dashed: bool = False) -> None:
        """Draw a line through points that ends in a tip."""
        line = " ".join(f"{x},{y}" for x, y in points)
        dash = ' stroke-dasharray="6 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dash} marker-end="url(#tip)"/>'
        )

    def picture(self, x: float, y: float, pixels: np.ndarray, height: float = HEIGHT) -> None:
        """Put a picture in, `height` high."""
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=88)
        width = height * pixels.shape[1] / pixels.shape[0]
        data = base64.b64encode(stream.getvalue()).decode()
        self.parts.append(
            f'<image x="{x}" y="{y}" width="{width}" height="{height}" href="data:image/jpeg;base64,{data}"/>'
        )

    def dot(self, x: float, y: float, colour: str) -> None:
        """Draw a point."""
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>')

    def save(self, name: str) -> None:
        """Write the SVG into this folder."""
        (HERE / name).write_text("\n".join([*self.parts, "</svg>"]) + "\n", encoding="utf-8")


def person(number: int, camera: int = 1, image: int = 0) -> np.ndarray:
    """Render a person of the reference benchmark."""
    shots = (shot for shot in market1501_shots(CORPUS) if shot.person == number and shot.camera == camera)
    shot = next(shot for shot in shots if shot.image == image)
    return np.asarray(Image.open(io.BytesIO(take(CORPUS, shot))).convert("RGB"))


def views(pixels: np.ndarray, index: int = 9) -> dict[str, np.ndarray]:
    """Return the views of a picture as a step of `luperson-jitter` has them; patches come in two versions."""
    strong, patches = PRESETS["luperson-jitter"], PATCH_PRESETS["jitter"]
    grid = PatchGrid(rows=4, columns=2)
    requests = {"query": StrongView(preset=strong), "key": StrongView(preset=strong), "original": OriginalView()}
    requests |= {name: PatchView(preset=patches, grid=grid, stream=name) for name in ("first", "second")}
    mean = (0.5, 0.5, 0.5)
    augment = Augment(requests, preprocess=Preprocess(height=HEIGHT, width=WIDTH, mean=mean, std=(STD,) * 3), seed=1)
    size = torch.tensor([pixels.shape[:2]])
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    made = augment(ImageBatch(pixels=image, extents=size, file_sizes=size, indices=torch.tensor([index]), epoch=0))
    return {name: as_pixels(view) for name, view in made.items()}


def as_pixels(view: Tensor) -> np.ndarray:
    """Undo the normalisation of a view; patches are laid out in their grid with white lines between them."""
    view = view.reshape(-1, *view.shape[-3:])
    rows = [
        torch.cat([torch.nn.functional.pad(one, (1, 1, 1, 1), value=2.0) for one in pair], 2) for pair in view.split(2)
    ]
    whole = torch.cat(rows, 1) if len(view) > 1 else view[0]
    return ((whole * STD + 0.5).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()


def draw_views(made: dict[str, np.ndarray]) -> None:
    """One picture and what training makes of it."""
    out = Drawing(760, 200, "One rendered person: the original, two augmented views, and two versions of its patches")
    names = {
        "original": "original",
        "query": "query view",
        "key": "key view",
        "first": "patches",
        "second": "the same, again",
    }
    for place, (name, words) in enumerate(names.items()):
        out.picture(40 + 150 * place, 20, made[name])
        out.text(72 + 150 * place, 172, words)
    out.save("views.svg")


def draw_method(made: dict[str, np.ndarray]) -> None:
    """The three terms of the loss, and what each compares."""
    out = Drawing(
        925, 575, "Instance contrast, global consistency and intrinsic contrast, and what each of them compares"
    )
    for name, y in (("query", 30), ("key", 200), ("original", 370)):
        out.picture(30, y, made[name], 110)
    for y, words, colour in ((60, "encoder", BLUE), (230, "momentum copy", GREY), (400, "momentum copy", GREY)):
        out.arrow((92, y + 25), (145, y + 25))
        out.box(150, y, 160, 50, words, colour)
    out.text(225, 160, "follows slowly, no gradient", colour=GREY)
    out.arrow((225, 112), (225, 145), dashed=True)
    out.arrow((312, 85), (420, 85))
    out.box(425, 60, 130, 50, "query", BLUE)
    out.arrow((312, 255), (420, 255))
    out.box(425, 230, 130, 50, "key", GREY)
    out.arrow((312, 425), (420, 425))
    out.box(425, 400, 130, 50, "original", GREY)
    out.box(650, 120, 250, 110, "", ORANGE)
    for line, words in enumerate(
        ("Instance contrast (MoCo v2)", "the query finds its key", "among thousands of strangers", "in the queue")
    ):
        out.text(775, 145 + 22 * line, words, colour=ORANGE if not line else INK, bold=not line)
    out.arrow((557, 85), (600, 85), (600, 150), (645, 150))
    out.arrow((557, 255), (600, 255), (600, 200), (645, 200))
    out.box(650, 290, 250, 110, "", GREEN)
    for line, words in enumerate(
        ("Global consistency (G)", "the query finds the original", "of the same picture among", "other originals")
    ):
        out.text(775, 315 + 22 * line, words, colour=GREEN if not line else INK, bold=not line)
    out.arrow((557, 75), (620, 75), (620, 320), (645, 320))
    out.arrow((557, 425), (620, 425), (620, 370), (645, 370))
    out.box(650, 440, 250, 110, "", BLUE)
    for line, words in enumerate(
        ("Intrinsic contrast (I)", "a patch finds itself again", "among the other patches", "of the same picture")
    ):
        out.text(775, 465 + 22 * line, words, colour=BLUE if not line else INK, bold=not line)
    for name, x in (("first", 425), ("second", 510)):
        out.picture(x, 462, made[name], 88)
    out.arrow((560, 505), (645, 505))
    out.save("method.svg")


def draw_tracklets() -> None:
    """Crops of one track are one person; the key may come from another of them."""
    out = Drawing(760, 260, "Three tracklets of two crops each; the key of a query is another crop of its own tracklet")
    for place, (number, camera) in enumerate(((2, 1), (3, 4), (5, 2))):
        x = 40 + 245 * place
        out.box(x, 40, 190, 160, "", GREEN if not place else GREY)
        out.text(x + 95, 28, f"tracklet {place + 1}", colour=GREEN if not place else GREY, bold=not place)
        for image in (0, 1):
            out.picture(x + 20 + 90 * image, 54, person(number, camera, image), 130)
    out.text(85, 225, "query", colour=BLUE)
    out.text(180, 225, "key", colour=ORANGE)
    out.arrow((108, 221), (162, 221))
    out.text(510, 225, "strangers, as far as the tracker knows", colour=GREY)
    out.save("tracklets.svg")


def draw_clusters() -> None:
    """Without labels, dense groups of features are taken for people."""
    out = Drawing(
        760, 330, "A drawing of features: three dense groups become pseudo-people, single points are left out"
    )
    numbers = np.random.default_rng(5)
    groups = ((170, 120, BLUE, 2, "cluster 0"), (420, 190, ORANGE, 3, "cluster 1"), (610, 100, GREEN, 5, "cluster 2"))
    for x, y, colour, number, words in groups:
        for dx, dy in numbers.normal(0, 20, (14, 2)):
            out.dot(x + dx, y + dy, colour)
        out.parts.append(
            f'<ellipse cx="{x}" cy="{y}" rx="62" ry="58" fill="none" stroke="{colour}" stroke-dasharray="5 4"/>'
        )
        out.picture(x - 118, y - 45, person(number), 90)
        out.text(x, y + 80, words, colour=colour)
    for x, y in ((290, 60), (320, 290), (520, 290), (60, 270), (540, 30)):
        out.dot(x, y, GREY)
    out.text(660, 300, "single points: left out", colour=GREY)
    out.save("clusters.svg")


def main() -> None:
    made = views(person(2))
    draw_views(made)
    draw_method(made)
    draw_tracklets()
    draw_clusters()


if __name__ == "__main__":
    main()
