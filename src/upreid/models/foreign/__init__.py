"""Weights made elsewhere, as the start of a fine-tuning: read without unpickling, renamed, and counted."""

from upreid.models.foreign.fitting import load_into
from upreid.models.foreign.reading import Foreign, read_checkpoint
from upreid.models.foreign.tags import from_tag

__all__ = ["Foreign", "from_tag", "load_into", "read_checkpoint"]
