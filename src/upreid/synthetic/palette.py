"""Colours that people wear and have: sRGB in [0, 1].

Most clothes are black, grey, white or blue, so many strangers share similar colours, as in real streets (ours).
"""

import colorsys

from numpy.random import Generator

from upreid.synthetic.draw import pick

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
"""Shoes, bags and caps are duller still."""
SKIN_DARK, SKIN_LIGHT = (0.30, 0.19, 0.13), (0.93, 0.74, 0.62)
HAIR = {"black": (0.07, 0.06, 0.06), "brown": (0.25, 0.16, 0.1), "blond": (0.68, 0.54, 0.32)}
HAIR |= {"red": (0.45, 0.2, 0.1), "grey": (0.58, 0.57, 0.56)}
HAIR_SHARES = {"black": 48, "brown": 34, "blond": 9, "red": 2, "grey": 7}


def cloth_colour(rng: Generator, shares: dict[str, int] = CLOTH_SHARES) -> Colour:
    """Draw the colour of a garment."""
    ranges = CLOTH[pick(rng, shares)]
    hue, saturation, value = (rng.uniform(low, high) for low, high in ranges)
    return colorsys.hsv_to_rgb(hue, saturation, value)


def contrasting_colour(rng: Generator, ground: Colour) -> Colour:
    """Draw a second colour that can be told from the first."""
    for _ in range(12):
        colour = cloth_colour(rng)
        if sum(abs(a - b) for a, b in zip(colour, ground, strict=True)) > 0.7:
            return colour
    light = sum(ground) > 1.5
    return (0.12, 0.12, 0.14) if light else (0.88, 0.87, 0.84)


def skin_colour(rng: Generator) -> Colour:
    """Draw between dark and light."""
    light = rng.beta(2.2, 1.2)
    red, green, blue = (d + light * (w - d) for d, w in zip(SKIN_DARK, SKIN_LIGHT, strict=True))
    return red, green, blue


def hair_colour(rng: Generator) -> Colour:
    """Draw a natural colour, a little lighter or darker."""
    shade = rng.uniform(0.8, 1.2)
    red, green, blue = (min(channel * shade, 1.0) for channel in HAIR[pick(rng, HAIR_SHARES)])
    return red, green, blue
