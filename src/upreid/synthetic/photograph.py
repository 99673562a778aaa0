"""One crop as a detector would cut it: a person in a street, through a camera."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from upreid.synthetic.body import BodyPart, body
from upreid.synthetic.camera import Camera, Light, expose
from upreid.synthetic.dress import dress
from upreid.synthetic.identity import Identity, draw_identity
from upreid.synthetic.raster import Solids, Surface, Window, see
from upreid.synthetic.scene import Panorama, cut, muted_colour
from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.skeleton import Pose, draw_pose

Plane = NDArray[np.float32]

SUPERSAMPLING = 2
CLOTHED = (BodyPart.TORSO, BodyPart.ARM, BodyPart.LEG, BodyPart.SKIRT, BodyPart.COAT)
OCCLUSION_SHARE = 0.3
"""Share of crops with something in front of the person, at strength 1."""

EXPOSURE_SPREAD = 0.13
"""Standard deviation, on a log scale, of the exposure from picture to picture: time of day and passing clouds."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A rendered person without a background; `colour` is premultiplied by `cover`."""

    colour: Plane
    """[rows, columns, 3]."""
    cover: Plane
    """[rows, columns, 1], in [0, 1]."""


def photograph(person: Identity, camera: Camera, street: Panorama, corpus: CorpusSettings, rng: Generator) -> bytes:
    """Take one picture of a person: a JPEG file."""
    solids = stand(person, draw_pose(rng), draw_yaw(rng, camera), camera.elevation + rng.normal(0, 0.04))
    window = frame(solids, corpus, rng)
    light = vary(camera.light, rng)
    figure = draw_figure(person, solids, window, light)
    left = int(rng.integers(street.pixels.shape[1] - corpus.width + 1))
    image = cut(street, left, corpus.width, corpus.background_strength)
    cast_shadow(image, solids, window)
    image = image * (1 - figure.cover) + figure.colour
    if rng.random() < OCCLUSION_SHARE * corpus.occlusion_strength:
        image = occlude(image, window, light, rng)
    image *= np.float32(np.exp(rng.normal(0, EXPOSURE_SPREAD)))
    return expose(image, camera.optics, rng)


def draw_yaw(rng: Generator, camera: Camera) -> float:
    """Draw which way a person faces: most walk along the street in either direction, some cross it."""
    going = np.pi * rng.integers(2)
    return camera.heading + going + rng.normal(0, 0.5)


def vary(light: Light, rng: Generator) -> Light:
    """Vary the light from picture to picture, as clouds and shade do."""
    factor = float(np.exp(rng.normal(0, 0.35)))
    return replace(light, strength=light.strength * factor, ambient=light.ambient * rng.uniform(0.9, 1.08))


def frame(solids: Solids, corpus: CorpusSettings, rng: Generator) -> Window:
    """Draw the box of an imperfect detector: loose, shifted, stretched, now and then without the feet."""
    boxes = solids.boxes()
    left, bottom = boxes[:, [0, 2]].min(axis=0)
    right, top = boxes[:, [1, 3]].max(axis=0)
    tall = top - bottom
    above, below = tall * np.clip(rng.normal(0.015, 0.025), -0.06, 0.1), tall * rng.normal(0.015, 0.03)
    if rng.random() < 0.08:
        below -= tall * rng.uniform(0.05, 0.2)
    metres_per_row = (tall + above + below) / corpus.height
    fair = (tall + above + below) / 2  # boxes are stored 2 : 1, whatever the person's own proportions
    wide = fair * float(np.clip((right - left) * rng.uniform(1.02, 1.3) / fair, 0.68, 1.0))
    metres_per_column = wide / corpus.width
    middle = (left + right) / 2 + wide * np.clip(rng.normal(0, 0.05), -0.12, 0.12)
    return Window(
        rows=corpus.height,
        columns=corpus.width,
        left=middle - wide / 2,
        top=top + above,
        metres_per_row=metres_per_row,
        metres_per_column=metres_per_column,
    )


def cast_shadow(image: Plane, solids: Solids, window: Window) -> None:
    """Darken the ground around the feet."""
    boxes = solids.boxes()
    middle, foot = (boxes[:, 0].min() + boxes[:, 1].max()) / 2, boxes[:, 2].min() + 0.06
    x, y = window.x() - np.float32(middle), window.y()[:, None] - np.float32(foot)
    image *= 1 - np.float32(0.4) * np.exp(-((x / 0.3) ** 2) - (y / 0.07) ** 2)[:, :, None]


def occlude(image: Plane, window: Window, light: Light, rng: Generator) -> Plane:
    """Put a post, a box, or another person's edge in front."""
    rows, columns = image.shape[:2]
    kind = rng.integers(3)
    if kind == 2:
        return _pass_by(image, window, light, rng)
    thickness = int(columns * (rng.uniform(0.06, 0.18) if kind == 0 else rng.uniform(0.3, 0.8)))
    left = int(rng.uniform(-0.2, 1) * columns)
    top = 0 if kind == 0 else int(rows * rng.uniform(0.5, 0.85))
    image[top:, max(0, left) : max(0, left + thickness)] = muted_colour(rng, 0.12, 0.75)
    return image


def _pass_by(image: Plane, window: Window, light: Light, rng: Generator) -> Plane:
    solids = stand(draw_identity(rng), draw_pose(rng), rng.uniform(0, 2 * np.pi), 0.15)
    wide = window.metres_per_column * window.columns
    aside = float(rng.choice([-1, 1])) * wide * rng.uniform(0.38, 0.6)
    shifted = replace(window, left=-wide / 2 + aside, top=window.top + rng.uniform(-0.1, 0.15))
    figure = draw_figure(draw_identity(rng), solids, shifted, light)
    return image * (1 - figure.cover) + figure.colour


def stand(person: Identity, pose: Pose, yaw: float, elevation: float) -> Solids:
    """Turn a person to the camera: yaw 0 faces it, pi shows the back; elevation looks down; radians."""
    return body(person, pose).turned(viewpoint(yaw, elevation))


def viewpoint(yaw: float, elevation: float) -> NDArray[np.float64]:
    """Return the rotation from body axes to camera axes."""
    s, c = np.sin(yaw), np.cos(yaw)
    about_up = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    s, c = np.sin(elevation), np.cos(elevation)
    about_right = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return about_right @ about_up


def draw_figure(person: Identity, solids: Solids, window: Window, light: Light) -> Figure:
    """Render a figure at twice the window's size and average."""
    fine = Window(
        rows=window.rows * SUPERSAMPLING,
        columns=window.columns * SUPERSAMPLING,
        left=window.left,
        top=window.top,
        metres_per_row=window.metres_per_row / SUPERSAMPLING,
        metres_per_column=window.metres_per_column / SUPERSAMPLING,
    )
    surface = see(solids, fine)
    members = solids.member[surface.solid]
    colours = dress(person, surface, members) * shade(surface, members, light)[:, None]
    canvas = np.zeros((fine.rows * fine.columns, 4), np.float32)
    canvas[surface.pixel, :3] = colours
    canvas[surface.pixel, 3] = 1
    small = halve(canvas.reshape(fine.rows, fine.columns, 4))
    return Figure(colour=small[:, :, :3], cover=small[:, :, 3:])


def shade(surface: Surface, members: NDArray[np.intp], light: Light) -> Plane:
    """Compute the brightness: Lambert plus ambient light, darker where the surface turns away, with folds in cloth."""
    direction = np.array(light.direction, np.float32)
    x, y, z = surface.normal
    lambert = np.maximum(direction[0] * x + direction[1] * y + direction[2] * z, 0)
    ambient = np.float32(light.ambient) * (0.72 + 0.14 * y + 0.28 * z)
    brightness = ambient + np.float32(light.strength) * lambert
    cloth = np.flatnonzero(np.isin(members, CLOTHED))
    along, angle = surface.along[cloth], surface.angle[cloth]
    folds = np.sin(23 * along + 2 * np.sin(3 * angle + 5 * along)) * np.sin(4 * angle + 9 * along)
    brightness[cloth] *= 1 + np.float32(0.05) * folds
    return brightness


def halve(image: Plane) -> Plane:
    """Average blocks of 2 x 2."""
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) * np.float32(0.25)
