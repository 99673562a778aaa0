"""Poses: how a person stands or walks, and the joints that follow from it.

Body axes: x to the person's left, y up, z forward; metres; the ground is y = 0 for straight legs.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from upreid.synthetic.identity import Build

Vector = NDArray[np.float64]

HIP, WAIST, CHEST, SHOULDER, NECK, CROWN = 0.515, 0.62, 0.74, 0.815, 0.85, 1.0
"""Heights as shares of stature."""
KNEE, ANKLE = 0.28, 0.035
UPPER_ARM, FOREARM = 0.175, 0.145


@dataclass(frozen=True, kw_only=True)
class Pose:
    """A pose as angles in radians; pairs are (left, right). `phase` runs once around per two steps."""

    phase: float = 0.0
    stride: float = 0.0
    arm_swing: float = 0.0
    elbows: tuple[float, float] = (0.12, 0.12)
    spread: tuple[float, float] = (0.1, 0.1)
    lean: float = 0.0
    head_turn: float = 0.0


def draw_pose(rng: Generator) -> Pose:
    """Draw a moment of walking, or one time in four of standing; sometimes a hand is held up in front."""
    stride = rng.uniform(0.0, 0.12) if rng.random() < 0.25 else rng.uniform(0.22, 0.5)
    elbows = rng.uniform(0.08, 0.5, size=2)
    held = rng.random(2) < 0.13
    elbows = np.where(held, rng.uniform(1.1, 1.9, size=2), elbows)
    return Pose(
        phase=rng.uniform(0, 2 * np.pi),
        stride=stride,
        arm_swing=stride * rng.uniform(0.5, 1.1),
        elbows=(float(elbows[0]), float(elbows[1])),
        spread=(rng.uniform(0.05, 0.2), rng.uniform(0.05, 0.2)),
        lean=rng.uniform(-0.02, 0.1),
        head_turn=rng.normal(0, 0.25),
    )


@dataclass(frozen=True, kw_only=True)
class LegJoints:
    """Joints of one leg, and where its foot points."""

    hip: Vector
    knee: Vector
    ankle: Vector
    toe: Vector


@dataclass(frozen=True, kw_only=True)
class ArmJoints:
    """Joints of one arm."""

    shoulder: Vector
    elbow: Vector
    wrist: Vector


def legs(build: Build, pose: Pose) -> tuple[LegJoints, LegJoints]:
    """Swing both legs: hips in opposition, the knee bending while its leg comes forward."""
    return _leg(build, pose, side=1), _leg(build, pose, side=-1)


def _leg(build: Build, pose: Pose, side: int) -> LegJoints:
    swing = pose.stride * side * np.sin(pose.phase)
    coming_forward = max(0.0, side * np.cos(pose.phase))
    shank_angle = swing - 0.04 - 2.0 * pose.stride * coming_forward
    hip = build.stature * np.array([side * 0.048 * build.hips * build.girth**0.5, HIP, 0.0])
    thigh, shank = (HIP - KNEE) * build.stature * build.legs, (KNEE - ANKLE) * build.stature * build.legs
    knee = hip + thigh * np.array([0.0, -np.cos(swing), np.sin(swing)])
    ankle = knee + shank * np.array([-side * 0.03, -np.cos(shank_angle), np.sin(shank_angle)])
    pitch = 0.7 * min(shank_angle, 0.1)
    return LegJoints(hip=hip, knee=knee, ankle=ankle, toe=np.array([side * 0.15, np.sin(pitch), np.cos(pitch)]))


def arms(build: Build, pose: Pose) -> tuple[ArmJoints, ArmJoints]:
    """Swing both arms against the legs."""
    return _arm(build, pose, side=1), _arm(build, pose, side=-1)


def _arm(build: Build, pose: Pose, side: int) -> ArmJoints:
    left = side == 1
    bend, spread = pose.elbows[1 - left], pose.spread[1 - left]
    swing = -pose.arm_swing * side * np.sin(pose.phase)
    height = np.array([0.0, HIP, 0.0]) * build.stature
    across = side * 0.103 * build.shoulders * build.girth**0.5 * build.stature
    shoulder = height + tilt(np.array([across, (SHOULDER - HIP - 0.022) * build.stature, 0.0]), pose.lean)
    elbow = shoulder + UPPER_ARM * build.stature * _direction(swing, spread, side)
    wrist = elbow + FOREARM * build.stature * _direction(swing + bend, 0.2 * spread - 0.1 * bend, side)
    return ArmJoints(shoulder=shoulder, elbow=elbow, wrist=wrist)


def _direction(swing: float, spread: float, side: int) -> Vector:
    hanging = np.cos(spread)
    return np.array([side * np.sin(spread), -hanging * np.cos(swing), hanging * np.sin(swing)])


def tilt(vector: Vector, lean: float) -> Vector:
    """Lean forward about the hips: rotate about the x axis."""
    x, y, z = vector
    return np.array([x, y * np.cos(lean) - z * np.sin(lean), y * np.sin(lean) + z * np.cos(lean)])
