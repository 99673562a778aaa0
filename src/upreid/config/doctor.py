"""The knobs of `upreid doctor`."""

from dataclasses import dataclass

from upreid.data.settings import LabelledSet


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(LabelledSet):
    """Check a labelled set before hours are spent on it."""

    quick: bool = False
    """Leave out what reads every image."""
