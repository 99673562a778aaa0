"""Settings of heads, without torch, because the command line is built from them and the header of an encoder file too."""

from dataclasses import dataclass
from typing import Literal

from upreid.ranges import NotNegative, Pixels


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """Head on the backbone: its parts, its pooling, and what only some heads have."""

    name: Literal["bnneck", "mgn", "transreid"] = "bnneck"
    """Head: one part (bnneck, of BoT), eight parts (mgn), or a ViT's class token (transreid)."""
    pool: Literal["avg", "gem"] = "avg"
    """Pooling of a ResNet's last feature map: average or GeM."""
    embed_dim: Pixels = 256
    """Width of each of the eight features of MGN."""
    extra_bn: bool = False
    """BatchNorm on the feature map before pooling, for contrastively pre-trained ResNets (LUPerson)."""
    camera_weight: NotNegative = 0.0
    """Weight of the camera embedding of TransReID; 0 means that there is none."""
    jigsaw: bool = False
    """Jigsaw branch of TransReID, which looks at shuffled groups of patches."""


@dataclass(frozen=True, kw_only=True)
class HeadSettings(HeadOptions):
    """Everything that rebuilds a head; it travels in the encoder file's header."""

    cameras: tuple[int, ...] = ()
    """Cameras that have an embedding in TransReID."""
    published_jigsaw: bool = False
    """Whether the jigsaw cuts the patches as TransReID's code does, which shifts by one less and keeps all of them."""
