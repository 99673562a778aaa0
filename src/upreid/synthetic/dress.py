"""Clothes: from surface coordinates to colours, so that patterns turn with the body."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from upreid.synthetic.body import BodyPart
from upreid.synthetic.identity import Cloth, Colour, Identity, Logo
from upreid.synthetic.raster import Surface
from upreid.synthetic.skeleton import FOREARM, HIP, KNEE, WAIST

Plane = NDArray[np.float32]

CHEST_MIDDLE = 0.735
"""Height of a logo's centre as a share of stature."""


@dataclass(frozen=True)
class Patch:
    """The visible points of one part of the body."""

    angle: Plane
    along: Plane
    across: Plane
    local: Plane


def dress(person: Identity, surface: Surface, members: NDArray[np.intp]) -> Plane:
    """Colour every visible point, before light falls on it [points, 3]; `members` holds the `BodyPart` of each."""
    colours = np.empty((len(members), 3), np.float32)
    for member, paint in PAINT.items():
        chosen = np.flatnonzero(members == member)
        if len(chosen):
            patch = Patch(
                surface.angle[chosen], surface.along[chosen], surface.across[chosen], surface.local[:, chosen]
            )
            colours[chosen] = paint(person, patch)
    return colours


def _torso(person: Identity, patch: Patch) -> Plane:
    upper, stature = person.upper, person.build.stature
    colours = np.array(weave(upper.cloth, patch.across, patch.along * stature))
    if upper.logo is not None:
        up = (patch.along - CHEST_MIDDLE) * stature
        colours[printed(upper.logo, patch.angle, patch.across, up)] = upper.logo.colour
    if upper.inner is not None:
        colours[np.abs(patch.across) < 0.2 * np.clip(1.1 - np.abs(patch.along - 0.68) * 2.5, 0.25, 1)] = upper.inner
    is_tucked = person.lower.is_skirt and upper.hem > HIP - 0.06
    is_lower = patch.along < (WAIST - 0.015 if is_tucked else max(upper.hem, HIP - 0.03))
    if is_lower.any():
        colours[is_lower] = _lower_cloth(person, patch)[is_lower]
    strap = _straps(person, patch)
    if strap is not None:
        colours[strap] = person.bag_colour
    return colours


def _straps(person: Identity, patch: Patch) -> NDArray[np.bool_] | None:
    """Tell where the straps of the bag lie on the torso."""
    if person.bag == "backpack":
        return (np.abs(np.abs(patch.across) - 0.105) < 0.022) & (patch.along > 0.66) & (np.abs(patch.angle) < 1.5)
    if person.bag == "shoulder":
        position = (patch.along - 0.69) * person.build.stature + patch.local[0] * 1.5
        return np.abs(position) < 0.028
    return None


def _lower_cloth(person: Identity, patch: Patch) -> Plane:
    return weave(person.lower.cloth, patch.across, patch.along * person.build.stature)


def _coat(person: Identity, patch: Patch) -> Plane:
    colours = np.array(weave(person.upper.cloth, patch.across, patch.along * person.build.stature))
    if person.upper.inner is not None:
        is_open = np.abs(patch.across) < 0.05 + 0.25 * np.clip(HIP - patch.along, 0, 1)
        colours[is_open] = _lower_cloth(person, patch)[is_open]
    return colours


def _arm(person: Identity, patch: Patch) -> Plane:
    upper = person.upper
    if upper.sleeve_colour is None:
        cloth = weave(upper.cloth, patch.across, patch.along * (FOREARM * person.build.stature))
    else:
        cloth = np.array([upper.sleeve_colour], np.float32)
    return np.where((patch.along < upper.sleeve)[:, None], cloth, np.array(person.skin, np.float32))


def _leg(person: Identity, patch: Patch) -> Plane:
    lower = person.lower
    length = 0.94 * lower.length if lower.is_skirt else lower.length  # a leg that pushes into a skirt wears it
    cloth = weave(lower.cloth, patch.across, patch.along * (KNEE * person.build.stature))
    colours = np.where((patch.along < length)[:, None], cloth, np.array(lower.leg, np.float32))
    colours[patch.along > 2 - person.boot] = person.shoes
    return colours


def _head(person: Identity, patch: Patch) -> Plane:
    """Paint brows, eyes, a nose and a mouth on the front of the head."""
    colours = np.tile(np.array(person.skin, np.float32), (len(patch.angle), 1))
    height, angle = patch.local[1], np.abs(patch.angle)
    eyes = ((angle - 0.42) ** 2 / 0.045 + (height - 0.08) ** 2 / 0.012) < 1
    brows = (np.abs(angle - 0.42) < 0.27) & (np.abs(height - 0.28) < 0.05)
    mouth = (angle < 0.33) & (np.abs(height + 0.52) < 0.07)
    nose = (angle < 0.13) & (np.abs(height + 0.14) < 0.2)
    colours[nose] *= 0.86
    colours[eyes] = (0.13, 0.1, 0.1)
    colours[brows] = np.array(person.hair, np.float32) * 0.8 if person.hair_style != "cap" else colours[brows] * 0.5
    colours[mouth] *= np.array((0.85, 0.5, 0.5), np.float32)
    return colours


def _skin(person: Identity, patch: Patch) -> Plane:
    return _flat(person.skin, patch)


def _hair(person: Identity, patch: Patch) -> Plane:
    return _flat(person.hair, patch)


def _shoe(person: Identity, patch: Patch) -> Plane:
    colours = np.array(_flat(person.shoes, patch))
    colours[patch.local[1] < -0.45] = np.array(person.shoes) * 0.3 + 0.45  # a paler sole
    return colours


def _bag(person: Identity, patch: Patch) -> Plane:
    colours = np.array(_flat(person.bag_colour, patch))
    seam = np.abs(patch.local[1] - 0.35) < 0.04
    colours[seam] *= 0.55
    return colours


def _flat(colour: Colour, patch: Patch) -> Plane:
    return np.broadcast_to(np.array(colour, np.float32), (len(patch.angle), 3))


def weave(cloth: Cloth, across: Plane, along: Plane) -> Plane:
    """Colour a cloth at metres `across` and `along` its surface [points, 3]."""
    colours = np.array(cloth.colours, np.float32)
    if cloth.texture == "plain":
        return np.broadcast_to(colours[0], (len(across), 3))
    return colours[_pattern(cloth, across, along)]


def _pattern(cloth: Cloth, across: Plane, along: Plane) -> NDArray[np.int8]:
    """Return which of the three colours each point has."""
    u, v = across / cloth.period, along / cloth.period + cloth.phase
    match cloth.texture:
        case "stripes":
            return (v % 1 < 0.45).astype(np.int8)
        case "pinstripes":
            return (u * 1.6 % 1 < 0.4).astype(np.int8)
        case "checks":
            return ((u * 0.8 % 1 < 0.42).astype(np.int8) + (v * 0.8 % 1 < 0.42)).astype(np.int8)
        case "dots":
            shifted = u + 0.5 * (np.floor(v) % 2)
            return ((shifted % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.09).astype(np.int8)
        case "camouflage":
            return _camouflage(u, v, cloth.phase)
        case "blocks":
            border = 0.5 + 2 * cloth.phase
            return ((v - cloth.phase) % 3.4 < border).astype(np.int8)
        case "piping":
            return (np.abs(np.abs(across) - 0.12) < 0.025).astype(np.int8)
        case _:
            raise AssertionError(cloth.texture)


def _camouflage(u: Plane, v: Plane, phase: float) -> NDArray[np.int8]:
    turn = np.float32(6.28 * phase)
    first = np.sin(3.1 * u + 1.7 * np.sin(2.3 * v + turn)) + np.sin(2.6 * v + 2 * turn)
    second = np.sin(2.2 * u - 1.9 * v + 3 * turn) + np.sin(3.3 * v + 1.3 * np.sin(2.9 * u))
    return np.where(first > 0.55, 1, np.where(second > 0.6, 2, 0)).astype(np.int8)


def printed(logo: Logo, angle: Plane, across: Plane, up: Plane) -> NDArray[np.bool_]:
    """Tell where a logo's bitmap covers the torso; `up`: metres above the middle of the chest."""
    size = len(logo.bitmap)
    is_visible = (np.abs(angle) > np.pi / 2) == logo.is_on_back
    if logo.is_on_back:
        across = across - np.copysign(np.abs(across / np.where(angle == 0, 1, angle)) * np.pi, across)
    column = np.floor((across / logo.size + 0.5) * size).astype(np.int64)
    row = np.floor((0.5 - up / logo.size) * size).astype(np.int64)
    is_inside = is_visible & (column >= 0) & (column < size) & (row >= 0) & (row < size)
    return is_inside & logo.bitmap[np.clip(row, 0, size - 1), np.clip(column, 0, size - 1)]


PAINT = {
    BodyPart.TORSO: _torso,
    BodyPart.ARM: _arm,
    BodyPart.LEG: _leg,
    BodyPart.SKIN: _skin,
    BodyPart.HEAD: _head,
    BodyPart.HAIR: _hair,
    BodyPart.SKIRT: _lower_cloth,
    BodyPart.COAT: _coat,
    BodyPart.SHOE: _shoe,
    BodyPart.BAG: _bag,
}
