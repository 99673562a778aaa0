"""Weights made elsewhere: read without running code, renamed, checked to be complete; and ours, written for other programs."""

from upreid.models.foreign.fitting import load_into
from upreid.models.foreign.making import make_encoder
from upreid.models.foreign.reading import Choices, Foreign, read_checkpoint
from upreid.models.foreign.tags import from_tag

__all__ = ["Choices", "Foreign", "from_tag", "load_into", "make_encoder", "read_checkpoint"]
