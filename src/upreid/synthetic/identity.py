"""Identities: everything about a person that stays the same from camera to camera.

Colours are sRGB in [0, 1]. Most clothes are black, grey, white or blue, so that many strangers share similar colours, as
in real streets (ours).
"""

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Colour = tuple[float, float, float]

CLOTH_SHARES = {"black": 32, "grey": 20, "white": 13, "navy": 14, "denim": 11, "earth": 6, "olive": 2, "vivid": 2}
"""Rough shares of garment colours; hue, saturation and value of each follow in `CLOTH`."""
CLOTH = {
    "black": ((0.0, 1.0), (0.0, 0.12), (0.08, 0.18)),
    "grey": ((0.5, 0.7), (0.0, 0.1), (0.3, 0.6)),
    "white": ((0.05, 0.16), (0.0, 0.07), (0.8, 0.92)),
    "navy": ((0.61, 0.67), (0.35, 0.6), (0.17, 0.32)),
    "denim": ((0.57, 0.61), (0.3, 0.5), (0.38, 0.6)),
    "earth": ((0.07, 0.11), (0.3, 0.5), (0.3, 0.7)),
    "olive": ((0.2, 0.35), (0.2, 0.45), (0.22, 0.42)),
    "vivid": ((0.0, 1.0), (0.55, 0.8), (0.45, 0.8)),
}
ACCESSORY_SHARES = {"black": 50, "grey": 16, "white": 14, "navy": 6, "earth": 9, "vivid": 5}
"""Rough shares of the colours of shoes, bags and caps, which are duller than garments."""
SKIN_DARK, SKIN_LIGHT = (0.30, 0.19, 0.13), (0.93, 0.74, 0.62)
HAIR = {"black": (0.07, 0.06, 0.06), "brown": (0.25, 0.16, 0.1), "blond": (0.68, 0.54, 0.32)}
HAIR |= {"red": (0.45, 0.2, 0.1), "grey": (0.58, 0.57, 0.56)}
HAIR_SHARES = {"black": 48, "brown": 34, "blond": 9, "red": 2, "grey": 7}

UPPER_TEXTURES = {"plain": 70, "stripes": 8, "pinstripes": 3, "checks": 6, "dots": 2, "camouflage": 2, "blocks": 9}
LOWER_TEXTURES = {"plain": 90, "pinstripes": 1, "checks": 2, "dots": 1, "camouflage": 2, "piping": 4}
HAIR_STYLES = {"bald": 6, "short": 40, "bob": 14, "long": 18, "ponytail": 10, "bun": 6, "cap": 6}
BAGS = {"none": 42, "backpack": 24, "shoulder": 18, "handbag": 9, "carrier": 7}


@dataclass(frozen=True, kw_only=True)
class Wardrobe:
    """What people wear: rough shares of colours and textures."""

    upper: dict[str, int]
    """Colours of shirts, jackets, coats, and of what is printed on clothes."""
    lower: dict[str, int]
    """Colours of trousers and skirts."""
    accessory: dict[str, int]
    """Colours of shoes, bags and caps."""
    ranges: dict[str, tuple[tuple[float, float], ...]]
    """Hue, saturation and value of each colour."""
    upper_textures: dict[str, int]
    lower_textures: dict[str, int]
    logos: float
    """Share of people with a print on chest or back."""


BRIGHT = Wardrobe(
    upper=CLOTH_SHARES,
    lower=CLOTH_SHARES,
    accessory=ACCESSORY_SHARES,
    ranges=CLOTH,
    upper_textures=UPPER_TEXTURES,
    lower_textures=LOWER_TEXTURES,
    logos=0.4,
)
"""The clothes of version 1."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """Body measures; `stature` in metres, the rest relative to an average body."""

    stature: float
    girth: float
    shoulders: float
    hips: float
    legs: float


@dataclass(frozen=True, kw_only=True)
class Cloth:
    """A woven surface: one texture in up to three colours; `period` in metres."""

    texture: str
    colours: tuple[Colour, Colour, Colour]
    period: float
    phase: float


@dataclass(frozen=True, kw_only=True)
class Logo:
    """A print on chest or back: a small bitmap, `size` metres wide."""

    bitmap: NDArray[np.bool_]
    colour: Colour
    size: float
    is_on_back: bool


@dataclass(frozen=True, kw_only=True)
class Upper:
    """A shirt, jacket or coat. `sleeve`: 0 shoulder, 1 elbow, 2 wrist; `hem`: height as a share of stature."""

    cloth: Cloth
    sleeve: float
    sleeve_colour: Colour | None
    hem: float
    inner: Colour | None
    logo: Logo | None


@dataclass(frozen=True, kw_only=True)
class Lower:
    """Trousers, shorts or a skirt. `length`: 0 hip, 1 knee, 2 ankle; below it the colour `leg` shows."""

    cloth: Cloth
    is_skirt: bool
    length: float
    leg: Colour


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One person. `boot`: how far the shoes reach up the shank, in shanks."""

    build: Build
    skin: Colour
    hair: Colour
    hair_style: str
    upper: Upper
    lower: Lower
    shoes: Colour
    boot: float
    bag: str
    bag_colour: Colour


def draw_identity(rng: Generator, wardrobe: Wardrobe = BRIGHT) -> Identity:
    """Draw a person."""
    skin = skin_colour(rng)
    style = pick(rng, HAIR_STYLES)
    return Identity(
        build=draw_build(rng),
        skin=skin,
        hair=cloth_colour(rng, wardrobe.accessory, wardrobe) if style == "cap" else hair_colour(rng),
        hair_style=style,
        upper=draw_upper(rng, wardrobe),
        lower=draw_lower(rng, skin, wardrobe),
        shoes=cloth_colour(rng, wardrobe.accessory, wardrobe),
        boot=float(rng.choice([0.0, 0.0, 0.0, 0.0, 0.25, 0.6])),
        bag=pick(rng, BAGS),
        bag_colour=cloth_colour(rng, wardrobe.accessory, wardrobe),
    )


def draw_build(rng: Generator) -> Build:
    """Draw body measures."""
    return Build(
        stature=float(np.clip(rng.normal(1.71, 0.1), 1.48, 1.96)),
        girth=float(np.clip(rng.normal(1.06, 0.13), 0.82, 1.42)),
        shoulders=rng.uniform(0.92, 1.1),
        hips=rng.uniform(0.92, 1.1),
        legs=rng.uniform(0.96, 1.05),
    )


def draw_cloth(rng: Generator, textures: dict[str, int], shares: dict[str, int], wardrobe: Wardrobe) -> Cloth:
    """Draw a texture and its colours."""
    ground = cloth_colour(rng, shares, wardrobe)
    second = contrasting_colour(rng, ground, wardrobe)
    return Cloth(
        texture=pick(rng, textures),
        colours=(ground, second, contrasting_colour(rng, second, wardrobe)),
        period=rng.uniform(0.07, 0.17),
        phase=rng.random(),
    )


def draw_upper(rng: Generator, wardrobe: Wardrobe) -> Upper:
    """Draw what is worn on the upper body; one person in eight wears a long coat."""
    cloth = draw_cloth(rng, wardrobe.upper_textures, wardrobe.upper, wardrobe)
    is_coat, is_open, has_logo, has_sleeves = rng.random(4) < (0.13, 0.15, wardrobe.logos, 0.06)
    sleeve = 2.0 if is_coat else float(rng.choice([0.25, 0.6, 0.75, 1.3, 2.0, 2.0, 2.0]))
    ground = cloth.colours[0]
    return Upper(
        cloth=cloth,
        sleeve=sleeve,
        sleeve_colour=contrasting_colour(rng, ground, wardrobe) if has_sleeves else None,
        hem=rng.uniform(0.3, 0.42) if is_coat else rng.uniform(0.48, 0.57),
        inner=contrasting_colour(rng, ground, wardrobe) if is_open else None,
        logo=draw_logo(rng, ground, wardrobe) if has_logo else None,
    )


def draw_logo(rng: Generator, ground: Colour, wardrobe: Wardrobe) -> Logo:
    """Draw a bitmap of 4 x 4 cells, about half of them printed."""
    bitmap = rng.random((4, 4)) < 0.6
    size = rng.uniform(0.16, 0.28)
    return Logo(
        bitmap=bitmap, colour=contrasting_colour(rng, ground, wardrobe), size=size, is_on_back=rng.random() < 0.5
    )


def draw_lower(rng: Generator, skin: Colour, wardrobe: Wardrobe) -> Lower:
    """Draw what is worn on the lower body."""
    cloth = draw_cloth(rng, wardrobe.lower_textures, wardrobe.lower, wardrobe)
    kind = pick(rng, {"trousers": 66, "cropped": 8, "shorts": 12, "skirt": 14})
    low, high = {"trousers": (1.9, 2.0), "cropped": (1.45, 1.7), "shorts": (0.5, 1.0), "skirt": (0.5, 1.6)}[kind]
    has_tights = kind == "skirt" and rng.random() < 0.45
    leg = cloth_colour(rng, wardrobe.accessory, wardrobe) if has_tights else skin
    return Lower(cloth=cloth, is_skirt=kind == "skirt", length=rng.uniform(low, high), leg=leg)


def cloth_colour(rng: Generator, shares: dict[str, int], wardrobe: Wardrobe) -> Colour:
    """Draw the colour of a garment."""
    ranges = wardrobe.ranges[pick(rng, shares)]
    hue, saturation, value = (rng.uniform(low, high) for low, high in ranges)
    return colorsys.hsv_to_rgb(hue, saturation, value)


def contrasting_colour(rng: Generator, ground: Colour, wardrobe: Wardrobe) -> Colour:
    """Draw a second colour that can be told from the first."""
    for _ in range(12):
        colour = cloth_colour(rng, wardrobe.upper, wardrobe)
        if sum(abs(a - b) for a, b in zip(colour, ground, strict=True)) > 0.7:
            return colour
    light = sum(ground) > 1.5
    return (0.12, 0.12, 0.14) if light else (0.88, 0.87, 0.84)


def skin_colour(rng: Generator) -> Colour:
    """Draw a skin colour between dark and light."""
    light = rng.beta(2.2, 1.2)
    red, green, blue = (d + light * (w - d) for d, w in zip(SKIN_DARK, SKIN_LIGHT, strict=True))
    return red, green, blue


def hair_colour(rng: Generator) -> Colour:
    """Draw a natural hair colour, a little lighter or darker."""
    shade = rng.uniform(0.8, 1.2)
    red, green, blue = (min(channel * shade, 1.0) for channel in HAIR[pick(rng, HAIR_SHARES)])
    return red, green, blue


def pick(rng: Generator, weights: dict[str, int]) -> str:
    """Draw a name with probability proportional to its weight."""
    names, shares = list(weights), np.cumsum(list(weights.values()))
    return names[int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))]
