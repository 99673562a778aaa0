"""From a file to 8-bit RGB pixels, whatever the file holds; or one exception that says why not."""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import ExifTags, Image

LIMIT_PIXELS = 64_000_000
"""Larger pictures are refused from their header alone: 64 million pixels take 192 MB, and no person crop has them."""

BACKGROUND = (128, 128, 128)
"""Colour behind transparent pixels: mid-grey, near the mean of photographs, so that it says little."""

HEADROOM = 2
"""Pictures are kept at up to twice the wanted size, so that a crop of a quarter of the area still has full detail."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What each EXIF orientation asks for; from 5 on, height and width change places."""


JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xae\x42\x60\x82"


WAITING = ("JPEG", "MPO")
"""Formats that are not decoded before it is known how large they are wanted."""


class UnreadableImage(Exception):  # noqa: N818 - a state of the file, reported and skipped; the run goes on
    """A file that is no picture we can use; `reason` fits on a line."""

    def __init__(self, name: Path | str, reason: str) -> None:
        super().__init__(f"'{name}': {reason}")
        self.name, self.reason = str(name), reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.name, self.reason)


def decode_bytes(
    content: bytes, name: str, *, target: tuple[int, int] | None = None, limit_pixels: int = LIMIT_PIXELS
) -> tuple[UInt8[np.ndarray, "height width 3"], tuple[int, int]]:
    """Read a picture as 8-bit RGB, and the file's own (height, width); `name` is what it is called when it fails.

    - `target` (height, width): a picture larger than `HEADROOM` times this is shrunk to that, each axis by itself,
      by the JPEG decoder as far as it goes and then by antialiased bilinear resizing. Crop boxes are drawn in the
      file's own size, which is what is returned.
    - EXIF orientation is applied: people stand upright as a viewer shows them, and the size is the upright one. A tag that is
      none (outside 1 to 8, or of another type than a number) changes nothing.
    - Transparency is laid over `BACKGROUND`. 16-bit grey is scaled by 1/257, not clipped. CMYK and the rest as
      Pillow converts them. Of an animation the first frame counts.
    - What a PNG says beside its pixels (texts, profiles) never makes it unreadable.

    Raises `UnreadableImage` for anything else: empty, cut short, not a picture, over `limit_pixels`.
    """
    with _one_reason(name):
        try:
            return _decode(content, name, target, limit_pixels)
        except UnreadableImage:
            raise
        except Exception:
            if not content.startswith(PNG):
                raise
            return _decode(without_remarks(content), name, target, limit_pixels)


def decode_image(
    image: Image.Image, name: str, *, target: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the pixels that `decode_bytes` gives of the file of an opened picture, which stays as it is.

    A JPEG that has not been decoded yet is read from its file again, because large ones are shrunk while they are decoded;
    of one that has been decoded, the whole is shrunk.
    """
    with _one_reason(name):
        file = getattr(image, "fp", None)
        if image.format in WAITING and getattr(image, "tile", ()) and file is not None and file.seekable():
            at = file.tell()
            file.seek(0)
            content = file.read()
            file.seek(at)
            return decode_bytes(content, name, target=target)[0]
        _check_size(image, name, LIMIT_PIXELS)
        image.load()
        return _upright(image, name, _orientation(image), _room(target))


def check_picture(content: bytes, name: str) -> None:
    """Raise `UnreadableImage` where a file is no picture; one is decoded only if it does not end as a whole JPEG or PNG ends."""
    is_whole = content.startswith(JPEG) and content.rstrip(b"\0\r\n").endswith(JPEG_END)
    if not is_whole and not (content.startswith(PNG) and content.endswith(PNG_END)):
        decode_bytes(content, name, target=(64, 32))
        return
    try:
        with _one_reason(name), Image.open(io.BytesIO(content)) as image:
            _check_size(image, name, LIMIT_PIXELS)
    except UnreadableImage:
        decode_bytes(content, name, target=(64, 32))


@contextmanager
def _one_reason(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into `UnreadableImage`; Pillow's raise OSError, SyntaxError, struct.error and more."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd metadata: the pixels decide whether a file is usable
            yield
    except UnreadableImage:
        raise
    except Exception as error:
        words = re.sub(r"<_io\.BytesIO[^>]*>", "file", f"{type(error).__name__}: {error}")
        raise UnreadableImage(name, " ".join(words.split())) from error


def _decode(
    content: bytes, name: str, target: tuple[int, int] | None, limit_pixels: int
) -> tuple[UInt8[np.ndarray, "height width 3"], tuple[int, int]]:
    room = _room(target)
    with Image.open(io.BytesIO(content)) as image:
        _check_size(image, name, limit_pixels)
        if image.format not in WAITING:
            image.load()  # before metadata are asked for, whose faults do not count; this also turns a TIFF
        orientation = _orientation(image)
        is_on_its_side = orientation >= 5
        width, height = image.size
        if room is not None:
            height_of_room, width_of_room = room[::-1] if is_on_its_side else room
            image.draft("", (width_of_room, height_of_room))
        pixels = _upright(image, name, orientation, room)
    return pixels, ((width, height) if is_on_its_side else (height, width))


def _room(target: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return the height and width that a picture may keep."""
    return None if target is None else (HEADROOM * target[0], HEADROOM * target[1])


def _upright(
    image: Image.Image, name: str, orientation: int, room: tuple[int, int] | None
) -> UInt8[np.ndarray, "height width 3"]:
    """Convert a picture to RGB, turn it, and shrink it to `room`."""
    rgb = _to_rgb(name, image)
    if orientation in TURNS:
        rgb = rgb.transpose(TURNS[orientation])
    return np.asarray(rgb if room is None else _shrink(rgb, room))


def _check_size(image: Image.Image, name: str, limit_pixels: int) -> None:
    width, height = image.size
    if width * height > limit_pixels:
        raise UnreadableImage(name, f"{height}x{width} is over the limit of {limit_pixels / 1e6:g} million pixels")


def _orientation(image: Image.Image) -> int:
    """Return how the camera was held, from 1 to 8; 1 where the tag is missing, damaged, or no such number, and for a TIFF,
    which Pillow turns itself."""
    if image.format == "TIFF":
        return 1
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata; the pixels decide whether a file is usable
        return 1
    return value if isinstance(value, int) and value in TURNS else 1


def without_remarks(content: bytes) -> bytes:
    """Leave out of a PNG what is not about its pixels: Pillow gives up over a long text or a damaged profile."""
    kept, at = [content[: len(PNG)]], len(PNG)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        kind = content[at + 4 : at + 8]
        is_remark = kind.isalpha() and kind[:1].islower() and kind not in (b"tRNS", b"eXIf")
        if not is_remark:
            kept.append(content[at:end])
        at = end
    return b"".join([*kept, content[at:]])


def _shrink(image: Image.Image, room: tuple[int, int]) -> Image.Image:
    size = min(image.width, room[1]), min(image.height, room[0])
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


def _to_rgb(name: str, image: Image.Image) -> Image.Image:
    """Convert any mode of Pillow that a photograph may come in."""
    if image.mode == "F":
        raise UnreadableImage(name, "floating-point pixels have no defined white; save as 8 or 16 bit")
    if image.mode.startswith("I"):
        return _from_16_bit(name, image)
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        canvas = Image.new("RGBA", picture.size, (*BACKGROUND, 255))
        canvas.alpha_composite(picture)
        return canvas.convert("RGB")
    return image.convert("RGB")


def _from_16_bit(name: str, image: Image.Image) -> Image.Image:
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > 0xFFFF:
        raise UnreadableImage(name, "32-bit integer pixels have no defined white; save as 8 or 16 bit")
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
