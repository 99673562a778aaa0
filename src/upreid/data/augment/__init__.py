"""Augmentation of whole batches, on the device of the batch."""

from upreid.data.augment.patches import PatchGrid
from upreid.data.augment.presets import PRESETS, Augmentation
from upreid.data.augment.views import Augment

__all__ = ["PRESETS", "Augment", "Augmentation", "PatchGrid"]
