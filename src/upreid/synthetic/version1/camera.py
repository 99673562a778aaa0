"""A camera: where it stands, what light falls there, and what it does to colours and detail."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from upreid.synthetic.figure import Light

Plane = NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, kw_only=True)
class Optics:
    """What a camera does to colour and detail; gains, gamma and saturation of 1 change nothing."""

    gains: tuple[float, float, float]
    drift: float
    """Standard deviation, on a log scale, of each gain from picture to picture: automatic white balance."""
    gamma: float
    saturation: float
    lift: float
    blur: float
    """Standard deviation as a share of the image height."""
    noise: float
    quality: int


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera and its place; `heading` is the yaw of people who walk along its street, in radians."""

    elevation: float
    heading: float
    light: Light
    optics: Optics


COLOUR_SPREAD = {"brightness": 0.1, "gains": 0.015, "drift": 0.018, "gamma": 0.1, "saturation": 0.15, "lift": 0.015}
"""Standard deviations between cameras, on a log scale except for `lift`; tuned so that colour alone does not suffice."""

BLUR_SPREAD = 0.4
"""Standard deviation, on a log scale, of the blur from picture to picture: some people are far away."""


def draw_camera(rng: Generator, colour_strength: float) -> Camera:
    """Draw a camera; with `colour_strength` 0 it keeps colours as they are."""
    return Camera(
        elevation=rng.uniform(0.05, 0.5),
        heading=rng.uniform(0, np.pi),
        light=draw_light(rng),
        optics=draw_optics(rng, colour_strength),
    )


def draw_light(rng: Generator) -> Light:
    """Draw the light of a place: from soft and grey to a low sun from one side."""
    azimuth, height = rng.uniform(-1.3, 1.3), rng.uniform(0.3, 1.2)
    direction = (np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height))
    strength = rng.uniform(0.1, 0.75)
    return Light(direction=direction, strength=strength, ambient=1.02 - 0.6 * strength)


def draw_optics(rng: Generator, colour_strength: float) -> Optics:
    """Draw what the sensor and its software do."""
    spread = {name: colour_strength * value for name, value in COLOUR_SPREAD.items()}
    red, green, blue = np.exp(rng.normal(0, spread["brightness"]) + rng.normal(0, spread["gains"], size=3))
    return Optics(
        gains=(float(red), float(green), float(blue)),
        drift=spread["drift"],
        gamma=float(np.exp(rng.normal(0, spread["gamma"]))),
        saturation=float(np.exp(rng.normal(-0.5 * spread["saturation"], spread["saturation"]))),
        lift=abs(rng.normal(0, spread["lift"])),
        blur=rng.uniform(0.003, 0.009),
        noise=rng.uniform(0.006, 0.025),
        quality=int(rng.integers(68, 93)),
    )


def transfer_colours(image: Plane, optics: Optics) -> Plane:
    """Apply gains, saturation and gamma to an image in [0, 1] [rows, columns, 3]."""
    red, green, blue = (image[:, :, channel] for channel in range(3))
    grey = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    changed = np.float32(optics.saturation) * image + np.float32(1 - optics.saturation) * grey[:, :, None]
    changed *= np.array(optics.gains, np.float32)
    np.clip(changed, 0, 1, out=changed)
    np.power(changed, np.float32(optics.gamma), out=changed)
    return changed * np.float32(1 - optics.lift) + np.float32(optics.lift)


def expose(image: Plane, optics: Optics, rng: Generator) -> bytes:
    """Turn an image in [0, 1] into the JPEG file that this camera stores."""
    balance = np.exp(rng.normal(0, optics.drift, size=3)).astype(np.float32)
    seen = transfer_colours(image * balance, optics)
    seen += np.float32(optics.noise) * rng.standard_normal(image.shape, dtype=np.float32)
    np.clip(seen, 0, 1, out=seen)
    pixels = Image.fromarray((seen * 255 + 0.5).astype(np.uint8))
    distance = float(np.exp(rng.normal(0, BLUR_SPREAD)))
    pixels = pixels.filter(ImageFilter.GaussianBlur(optics.blur * distance * image.shape[0]))
    file = io.BytesIO()
    pixels.save(file, format="JPEG", quality=optics.quality)
    return file.getvalue()
