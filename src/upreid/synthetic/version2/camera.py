"""A surveillance camera: where it hangs, what light falls there, and what it does to colours and detail."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from upreid.synthetic.figure import Light
from upreid.synthetic.version2.texture import texture

Plane = NDArray[np.float32]
Spread = Callable[[str], float]
"""A normal number for each property of a camera, such that the cameras of a corpus spread evenly."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)

BRIGHTNESS, CAST, CROSSTALK, GAMMA, CONTRAST, SATURATION, LIFT = 0.15, 0.026, 0.03, 0.08, 0.1, 0.15, 0.025
"""Standard deviations between cameras, on a log scale except for crosstalk and lift."""
MEAN_BRIGHTNESS, MEAN_GAMMA, MEAN_CONTRAST, MEAN_SATURATION = 1.1, 1.0, 1.2, 0.85
WARMTH = (0.02, 0.0, -0.02)
"""Mean logarithm of the gains of red, green and blue."""
EXPOSURE_DRIFT, BALANCE_DRIFT = 0.12, 0.012
"""Standard deviations within a camera, on a log scale, from one person to the next."""
BLUR = (0.0015, 0.0055)
"""Standard deviation of the lens as a share of the image height."""
SHARPEN = (0.0, 1.6)
BLOTCHES = np.array([[1, 0, -1], [-0.5, 0.5, -0.5]], np.float32)
"""The two axes of colour: between red and blue, between green and magenta."""
NOISE = (0.006, 0.022)
CHROMA = (0.0025, 0.015)
"""Standard deviation of the blotches of colour that sensors and compression leave."""
QUALITY = (45, 88)


@dataclass(frozen=True, kw_only=True)
class Response:
    """What a camera does to colour and detail; a unit matrix and a gamma and contrast of 1 change nothing."""

    matrix: tuple[tuple[float, ...], ...]
    """Gains, crosstalk of the colour filters, and saturation at once."""
    gamma: float
    contrast: float
    """Slope at middle grey."""
    lift: float
    exposure_drift: float
    balance_drift: float
    blur: float
    sharpen: float
    noise: float
    chroma: float
    quality: int


@dataclass(frozen=True, kw_only=True)
class VideoCamera:
    """A fixed camera; `heading` is the yaw of people who walk along its street, in radians."""

    elevation: float
    heading: float
    light: Light
    response: Response


def draw_video_camera(rng: Generator, spread: Spread, strength: float) -> VideoCamera:
    """Draw a camera; with `strength` 0 all cameras have the same colours."""
    return VideoCamera(
        elevation=0.08 + 0.42 * share(spread("elevation")),
        heading=np.pi * share(spread("heading")),
        light=draw_video_light(spread),
        response=draw_response(rng, spread, strength),
    )


def share(number: float) -> float:
    """Turn a normal number into one that is even between 0 and 1."""
    return NormalDist().cdf(number)


def draw_video_light(spread: Spread) -> Light:
    """Draw the light of a place: from soft and grey to a low sun from one side."""
    azimuth, height = 3.2 * share(spread("azimuth")) - 1.6, 0.3 + share(spread("height of the sun"))
    direction = (np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height))
    strength = 0.1 + 0.8 * share(spread("sun"))
    return Light(direction=direction, strength=strength, ambient=1.02 - 0.6 * strength)


def draw_response(rng: Generator, spread: Spread, strength: float) -> Response:
    """Draw what the sensor and its software do."""
    brightness = np.log(MEAN_BRIGHTNESS) + strength * BRIGHTNESS * spread("brightness")
    blue, green = spread("blue"), 0.5 * spread("green")
    cast = np.array([0.5 * green - blue, -green, 0.5 * green + blue])  # daylight differs more in blue than in green
    gains = np.exp(brightness + np.array(WARMTH) + strength * CAST * cast)
    saturation = MEAN_SATURATION * np.exp(strength * SATURATION * spread("saturation"))
    mixing = np.eye(3) + strength * rng.normal(0, CROSSTALK, size=(3, 3))
    mixing /= mixing.sum(axis=1, keepdims=True)
    grey = np.tile(LUMA, (3, 1))
    matrix = gains[:, None] * ((saturation * np.eye(3) + (1 - saturation) * grey) @ mixing)
    return Response(
        matrix=tuple(tuple(map(float, row)) for row in matrix),
        gamma=MEAN_GAMMA * float(np.exp(strength * GAMMA * spread("gamma"))),
        contrast=MEAN_CONTRAST * float(np.exp(strength * CONTRAST * spread("contrast"))),
        lift=strength * abs(rng.normal(0, LIFT)),
        exposure_drift=EXPOSURE_DRIFT,
        balance_drift=strength * BALANCE_DRIFT,
        blur=rng.uniform(*BLUR),
        sharpen=rng.uniform(*SHARPEN),
        noise=rng.uniform(*NOISE),
        chroma=rng.uniform(*CHROMA),
        quality=int(rng.integers(*QUALITY)),
    )


def tone(image: Plane, response: Response) -> Plane:
    """Apply matrix, gamma and contrast to an image in [0, 1] [rows, columns, 3]."""
    changed = image @ np.array(response.matrix, np.float32).T
    np.clip(changed, 0, 1, out=changed)
    np.power(changed, np.float32(response.gamma), out=changed)
    if response.contrast != 1:
        changed = s_curve(changed, response.contrast)
    return changed * np.float32(1 - response.lift) + np.float32(response.lift)


def s_curve(values: Plane, contrast: float) -> Plane:
    """Raise the contrast at middle grey; 0, 0.5 and 1 stay where they are."""
    x = np.float32(2) * values - np.float32(1)
    size = np.abs(x)
    return np.float32(0.5) + np.float32(0.5) * x * np.float32(contrast) / (1 + np.float32(contrast - 1) * size)


def develop(image: Plane, response: Response, blur: float, rng: Generator) -> bytes:
    """Turn an image into the JPEG file that this camera stores; `blur` is the lens's for this person, in heights."""
    rows, columns = image.shape[:2]
    seen = tone(image, response)
    for colours in BLOTCHES:
        blotches = texture(rng, rows, columns, rows / 64)[:, :, None]
        seen *= 1 + np.float32(response.chroma) * blotches * colours
    pixels = Image.fromarray((np.clip(seen, 0, 1) * 255 + 0.5).astype(np.uint8))
    sigma = blur * rows
    if sigma > 0.25:
        pixels = pixels.filter(ImageFilter.GaussianBlur(sigma))
    if response.sharpen > 0.1:
        pixels = pixels.filter(ImageFilter.UnsharpMask(1.0, int(100 * response.sharpen), 0))
    grain = rng.standard_normal((rows, columns), dtype=np.float32)[:, :, None]
    noisy = np.asarray(pixels, np.float32) + np.float32(255 * response.noise) * grain
    file = io.BytesIO()
    Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(file, format="JPEG", quality=response.quality)
    return file.getvalue()
