"""Who somebody is: everything about a person that stays the same from camera to camera."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from upreid.synthetic.draw import pick
from upreid.synthetic.palette import (
    ACCESSORY_SHARES,
    Colour,
    cloth_colour,
    contrasting_colour,
    hair_colour,
    skin_colour,
)

UPPER_TEXTURES = {"plain": 70, "stripes": 8, "pinstripes": 3, "checks": 6, "dots": 2, "camouflage": 2, "blocks": 9}
LOWER_TEXTURES = {"plain": 90, "pinstripes": 1, "checks": 2, "dots": 1, "camouflage": 2, "piping": 4}
HAIR_STYLES = {"bald": 6, "short": 40, "bob": 14, "long": 18, "ponytail": 10, "bun": 6, "cap": 6}
BAGS = {"none": 42, "backpack": 24, "shoulder": 18, "handbag": 9, "carrier": 7}


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
    """Shirt, jacket or coat. `sleeve`: 0 shoulder, 1 elbow, 2 wrist; `hem`: height as a share of stature."""

    cloth: Cloth
    sleeve: float
    sleeve_colour: Colour | None
    hem: float
    inner: Colour | None
    logo: Logo | None


@dataclass(frozen=True, kw_only=True)
class Lower:
    """Trousers, shorts or skirt. `length`: 0 hip, 1 knee, 2 ankle; below it `leg` shows."""

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


def draw_identity(rng: Generator) -> Identity:
    """Draw a person."""
    skin = skin_colour(rng)
    style = pick(rng, HAIR_STYLES)
    return Identity(
        build=draw_build(rng),
        skin=skin,
        hair=cloth_colour(rng, ACCESSORY_SHARES) if style == "cap" else hair_colour(rng),
        hair_style=style,
        upper=draw_upper(rng),
        lower=draw_lower(rng, skin),
        shoes=cloth_colour(rng, ACCESSORY_SHARES),
        boot=float(rng.choice([0.0, 0.0, 0.0, 0.0, 0.25, 0.6])),
        bag=pick(rng, BAGS),
        bag_colour=cloth_colour(rng, ACCESSORY_SHARES),
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


def draw_cloth(rng: Generator, textures: dict[str, int]) -> Cloth:
    """Draw a texture and its colours."""
    ground = cloth_colour(rng)
    second = contrasting_colour(rng, ground)
    return Cloth(
        texture=pick(rng, textures),
        colours=(ground, second, contrasting_colour(rng, second)),
        period=rng.uniform(0.07, 0.17),
        phase=rng.random(),
    )


def draw_upper(rng: Generator) -> Upper:
    """Draw what is worn above; one in eight wears a long coat."""
    cloth = draw_cloth(rng, UPPER_TEXTURES)
    is_coat, is_open, has_logo, has_sleeves = rng.random(4) < (0.13, 0.15, 0.4, 0.06)
    sleeve = 2.0 if is_coat else float(rng.choice([0.25, 0.6, 0.75, 1.3, 2.0, 2.0, 2.0]))
    ground = cloth.colours[0]
    return Upper(
        cloth=cloth,
        sleeve=sleeve,
        sleeve_colour=contrasting_colour(rng, ground) if has_sleeves else None,
        hem=rng.uniform(0.3, 0.42) if is_coat else rng.uniform(0.48, 0.57),
        inner=contrasting_colour(rng, ground) if is_open else None,
        logo=draw_logo(rng, ground) if has_logo else None,
    )


def draw_logo(rng: Generator, ground: Colour) -> Logo:
    """Draw a bitmap of 4 x 4 cells, about half of them printed."""
    bitmap = rng.random((4, 4)) < 0.6
    size = rng.uniform(0.16, 0.28)
    return Logo(bitmap=bitmap, colour=contrasting_colour(rng, ground), size=size, is_on_back=rng.random() < 0.5)


def draw_lower(rng: Generator, skin: Colour) -> Lower:
    """Draw what is worn below."""
    cloth = draw_cloth(rng, LOWER_TEXTURES)
    kind = pick(rng, {"trousers": 66, "cropped": 8, "shorts": 12, "skirt": 14})
    low, high = {"trousers": (1.9, 2.0), "cropped": (1.45, 1.7), "shorts": (0.5, 1.0), "skirt": (0.5, 1.6)}[kind]
    has_tights = kind == "skirt" and rng.random() < 0.45
    leg = cloth_colour(rng, ACCESSORY_SHARES) if has_tights else skin
    return Lower(cloth=cloth, is_skirt=kind == "skirt", length=rng.uniform(low, high), leg=leg)
