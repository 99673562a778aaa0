"""One image on its way into a shard: checked, shrunk and encoded if asked to, and named."""

import io
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image

from upreid.data.decode import decode_bytes
from upreid.data.sources.source import Source, place

CHECK_SIZE = 32, 16
"""Height and width: a JPEG is read to its last byte at an eighth of its size, which is what takes the time."""

QUALITY = 95
"""Of a JPEG that had to be shrunk, where none was asked for."""

LONGEST_STEM = 60
"""Letters; with number and suffix a name stays under the 100 bytes of the oldest tar format."""

BEGINNINGS = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"BM": "bmp", b"RIFF": "webp"}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How images are stored; None: as they are."""

    height: int | None
    width: int | None
    quality: int | None


def content_of(source: Source, index: int, shape: Shape) -> bytes:
    """Return the bytes to store: the file's own where nothing has to change. `UnreadableImage` where it is no picture."""
    content, name = source.read(index), place(source, index)
    encodes = shape.quality is not None
    if shape.height is None and shape.width is None and not encodes:
        decode_bytes(content, name, target=CHECK_SIZE)
        return content
    pixels, size = decode_bytes(content, name, target=_room(shape))
    height, width = min(size[0], shape.height or size[0]), min(size[1], shape.width or size[1])
    if (height, width) == size and not encodes:
        return content
    picture = Image.fromarray(pixels)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=shape.quality or QUALITY)
    return file.getvalue()


def _room(shape: Shape) -> tuple[int, int] | None:
    """Let the decoder shrink where both sides have a limit."""
    return None if shape.height is None or shape.width is None else (shape.height, shape.width)


def member_name(index: int, name: str, content: bytes) -> str:
    """A key as webdataset reads it (up to the first dot), unique by its number and safe on every system, and a suffix."""
    stem = PurePosixPath(name).name.partition(".")[0]
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", stem)[:LONGEST_STEM]
    suffix = next((suffix for beginning, suffix in BEGINNINGS.items() if content.startswith(beginning)), "img")
    return f"{index:09d}-{safe}.{suffix}"
