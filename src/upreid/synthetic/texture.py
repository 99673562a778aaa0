"""Woven and printed patterns as functions of surface coordinates, so that they turn with the body."""

import numpy as np
from numpy.typing import NDArray

from upreid.synthetic.identity import Cloth, Logo

Plane = NDArray[np.float32]


def weave(cloth: Cloth, across: Plane, along: Plane) -> Plane:
    """Colour a cloth at metres `across` and `along` its surface [points, 3]."""
    colours = np.array(cloth.colours, np.float32)
    if cloth.texture == "plain":
        return np.broadcast_to(colours[0], (len(across), 3))
    return colours[_pattern(cloth, across, along)]


def _pattern(cloth: Cloth, across: Plane, along: Plane) -> NDArray[np.int8]:
    """Which of the three colours each point has."""
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
