"""Weights made elsewhere, to start a fine-tuning from: read without running code, renamed, and checked to be complete."""

from upreid.models.foreign.fitting import load_into
from upreid.models.foreign.reading import Foreign, read_checkpoint
from upreid.models.foreign.tags import from_tag

__all__ = ["Foreign", "from_tag", "load_into", "read_checkpoint"]
