"""A person in a pose, seen from somewhere under some light: colour and coverage."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upreid.synthetic.body import body
from upreid.synthetic.dress import dress
from upreid.synthetic.identity import Identity
from upreid.synthetic.raster import Surface, Window, see
from upreid.synthetic.skeleton import Pose
from upreid.synthetic.solids import Member, Solids

Plane = NDArray[np.float32]

SUPERSAMPLING = 2
CLOTHED = (Member.TORSO, Member.ARM, Member.LEG, Member.SKIRT, Member.COAT)


@dataclass(frozen=True, kw_only=True)
class Light:
    """A distant light; `direction` points to it in camera axes; `ambient` is what comes from everywhere."""

    direction: tuple[float, float, float]
    strength: float
    ambient: float


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A rendered person on nothing: `colour` is premultiplied by `cover`."""

    colour: Plane
    """[rows, columns, 3]."""
    cover: Plane
    """[rows, columns, 1], in [0, 1]."""


def stand(person: Identity, pose: Pose, yaw: float, elevation: float) -> Solids:
    """Turn a person to the camera: yaw 0 faces it, pi shows the back; elevation looks down; radians."""
    return body(person, pose).turned(viewpoint(yaw, elevation))


def viewpoint(yaw: float, elevation: float) -> NDArray[np.float64]:
    """Rotation from body axes to camera axes."""
    s, c = np.sin(yaw), np.cos(yaw)
    about_up = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    s, c = np.sin(elevation), np.cos(elevation)
    about_right = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return about_right @ about_up


def draw_figure(person: Identity, solids: Solids, window: Window, light: Light) -> Figure:
    """Render at twice the window's size and average."""
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
    """Lambert plus ambient from above, darker where the surface turns away, with folds in the cloth."""
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
