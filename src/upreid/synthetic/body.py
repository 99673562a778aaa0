"""A person in a pose, as solids in body axes."""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from upreid.synthetic.identity import Identity
from upreid.synthetic.raster import Rows, Solids
from upreid.synthetic.skeleton import (
    CHEST,
    CROWN,
    HIP,
    SHOULDER,
    WAIST,
    ArmJoints,
    LegJoints,
    Pose,
    Vector,
    arms,
    legs,
    tilt,
)

DEPTH = 0.66
"""Torso depth over torso width."""


class BodyPart(IntEnum):
    """A part of the body or of what is worn; it decides how a solid is coloured."""

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


@dataclass
class BodyBuilder:
    """A list of solids that is filled one by one; their axes are computed at once."""

    rows: list[tuple[float, ...]] = field(default_factory=list)

    def tube(
        self,
        part: BodyPart,
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
        self.rows.append((*start, *(end - start), *forward, *widths, *profile, 0, 1, *stretch, radii[1], part))

    def ball(
        self,
        part: BodyPart,
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
        self.rows.append((*centre, *axis, *forward, *widths, 1, 0, -1, -1, 1, *stretch, halves[0], part))

    def solids(self) -> Solids:
        """Compute the axes: `front` is `forward` made perpendicular to the axis, `side` is perpendicular to both."""
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


def body(person: Identity, pose: Pose) -> Solids:
    """Build a dressed person out of solids."""
    builder = BodyBuilder()
    for leg in legs(person.build, pose):
        _add_leg(builder, person, leg)
    for arm in arms(person.build, pose):
        _add_arm(builder, person, arm)
    _add_torso(builder, person, pose)
    _add_skirt(builder, person, pose)
    _add_head(builder, person, pose)
    _add_bag(builder, person, pose)
    return builder.solids()


def place(person: Identity, pose: Pose, height: float, forward: float = 0.0, across: float = 0.0) -> Vector:
    """Find a point of the leaning upper body: `height` is a share of stature, the rest is in metres."""
    stature = person.build.stature
    return np.array([0.0, HIP * stature, 0.0]) + tilt(np.array([across, (height - HIP) * stature, forward]), pose.lean)


def _thickness(person: Identity) -> float:
    """Return the metres per unit of girth of an average limb."""
    return person.build.stature / 1.71 * person.build.girth


def _add_leg(builder: BodyBuilder, person: Identity, leg: LegJoints) -> None:
    unit = _thickness(person)
    is_wide = not person.lower.is_skirt and person.lower.length > 1
    ankle = 0.06 if is_wide else 0.043
    thigh, knee, calf = 0.084 * unit * person.build.hips, 0.062 * unit, 0.06 * unit
    builder.tube(BodyPart.LEG, leg.hip, leg.knee, (thigh, 0.077 * unit, knee), along=(0.0, 1.0))
    builder.ball(BodyPart.LEG, leg.knee, (knee, knee, knee), along=(1.0, 1.0))
    builder.tube(BodyPart.LEG, leg.knee, leg.ankle, (knee, calf, ankle * unit), along=(1.0, 2.0))
    size = person.build.stature / 1.71
    heel = leg.ankle + np.array([0.0, -0.025, 0.0]) * size
    tip = tuple(leg.toe)
    builder.ball(BodyPart.SHOE, heel + 0.055 * size * leg.toe, (0.05 * size, 0.042 * size, 0.135 * size), forward=tip)


def _add_arm(builder: BodyBuilder, person: Identity, arm: ArmJoints) -> None:
    unit = _thickness(person)
    top, elbow, wrist = 0.053 * unit, 0.044 * unit, 0.034 * unit
    sleeve = 1.12 if person.upper.sleeve > 1 else 1.0
    builder.ball(BodyPart.ARM, arm.shoulder, (top * sleeve, top * sleeve, top * sleeve), along=(0.0, 0.0))
    upper = (top * sleeve, 0.05 * unit * sleeve, elbow * sleeve)
    builder.tube(BodyPart.ARM, arm.shoulder, arm.elbow, upper, along=(0.0, 1.0))
    builder.ball(BodyPart.ARM, arm.elbow, (elbow * sleeve, elbow * sleeve, elbow * sleeve), along=(1.0, 1.0))
    builder.tube(
        BodyPart.ARM, arm.elbow, arm.wrist, (elbow * sleeve, 0.042 * unit * sleeve, wrist * sleeve), along=(1.0, 2.0)
    )
    direction = (arm.wrist - arm.elbow) / np.linalg.norm(arm.wrist - arm.elbow)
    size = person.build.stature / 1.71
    hand = arm.wrist + 0.065 * size * direction
    builder.ball(BodyPart.SKIN, hand, (0.03 * size, 0.085 * size, 0.045 * size), up=direction)


def _add_torso(builder: BodyBuilder, person: Identity, pose: Pose) -> None:
    unit, build = _thickness(person), person.build
    hips, waist = 0.172 * build.hips * unit, 0.148 * unit
    chest, shoulders = 0.17 * build.shoulders * unit, 0.128 * build.shoulders * unit
    bottom, middle = place(person, pose, HIP - 0.015), place(person, pose, WAIST)
    top = place(person, pose, SHOULDER)
    centre = WAIST * 0.5 + HIP * 0.5
    heights = (HIP - 0.015, WAIST, CHEST, SHOULDER)
    builder.ball(BodyPart.TORSO, bottom, (hips, 0.06 * build.stature, hips * DEPTH), along=(heights[0], centre))
    builder.tube(BodyPart.TORSO, bottom, middle, (hips, 0.166 * unit, waist), depth=DEPTH, along=heights[:2])
    builder.tube(BodyPart.TORSO, middle, top, (waist, chest * 0.99, shoulders), depth=DEPTH, along=(WAIST, SHOULDER))
    builder.ball(
        BodyPart.TORSO,
        top,
        (shoulders, 0.042 * build.stature, shoulders * DEPTH),
        along=(SHOULDER, SHOULDER + 0.042),
    )


def _add_skirt(builder: BodyBuilder, person: Identity, pose: Pose) -> None:
    unit, build = _thickness(person), person.build
    stature = build.stature
    sway = 1 + 0.5 * pose.stride
    if person.lower.is_skirt:
        hem = HIP - (HIP - 0.035) * person.lower.length / 2
        flare = (0.15 * unit, 0.19 * unit * build.hips, (0.2 + 0.05 * person.lower.length) * unit * sway)
        waist, end = place(person, pose, WAIST - 0.01), np.array([0.0, hem * stature, 0.0])
        builder.tube(BodyPart.SKIRT, waist, end, flare, depth=0.78, along=(WAIST, hem))
    if person.upper.hem < HIP - 0.06:
        flare = (0.165 * unit, 0.2 * unit * build.hips, 0.215 * unit * sway)
        waist, end = place(person, pose, WAIST), np.array([0.0, person.upper.hem * stature, 0.0])
        builder.tube(BodyPart.COAT, waist, end, flare, depth=0.78, along=(WAIST, person.upper.hem))


def _add_head(builder: BodyBuilder, person: Identity, pose: Pose) -> None:
    stature = person.build.stature
    half = 0.072 * stature
    look = (np.sin(pose.head_turn), 0.0, np.cos(pose.head_turn))
    facing = np.array(look)
    neck, centre = place(person, pose, SHOULDER, -0.01), place(person, pose, CROWN - 0.07, 0.025)
    builder.tube(BodyPart.SKIN, neck, centre, (0.055, 0.052, 0.05), along=(0.0, 1.0))
    builder.ball(BodyPart.HEAD, centre, (0.72 * half, half, 0.84 * half), along=(0.0, 1.0), forward=look)
    if person.hair_style == "bald":
        return
    fuller = 1.16 if person.hair_style in ("bob", "long") else 1.04
    lift, back = (0.3, -0.08) if person.hair_style == "cap" else (0.24, -0.17)
    crown = centre + half * (facing * back + np.array([0.0, lift, 0.0]))
    builder.ball(BodyPart.HAIR, crown, (0.79 * half * fuller, 0.88 * half, 0.86 * half), forward=look)
    behind = -facing * half
    down = np.array([0.0, -1.0, 0.0]) * half
    match person.hair_style:
        case "bob":
            builder.ball(BodyPart.HAIR, centre + 0.32 * behind + 0.55 * down, (0.86 * half, 0.9 * half, 0.62 * half))
        case "long":
            end = centre + 0.75 * behind + 2.9 * down
            widths = (0.8 * half, 0.88 * half, 0.6 * half)
            builder.tube(BodyPart.HAIR, centre + 0.4 * behind, end, widths, depth=0.6)
        case "ponytail":
            end = centre + 1.25 * behind + 2.0 * down
            builder.tube(BodyPart.HAIR, centre + 0.9 * behind - 0.4 * down, end, (0.2 * half, 0.34 * half, 0.1 * half))
        case "bun":
            builder.ball(BodyPart.HAIR, centre + 0.85 * behind - 0.75 * down, (0.4 * half, 0.4 * half, 0.4 * half))
        case "cap":
            peak = centre + 0.75 * facing * half - 0.38 * down
            builder.ball(BodyPart.HAIR, peak, (0.55 * half, 0.1 * half, 0.6 * half), forward=look)


def _add_bag(builder: BodyBuilder, person: Identity, pose: Pose) -> None:
    unit = _thickness(person)
    match person.bag:
        case "backpack":
            bottom = place(person, pose, 0.595, -0.16 * unit)
            top = place(person, pose, 0.83, -0.15 * unit)
            builder.tube(BodyPart.BAG, bottom, top, (0.14, 0.155, 0.11), depth=0.62)
            builder.ball(BodyPart.BAG, bottom, (0.14, 0.05, 0.087))
            builder.ball(BodyPart.BAG, top, (0.11, 0.05, 0.068))
        case "shoulder":
            centre = place(person, pose, 0.5, -0.02, 0.2 * unit)
            builder.ball(BodyPart.BAG, centre, (0.065, 0.13, 0.17))
        case "handbag" | "carrier":
            hand = arms(person.build, pose)[1].wrist
            wide, tall = (0.15, 0.2) if person.bag == "handbag" else (0.17, 0.33)
            top = hand + np.array([0.0, -0.12, 0.0])
            end = top + np.array([0.0, -tall, 0.0])
            walking = (1.0, 0.0, 0.0)  # its flat side faces sideways
            builder.tube(BodyPart.BAG, top, end, (0.8 * wide, wide, wide), depth=0.35, forward=walking)
            builder.ball(BodyPart.BAG, top, (0.8 * wide, 0.02, 0.28 * wide), forward=walking)
            builder.ball(BodyPart.BAG, end, (wide, 0.03, 0.35 * wide), forward=walking)
