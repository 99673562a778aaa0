"""Ray casting: solids are pieces of quadrics around an axis, and each pixel sees the nearest.

In its own axes a solid is `x^2 + z^2 = q0 + 2 q1 y + q2 y^2` for `low <= y <= high`: one form for tubes whose radius
swells along the way (limbs, torso, skirts) and for ellipsoids (head, hands, shoes). A ray meets it in closed form.
Camera axes: x right, y up, z towards the viewer; parallel rays along z (people are small beside their distance).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Rows = NDArray[np.float64]


@dataclass(kw_only=True)
class Solids:
    """Solids as rows; axes are scaled so that `origin + x side + y up + z front` is a point in metres."""

    origin: Rows
    side: Rows
    up: Rows
    front: Rows
    profile: Rows
    """Coefficients q0, q1, q2."""
    span: Rows
    """Limits low, high."""
    along: Rows
    """Surface coordinate at y = 0 and what it gains per unit of y."""
    across: Rows
    """Metres of surface per radian around the axis."""
    member: NDArray[np.intp]

    def turned(self, rotation: NDArray[np.float64]) -> "Solids":
        """Rotate everything: `rotation` takes body axes to camera axes."""
        turned = {name: getattr(self, name) @ rotation.T for name in ("origin", "side", "up", "front")}
        rest = ("profile", "span", "along", "across", "member")
        return Solids(**turned, **{name: getattr(self, name) for name in rest})

    def boxes(self) -> Rows:
        """Return the bounds of each solid: left, right, bottom, top in metres [solids, 4]."""
        low, high = self.span.T
        middle = (low + high) / 2
        q1, q2 = self.profile[:, 1], self.profile[:, 2]
        swollen = np.clip(-q1 / np.where(q2 == 0, 1, q2), low, high)  # where the profile is flat
        widest = np.maximum.reduce([radius_squared(self.profile, y) for y in (low, swollen, high)])
        widest = np.sqrt(np.maximum(widest, 0))[:, None]
        round_part = (self.side[:, :2] ** 2 + self.front[:, :2] ** 2) * widest**2
        reach = self.up[:, :2] * ((high - low) / 2)[:, None]
        is_ball = (self.profile[:, 2] == -1)[:, None]  # its ends are points, so the parts add as squares
        half = np.where(is_ball, np.sqrt(round_part + reach**2), np.sqrt(round_part) + np.abs(reach))
        centre = self.origin[:, :2] + self.up[:, :2] * middle[:, None]
        lower, upper = centre - half, centre + half
        return np.stack([lower[:, 0], upper[:, 0], lower[:, 1], upper[:, 1]], axis=1)


def radius_squared(profile: Rows, y: Rows) -> Rows:
    """Evaluate the profile at `y`, per solid."""
    q0, q1, q2 = profile.T
    return q0 + 2 * q1 * y + q2 * y**2


@dataclass(frozen=True, kw_only=True)
class Window:
    """A picture plane: pixel size and the metres that its left edge and top edge stand for."""

    rows: int
    columns: int
    left: float
    top: float
    metres_per_row: float
    metres_per_column: float

    def x(self) -> Plane:
        """Return the centres of the columns in metres."""
        return (self.left + self.metres_per_column * (np.arange(self.columns) + 0.5)).astype(np.float32)

    def y(self) -> Plane:
        """Return the centres of the rows in metres."""
        return (self.top - self.metres_per_row * (np.arange(self.rows) + 0.5)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The visible surface, one entry per covered pixel."""

    pixel: NDArray[np.intp]
    """Index into the flattened window."""
    solid: NDArray[np.intp]
    normal: Plane
    """Unit normals in camera axes [3, pixels]."""
    angle: Plane
    """Angle around the axis of the solid in radians: 0 is its front, positive to its left."""
    along: Plane
    across: Plane
    """Distance around the axis in metres."""
    local: Plane
    """Points in the solid's own axes [3, pixels]."""


def see(solids: Solids, window: Window) -> Surface:
    """Render the surface coordinates of the nearest solid in every pixel."""
    inverse = _inverse(solids)
    nearest, depth = _nearest(solids, inverse, window)
    pixel = np.flatnonzero(nearest >= 0)
    solid = nearest.ravel()[pixel].astype(np.intp)
    row, column = np.divmod(pixel, window.columns)
    point = (window.x()[column], window.y()[row], depth.ravel()[pixel])
    table = _table(solids, inverse)
    local = np.empty((3, len(pixel)), np.float32)
    for axis in range(3):
        to_x, to_y, to_z, offset = (table[4 * axis + k][solid] for k in range(4))
        local[axis] = to_x * point[0] + to_y * point[1] + to_z * point[2] + offset
    q1, q2, start, gain, width = (table[12 + k][solid] for k in range(5))
    outward = (local[0], -(q1 + q2 * local[1]), local[2])
    normal = np.empty_like(local)
    for k in range(3):
        normal[k] = sum(table[4 * axis + k][solid] * outward[axis] for axis in range(3))
    normal /= np.sqrt(np.einsum("kp,kp->p", normal, normal)) + np.float32(1e-9)
    angle = np.arctan2(local[0], local[2])
    along = start + gain * local[1]
    return Surface(pixel=pixel, solid=solid, normal=normal, angle=angle, along=along, across=angle * width, local=local)


def _inverse(solids: Solids) -> NDArray[np.float64]:
    """Return the maps from camera metres to each solid's own axes [solids, 3, 4]."""
    axes = np.stack([solids.side, solids.up, solids.front], axis=1)
    rows = axes / (axes**2).sum(axis=2, keepdims=True)
    offset = -np.einsum("sak,sk->sa", rows, solids.origin)
    return np.concatenate([rows, offset[:, :, None]], axis=2)


def _table(solids: Solids, inverse: NDArray[np.float64]) -> Plane:
    """Collect what the surface pass looks up, one contiguous row per quantity [17, solids]."""
    rest = (solids.profile[:, 1:], solids.along, solids.across[:, None])
    return np.ascontiguousarray(np.concatenate([inverse.reshape(-1, 12), *rest], axis=1).T.astype(np.float32))


def _nearest(solids: Solids, inverse: NDArray[np.float64], window: Window) -> tuple[NDArray[np.int16], Plane]:
    """Run the depth buffer: index of the nearest solid (-1: none) and its depth, [rows, columns].

    for pixel, solid: roots of  a z^2 + 2 b z + c = 0  along the ray; keep the nearest root within the span
    """
    x, y = window.x(), window.y()[:, None]
    depth = np.full((window.rows, window.columns), -np.inf, np.float32)
    nearest = np.full((window.rows, window.columns), -1, np.int16)
    polynomials = _polynomials(solids, inverse).astype(np.float32)
    for index, (top, bottom, left, right) in enumerate(_pixel_boxes(solids, window)):
        if top >= bottom or left >= right:
            continue
        part = np.s_[top:bottom, left:right]
        u, v = x[left:right], y[top:bottom]
        f0, fx, fy, fxx, fyy, fxy, b0, bx, by, t0, tx, ty, tz, low, high = polynomials[index]
        root = (fxy * v) * u
        root += (fxx * u + fx) * u + f0
        root += (fyy * v + fy) * v
        seen = root > 0
        np.sqrt(np.maximum(root, 0, out=root), out=root)
        root -= (bx * u + b0) + by * v
        height = tz * root
        height += (tx * u + t0) + ty * v
        seen &= height >= low
        seen &= height <= high
        seen &= root > depth[part]
        np.copyto(depth[part], root, where=seen)
        np.copyto(nearest[part], np.int16(index), where=seen)
    return nearest, depth


def _polynomials(solids: Solids, inverse: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fold each ray equation into polynomials of the picture coordinates [solids, 15].

    With f = (b^2 - a c) / a^2 (six coefficients) and b / a (three), the near root is `sqrt(f) - b / a`; then the
    height in the solid's axes as a function of (x, y, root), and its span.
    """
    q0, q1, q2 = solids.profile.T
    across, height, front = inverse[:, 0], inverse[:, 1], inverse[:, 2]  # each [solids, (x, y, z, 1)]
    a = across[:, 2] ** 2 + front[:, 2] ** 2 - q2 * height[:, 2] ** 2
    a = np.where(np.abs(a) < 1e-6, 1e-6, a)
    plane = [0, 1, 3]  # x, y, 1
    ones = np.array([0.0, 0.0, 1.0])
    h = height[:, plane]
    b = across[:, plane] * across[:, 2:3] + front[:, plane] * front[:, 2:3]
    b -= (q1[:, None] * ones + q2[:, None] * h) * height[:, 2:3]
    outer = _outer(across[:, plane]) + _outer(front[:, plane]) - q2[:, None, None] * _outer(h)
    linear = q1[:, None, None] * (h[:, :, None] * ones + ones[:, None] * h[:, None, :])
    c = outer - linear - q0[:, None, None] * np.outer(ones, ones)
    f = (_outer(b) - a[:, None, None] * c) / (a**2)[:, None, None]
    b = b / a[:, None]
    square = [f[:, 2, 2], 2 * f[:, 0, 2], 2 * f[:, 1, 2], f[:, 0, 0], f[:, 1, 1], 2 * f[:, 0, 1]]
    rest = [b[:, 2], b[:, 0], b[:, 1], h[:, 2], h[:, 0], h[:, 1], height[:, 2], *solids.span.T]
    return np.stack([*square, *rest], axis=1)


def _outer(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors[:, :, None] * vectors[:, None, :]


def _pixel_boxes(solids: Solids, window: Window) -> NDArray[np.intp]:
    """Return top, bottom, left, right in pixels, clipped to the window [solids, 4]."""
    left, right, bottom, top = solids.boxes().T
    columns = (np.stack([left, right]) - window.left) / window.metres_per_column
    rows = (window.top - np.stack([top, bottom])) / window.metres_per_row
    edges = np.stack([np.floor(rows[0]), np.ceil(rows[1]), np.floor(columns[0]), np.ceil(columns[1])], axis=1)
    limits = np.array([window.rows, window.rows, window.columns, window.columns])
    return np.clip(edges, 0, limits).astype(np.intp)
