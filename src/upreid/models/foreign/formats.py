"""A format: how it is recognised, the rules that rename its tensors, and what its weights do not show.

The formats themselves stand in `vit_formats.py` and `resnet_formats.py`, and the rules in `rules.py`. Names are those of
`naming.py`: the encoder's own tensors begin with `backbone/`.
"""

from dataclasses import dataclass
from typing import Literal

from upreid.models.foreign.rules import Rules
from upreid.models.foreign.statistics import Statistics


@dataclass(frozen=True, kw_only=True)
class Format:
    """One row of a table of formats."""

    name: str
    marks: tuple[str, ...]
    """Patterns, each of which some tensor's name matches."""
    backbones: tuple[str, ...]
    """Networks that it may hold; which one is told by shapes."""
    absent: tuple[str, ...] = ()
    """Patterns that no tensor's name matches."""
    roles: tuple[str, ...] = ()
    """Roles, one of which the encoder has; any where there are none."""
    rules: Rules = ()
    statistics: Statistics | None = None
    """Statistics of its images; where there are none, the file's name decides."""
    size: tuple[int, int] = (256, 128)
    """Height and width of its images, where the file does not show them."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    last_stride: Literal[1, 2] | None = None
    """Stride of a ResNet's last stage; None is the network's own, 2."""
    note: str = ""
    """What no weight shows, and the format decides."""

    @property
    def neck(self) -> Literal["after", "before"]:
        """Return the side of the neck from which its program takes features: all that grew from TransReID's, before it."""
        return "before" if self.name.startswith(("TransReID", "PASS", "SOLIDER", "CLIP-ReID")) else "after"
