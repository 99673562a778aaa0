"""Augmentation of whole batches, on the device of the batch."""

from upreid.data.augment.patches import PatchGrid
from upreid.data.augment.presets import PATCH_PRESETS, PRESETS, Augmentation
from upreid.data.augment.views import (
    Augment,
    CropBox,
    FirstOfGroups,
    OriginalView,
    PatchView,
    StrongView,
    TrackletNumber,
    ViewRequest,
)

__all__ = [
    "PATCH_PRESETS",
    "PRESETS",
    "Augment",
    "Augmentation",
    "CropBox",
    "FirstOfGroups",
    "OriginalView",
    "PatchGrid",
    "PatchView",
    "StrongView",
    "TrackletNumber",
    "ViewRequest",
]
