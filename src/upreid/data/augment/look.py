"""The part of an augmentation that leaves places alone, in the order of MoCo v2, then LUPerson's erasing."""

from dataclasses import replace

import numpy as np

from upreid.data.augment.geometry import blur
from upreid.data.augment.jitter import jitter
from upreid.data.augment.parameters import Look
from upreid.data.augment.photometric import Images, erase, make_grey, normalise, rows_where
from upreid.types import Preprocess


def apply_look(images: Images, look: Look, preprocess: Preprocess) -> Images:
    """Jitter, grey, blur, normalise, erase; works in place on values from 0 to 255."""
    if look.jitter is not None:
        jitter(images, look.jitter)
    make_grey(images, look.is_grey)
    blurred = rows_where(look.sigma > 0, images.device)
    if len(blurred):
        soft = blur(images.index_select(0, blurred), look.sigma[look.sigma > 0])
        images.index_copy_(0, blurred, soft)
    normalise(images, preprocess.mean, preprocess.std)
    if look.erased is not None:
        erase(images, look.erased)  # after normalising: erased means the mean colour
    return images


def without_blur(look: Look) -> Look:
    """For images that were blurred while they were resized."""
    return replace(look, sigma=np.zeros_like(look.sigma))
