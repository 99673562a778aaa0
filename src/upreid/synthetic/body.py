"""A person in a pose, as solids in body axes."""

import numpy as np

from upreid.synthetic.identity import Identity
from upreid.synthetic.skeleton import (
    CHEST,
    CROWN,
    HIP,
    SHOULDER,
    WAIST,
    Arm,
    Leg,
    Pose,
    Vector,
    arms,
    legs,
    tilt,
)
from upreid.synthetic.solids import Member, Solids, Workshop

DEPTH = 0.66
"""Torso depth over torso width."""


def body(person: Identity, pose: Pose) -> Solids:
    """Put a dressed person together."""
    shop = Workshop()
    for leg in legs(person.build, pose):
        _add_leg(shop, person, leg)
    for arm in arms(person.build, pose):
        _add_arm(shop, person, arm)
    _add_torso(shop, person, pose)
    _add_skirt(shop, person, pose)
    _add_head(shop, person, pose)
    _add_bag(shop, person, pose)
    return shop.solids()


def place(person: Identity, pose: Pose, height: float, forward: float = 0.0, across: float = 0.0) -> Vector:
    """Where a point of the leaning upper body is: `height` as a share of stature, the rest in metres."""
    stature = person.build.stature
    return np.array([0.0, HIP * stature, 0.0]) + tilt(np.array([across, (height - HIP) * stature, forward]), pose.lean)


def _thickness(person: Identity) -> float:
    """Metres per unit of girth for an average limb."""
    return person.build.stature / 1.71 * person.build.girth


def _add_leg(shop: Workshop, person: Identity, leg: Leg) -> None:
    unit = _thickness(person)
    is_wide = not person.lower.is_skirt and person.lower.length > 1
    ankle = 0.06 if is_wide else 0.043
    thigh, knee, calf = 0.084 * unit * person.build.hips, 0.062 * unit, 0.06 * unit
    shop.tube(Member.LEG, leg.hip, leg.knee, (thigh, 0.077 * unit, knee), along=(0.0, 1.0))
    shop.ball(Member.LEG, leg.knee, (knee, knee, knee), along=(1.0, 1.0))
    shop.tube(Member.LEG, leg.knee, leg.ankle, (knee, calf, ankle * unit), along=(1.0, 2.0))
    size = person.build.stature / 1.71
    heel = leg.ankle + np.array([0.0, -0.025, 0.0]) * size
    tip = tuple(leg.toe)
    shop.ball(Member.SHOE, heel + 0.055 * size * leg.toe, (0.05 * size, 0.042 * size, 0.135 * size), forward=tip)


def _add_arm(shop: Workshop, person: Identity, arm: Arm) -> None:
    unit = _thickness(person)
    top, elbow, wrist = 0.053 * unit, 0.044 * unit, 0.034 * unit
    sleeve = 1.12 if person.upper.sleeve > 1 else 1.0
    shop.ball(Member.ARM, arm.shoulder, (top * sleeve, top * sleeve, top * sleeve), along=(0.0, 0.0))
    upper = (top * sleeve, 0.05 * unit * sleeve, elbow * sleeve)
    shop.tube(Member.ARM, arm.shoulder, arm.elbow, upper, along=(0.0, 1.0))
    shop.ball(Member.ARM, arm.elbow, (elbow * sleeve, elbow * sleeve, elbow * sleeve), along=(1.0, 1.0))
    shop.tube(
        Member.ARM, arm.elbow, arm.wrist, (elbow * sleeve, 0.042 * unit * sleeve, wrist * sleeve), along=(1.0, 2.0)
    )
    direction = (arm.wrist - arm.elbow) / np.linalg.norm(arm.wrist - arm.elbow)
    size = person.build.stature / 1.71
    hand = arm.wrist + 0.065 * size * direction
    shop.ball(Member.SKIN, hand, (0.03 * size, 0.085 * size, 0.045 * size), up=direction)


def _add_torso(shop: Workshop, person: Identity, pose: Pose) -> None:
    unit, build = _thickness(person), person.build
    hips, waist = 0.172 * build.hips * unit, 0.148 * unit
    chest, shoulders = 0.17 * build.shoulders * unit, 0.128 * build.shoulders * unit
    bottom, middle = place(person, pose, HIP - 0.015), place(person, pose, WAIST)
    top = place(person, pose, SHOULDER)
    centre = WAIST * 0.5 + HIP * 0.5
    heights = (HIP - 0.015, WAIST, CHEST, SHOULDER)
    shop.ball(Member.TORSO, bottom, (hips, 0.06 * build.stature, hips * DEPTH), along=(heights[0], centre))
    shop.tube(Member.TORSO, bottom, middle, (hips, 0.166 * unit, waist), depth=DEPTH, along=heights[:2])
    shop.tube(Member.TORSO, middle, top, (waist, chest * 0.99, shoulders), depth=DEPTH, along=(WAIST, SHOULDER))
    shop.ball(
        Member.TORSO,
        top,
        (shoulders, 0.042 * build.stature, shoulders * DEPTH),
        along=(SHOULDER, SHOULDER + 0.042),
    )


def _add_skirt(shop: Workshop, person: Identity, pose: Pose) -> None:
    unit, build = _thickness(person), person.build
    stature = build.stature
    sway = 1 + 0.5 * pose.stride
    if person.lower.is_skirt:
        hem = HIP - (HIP - 0.035) * person.lower.length / 2
        flare = (0.15 * unit, 0.19 * unit * build.hips, (0.2 + 0.05 * person.lower.length) * unit * sway)
        waist, end = place(person, pose, WAIST - 0.01), np.array([0.0, hem * stature, 0.0])
        shop.tube(Member.SKIRT, waist, end, flare, depth=0.78, along=(WAIST, hem))
    if person.upper.hem < HIP - 0.06:
        flare = (0.165 * unit, 0.2 * unit * build.hips, 0.215 * unit * sway)
        waist, end = place(person, pose, WAIST), np.array([0.0, person.upper.hem * stature, 0.0])
        shop.tube(Member.COAT, waist, end, flare, depth=0.78, along=(WAIST, person.upper.hem))


def _add_head(shop: Workshop, person: Identity, pose: Pose) -> None:
    stature = person.build.stature
    half = 0.072 * stature
    look = (np.sin(pose.head_turn), 0.0, np.cos(pose.head_turn))
    facing = np.array(look)
    neck, centre = place(person, pose, SHOULDER, -0.01), place(person, pose, CROWN - 0.07, 0.025)
    shop.tube(Member.SKIN, neck, centre, (0.055, 0.052, 0.05), along=(0.0, 1.0))
    shop.ball(Member.HEAD, centre, (0.72 * half, half, 0.84 * half), along=(0.0, 1.0), forward=look)
    if person.hair_style == "bald":
        return
    fuller = 1.16 if person.hair_style in ("bob", "long") else 1.04
    lift, back = (0.3, -0.08) if person.hair_style == "cap" else (0.24, -0.17)
    crown = centre + half * (facing * back + np.array([0.0, lift, 0.0]))
    shop.ball(Member.HAIR, crown, (0.79 * half * fuller, 0.88 * half, 0.86 * half), forward=look)
    behind = -facing * half
    down = np.array([0.0, -1.0, 0.0]) * half
    match person.hair_style:
        case "bob":
            shop.ball(Member.HAIR, centre + 0.32 * behind + 0.55 * down, (0.86 * half, 0.9 * half, 0.62 * half))
        case "long":
            end = centre + 0.75 * behind + 2.9 * down
            widths = (0.8 * half, 0.88 * half, 0.6 * half)
            shop.tube(Member.HAIR, centre + 0.4 * behind, end, widths, depth=0.6)
        case "ponytail":
            end = centre + 1.25 * behind + 2.0 * down
            shop.tube(Member.HAIR, centre + 0.9 * behind - 0.4 * down, end, (0.2 * half, 0.34 * half, 0.1 * half))
        case "bun":
            shop.ball(Member.HAIR, centre + 0.85 * behind - 0.75 * down, (0.4 * half, 0.4 * half, 0.4 * half))
        case "cap":
            peak = centre + 0.75 * facing * half - 0.38 * down
            shop.ball(Member.HAIR, peak, (0.55 * half, 0.1 * half, 0.6 * half), forward=look)


def _add_bag(shop: Workshop, person: Identity, pose: Pose) -> None:
    unit = _thickness(person)
    match person.bag:
        case "backpack":
            bottom = place(person, pose, 0.595, -0.16 * unit)
            top = place(person, pose, 0.83, -0.15 * unit)
            shop.tube(Member.BAG, bottom, top, (0.14, 0.155, 0.11), depth=0.62)
            shop.ball(Member.BAG, bottom, (0.14, 0.05, 0.087))
            shop.ball(Member.BAG, top, (0.11, 0.05, 0.068))
        case "shoulder":
            centre = place(person, pose, 0.5, -0.02, 0.2 * unit)
            shop.ball(Member.BAG, centre, (0.065, 0.13, 0.17))
        case "handbag" | "carrier":
            hand = arms(person.build, pose)[1].wrist
            wide, tall = (0.15, 0.2) if person.bag == "handbag" else (0.17, 0.33)
            top = hand + np.array([0.0, -0.12, 0.0])
            end = top + np.array([0.0, -tall, 0.0])
            walking = (1.0, 0.0, 0.0)  # its flat side faces sideways
            shop.tube(Member.BAG, top, end, (0.8 * wide, wide, wide), depth=0.35, forward=walking)
            shop.ball(Member.BAG, top, (0.8 * wide, 0.02, 0.28 * wide), forward=walking)
            shop.ball(Member.BAG, end, (wide, 0.03, 0.35 * wide), forward=walking)
        case _:
            pass
