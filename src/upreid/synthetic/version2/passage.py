"""A person passes a camera: what stays from frame to frame, and what changes."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from upreid.synthetic.figure import Light
from upreid.synthetic.identity import Identity
from upreid.synthetic.skeleton import Pose, draw_pose
from upreid.synthetic.version2.camera import VideoCamera

LIGHT_SPREAD = 0.3
"""Standard deviation, on a log scale, of the direct light from person to person: sun, cloud, shade."""
SHADE_GRADIENT = 0.2
"""Standard deviation, on a log scale, of brightness from head to feet."""
SHADOW_SHARE = 0.1
"""Share of people across whom the edge of a shadow falls."""
BLUR_SPREAD = 0.45
"""Standard deviation, on a log scale, of the blur from person to person: some are far away."""


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One person on the way past one camera."""

    person: Identity
    yaw: float
    pose: Pose
    pace: float
    """Radians of gait from one frame to the next."""
    place: float
    """Place at which the person is seen, as a share of the view's width."""
    step: float
    """What is added to the place from one frame to the next, in widths of a picture."""
    size: float
    """Share of the view's height that a box covers: near or far."""
    light: Light
    gradient: float
    shadow: tuple[float, float, float] | None
    """Height, slant and darkness of a shadow's edge, in shares of the picture."""
    exposure: float
    balance: tuple[float, float, float]
    blur: float


def draw_passage(person: Identity, camera: VideoCamera, rng: Generator) -> Passage:
    """Draw how a person passes: most walk along the street in either direction, some cross it, some stand."""
    pose = draw_pose(rng)
    yaw = camera.heading + np.pi * rng.integers(2) + rng.normal(0, 0.45)
    factor = float(np.exp(rng.normal(0, LIGHT_SPREAD)))
    light = replace(
        camera.light,
        strength=camera.light.strength * factor,
        ambient=camera.light.ambient * float(np.exp(rng.normal(0, 0.06))),
    )
    has_shadow = rng.random() < SHADOW_SHARE
    shadow = (rng.uniform(0.1, 0.9), rng.normal(0, 0.4), rng.uniform(0.5, 0.8))
    red, green, blue = np.exp(rng.normal(0, camera.response.balance_drift, size=3))
    size = rng.uniform(0.68, 1.0)
    is_walking = pose.stride > 0.15
    return Passage(
        person=person,
        yaw=yaw,
        pose=pose,
        pace=rng.uniform(0.5, 2.5),
        place=rng.random(),
        step=float(np.sin(yaw)) * rng.uniform(0.1, 0.6) if is_walking else 0.0,
        size=size,
        light=light,
        gradient=rng.normal(0, SHADE_GRADIENT),
        shadow=shadow if has_shadow else None,
        exposure=float(np.exp(rng.normal(0, camera.response.exposure_drift))),
        balance=(float(red), float(green), float(blue)),
        blur=camera.response.blur * float(np.exp(rng.normal(0, BLUR_SPREAD))),
    )
