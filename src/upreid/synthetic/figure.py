"""A person as pixels: rays meet the body, cloth is painted, light falls on it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upreid.synthetic.body import BodyPart, body
from upreid.synthetic.dress import dress
from upreid.synthetic.identity import Identity
from upreid.synthetic.raster import Solids, Surface, Window, see
from upreid.synthetic.skeleton import Pose

Plane = NDArray[np.float32]

SUPERSAMPLING = 2
CLOTHED = (BodyPart.TORSO, BodyPart.ARM, BodyPart.LEG, BodyPart.SKIRT, BodyPart.COAT)

Shading = Callable[[Surface, NDArray[np.intp], Window], Plane]
"""The brightness of every visible point, from the surface, the `BodyPart` of each, and the window."""


@dataclass(frozen=True, kw_only=True)
class Light:
    """A distant light; `direction` points to it in camera axes; `ambient` is what comes from everywhere."""

    direction: tuple[float, float, float]
    strength: float
    ambient: float


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A rendered person without a background; `colour` is premultiplied by `cover`."""

    colour: Plane
    """[rows, columns, 3]."""
    cover: Plane
    """[rows, columns, 1], in [0, 1]."""


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


def draw_figure(person: Identity, solids: Solids, window: Window, shading: Shading) -> Figure:
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
    colours = dress(person, surface, members) * shading(surface, members, fine)[:, None]
    canvas = np.zeros((fine.rows * fine.columns, 4), np.float32)
    canvas[surface.pixel, :3] = colours
    canvas[surface.pixel, 3] = 1
    small = halve(canvas.reshape(fine.rows, fine.columns, 4))
    return Figure(colour=small[:, :, :3], cover=small[:, :, 3:])


def brightness(surface: Surface, light: Light) -> Plane:
    """Compute Lambert's law plus ambient light, darker where the surface turns away from sky and camera."""
    direction = np.array(light.direction, np.float32)
    x, y, z = surface.normal
    lambert = np.maximum(direction[0] * x + direction[1] * y + direction[2] * z, 0)
    ambient = np.float32(light.ambient) * (0.72 + 0.14 * y + 0.28 * z)
    return ambient + np.float32(light.strength) * lambert


def cast_shadow(image: Plane, solids: Solids, window: Window) -> None:
    """Darken the ground around the feet."""
    boxes = solids.boxes()
    middle, foot = (boxes[:, 0].min() + boxes[:, 1].max()) / 2, boxes[:, 2].min() + 0.06
    x, y = window.x() - np.float32(middle), window.y()[:, None] - np.float32(foot)
    image *= 1 - np.float32(0.4) * np.exp(-((x / 0.3) ** 2) - (y / 0.07) ** 2)[:, :, None]


def halve(image: Plane) -> Plane:
    """Average blocks of 2 x 2."""
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) * np.float32(0.25)
