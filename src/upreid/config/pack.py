"""The knobs of `upreid pack`."""

from dataclasses import dataclass
from pathlib import Path

from upreid.data.settings import UnlabelledSet


@dataclass(frozen=True, kw_only=True)
class PackConfig(UnlabelledSet):
    """Pack images into tar shards that training reads at random; any source that `upreid pretrain` takes."""

    src: Path
    """Folder of images, lmdb, tar archives, or a packed set."""
    out: Path
    """Folder to write to; the same line goes on after an interruption, and verifies a pack that is finished."""
    height: int | None = None
    """Shrink images that are higher than so many pixels; none is enlarged."""
    width: int | None = None
    """Shrink images that are wider than so many pixels; none is enlarged."""
    quality: int | None = None
    """Re-encode every image as a JPEG of this quality; without it only those that are shrunk, at 95."""
    shard_size: int = 10_000
    """Images per shard."""
    workers: int | None = None
    """Processes; all cores where not given."""
