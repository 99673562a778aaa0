"""Presets: the numbers of each augmentation, and where they come from."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What may happen to one view of an image, in this order; a probability of 0 switches a step off."""

    crop_area: tuple[float, float] = (1.0, 1.0)
    """Share of the file's area that a crop keeps."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width / height of a crop in the file's pixels, log-uniform, as in torchvision."""
    jitter_probability: float = 0.0
    brightness: float = 0.0
    """Range x of a factor from 1 - x to 1 + x; likewise for contrast and saturation."""
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    """Range x of a turn from -x to x, in parts of the colour circle."""
    grey_probability: float = 0.0
    blur_probability: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Standard deviation of the Gaussian, in pixels of the view."""
    flip_probability: float = 0.0
    erase_probability: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.6)
    """Share of the view that a box covers; filled with 0 after normalisation: the mean colour."""
    erase_ratio: tuple[float, float] = (0.3, 3.33)
    """Height / width of that box, log-uniform, as in torchvision."""


LUPERSON = Augmentation(
    crop_area=(0.2, 1.0),
    grey_probability=0.2,
    blur_probability=0.5,
    flip_probability=0.5,
    erase_probability=0.5,
)
"""`ori-cj+sre` of LUPerson: MoCo v2 without colour jitter, with strong erasing.

Source: DengpanFu/LUPerson, lup_moco/libs/transform.py at d5fa344.
"""

JITTER = Augmentation(jitter_probability=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
"""Colour jitter of MoCo v2 (facebookresearch/moco, main_moco.py)."""


def with_jitter(augmentation: Augmentation) -> Augmentation:
    """Add the colour jitter of MoCo v2."""
    return replace(
        augmentation,
        jitter_probability=JITTER.jitter_probability,
        brightness=JITTER.brightness,
        contrast=JITTER.contrast,
        saturation=JITTER.saturation,
        hue=JITTER.hue,
    )


PERSON = replace(LUPERSON, crop_area=(0.64, 1.0), crop_ratio=(1 / 3, 1 / 2))
"""LUPerson's numbers with its `reid` crop: area 0.64-1 and sides 2-3, so that a view shows a whole person.

Reading: 2-3 is height / width, as persons are; torchvision's ratio is width / height, hence 1/3-1/2.
"""

PRESETS: dict[str, Augmentation] = {
    "luperson": LUPERSON,
    "luperson-jitter": with_jitter(LUPERSON),
    "person": PERSON,
    "person-jitter": with_jitter(PERSON),
}

PATCH = Augmentation(
    jitter_probability=0.8,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    grey_probability=0.1,
    blur_probability=0.3,
    blur_sigma=(0.1, 1.0),
    erase_probability=0.3,
    erase_area=(0.02, 0.2),
)
"""Augmentation of each patch version by itself: mild, because a patch must stay recognisable.

Ours: half of MoCo's jitter without hue (clothing colour is the clue), blur and erasing at half strength. Crop and
flip have no place here: they would move the body part that the patch's position stands for.
"""

PATCH_PRESETS: dict[str, Augmentation] = {"mild": PATCH, "jitter": with_jitter(PATCH)}
"""Patch presets by name: `jitter` has all of MoCo's jitter, hue too, so that the light of a camera is no clue to a patch."""
