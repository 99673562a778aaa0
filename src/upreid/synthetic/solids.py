"""The geometry everything is made of: pieces of quadrics around an axis.

In its own axes a solid is `x^2 + z^2 = q0 + 2 q1 y + q2 y^2` for `low <= y <= high`: one form for tubes whose radius
swells along the way (limbs, torso, skirts) and for ellipsoids (head, hands, shoes). A ray meets it in closed form.
"""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]


class Member(IntEnum):
    """What a solid is, which decides what covers it."""

    TORSO = 0
    ARM = 1
    LEG = 2
    SKIN = 3
    HEAD = 4
    HAIR = 5
    SKIRT = 6
    COAT = 7
    SHOE = 8
    BAG = 9


@dataclass(kw_only=True)
class Solids:
    """Rows of solids; axes are scaled so that `origin + x side + y up + z front` is a point in metres."""

    origin: Rows
    side: Rows
    up: Rows
    front: Rows
    profile: Rows
    """q0, q1, q2."""
    span: Rows
    """low, high."""
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
        """Bounds of each solid: left, right, bottom, top in metres [solids, 4]."""
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


@dataclass
class Workshop:
    """Collects solids one by one and assembles their axes at once."""

    rows: list[tuple[float, ...]] = field(default_factory=list)

    def tube(
        self,
        member: Member,
        start: Rows,
        end: Rows,
        radii: tuple[float, float, float],
        *,
        depth: float = 1.0,
        along: tuple[float, float] = (0.0, 0.0),
        forward: tuple[float, float, float] = (0.0, 0.0, 1.0),
    ) -> None:
        """Add a tube with the given radii at start, middle and end; `depth` flattens it front to back."""
        first, gain, bulge = radii[0] ** 2, radii[2] ** 2 - radii[0] ** 2, radii[1] ** 2 - radii[0] ** 2
        q2 = 2 * gain - 4 * bulge
        profile = (first, (gain - q2) / 2, q2)
        stretch = (along[0], along[1] - along[0])
        widths = (1.0, depth)
        self.rows.append((*start, *(end - start), *forward, *widths, *profile, 0, 1, *stretch, radii[1], member))

    def ball(
        self,
        member: Member,
        centre: Rows,
        halves: tuple[float, float, float],
        *,
        up: tuple[float, float, float] | Rows = (0.0, 1.0, 0.0),
        along: tuple[float, float] = (0.0, 0.0),
        forward: tuple[float, float, float] = (0.0, 0.0, 1.0),
    ) -> None:
        """Add an ellipsoid with half-axes to the side, up and to the front; `along` at its centre and its top."""
        axis = np.asarray(up) * halves[1]
        stretch = (along[0], along[1] - along[0])
        widths = (halves[0], halves[2])
        self.rows.append((*centre, *axis, *forward, *widths, 1, 0, -1, -1, 1, *stretch, halves[0], member))

    def solids(self) -> Solids:
        """Turn the rows into axes: front is `forward` made square to the axis, side completes them."""
        table = np.array(self.rows)
        up, forward = table[:, 3:6], table[:, 6:9]
        unit = up / np.linalg.norm(up, axis=1, keepdims=True)
        front = forward - (forward * unit).sum(axis=1, keepdims=True) * unit
        front /= np.linalg.norm(front, axis=1, keepdims=True)
        side = np.cross(unit, front)
        return Solids(
            origin=table[:, 0:3],
            side=side * table[:, 9:10],
            up=up,
            front=front * table[:, 10:11],
            profile=table[:, 11:14],
            span=table[:, 14:16],
            along=table[:, 16:18],
            across=table[:, 18],
            member=table[:, 19].astype(np.intp),
        )
