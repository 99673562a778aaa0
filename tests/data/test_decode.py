import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from upreid.data.decode import BACKGROUND, UnreadableImage, check_picture, decode_bytes

SIZE = 40, 20
"""Height and width."""


def decode(path, **options):
    return decode_bytes(path.read_bytes(), str(path), **options)


def photograph(height=40, width=20):
    coarse = np.random.default_rng(0).integers(0, 256, (5, 3, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def saved(folder, image, name="image.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "jfif", "png", "webp", "bmp", "tif", "TIFF", "JPG"])
def test_pictures_come_out_as_rgb_with_their_size(tmp_path, suffix):
    path = saved(tmp_path, photograph(), f"日本 é.{suffix}")
    pixels, size = decode(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (40, 20, 3)
    assert size == SIZE
    assert np.abs(pixels.astype(int) - np.asarray(photograph())).mean() < 6


def test_cmyk_is_converted(tmp_path):
    path = saved(tmp_path, photograph().convert("CMYK"), "a.jpg", quality=95)
    pixels, _ = decode(path)
    assert np.abs(pixels.astype(int) - np.asarray(photograph())).mean() < 6


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 800).astype(np.uint16).reshape(40, 20)
    path = saved(tmp_path, Image.fromarray(values))
    with Image.open(path) as image:
        assert image.mode.startswith("I")
    pixels, _ = decode(path)
    assert np.abs(pixels - values[:, :, None] / 257.0).max() <= 0.51


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_opaque_pictures_of_any_mode_keep_their_pixels(tmp_path, mode):
    image = photograph().convert(mode)
    pixels, _ = decode(saved(tmp_path, image))
    assert np.array_equal(pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_show_the_background(tmp_path, mode):
    values = np.asarray(photograph().convert(mode)).copy()
    values[:10, :, -1] = 0
    values[10:20, :, -1] = 128
    pixels, _ = decode(saved(tmp_path, Image.fromarray(values)))
    colour = np.asarray(photograph().convert(mode).convert("RGB")).astype(float)
    assert (pixels[:10] == BACKGROUND).all()
    assert np.abs(pixels[10:20] - (colour[10:20] + BACKGROUND) / 2).max() <= 2
    assert np.array_equal(pixels[20:], colour[20:])


def test_a_palette_with_a_transparent_entry_shows_the_background(tmp_path):
    image = photograph().quantize(8)
    path = saved(tmp_path, image, transparency=3)
    pixels, _ = decode(path)
    is_clear = np.asarray(image) == 3
    assert is_clear.any()
    assert (pixels[is_clear] == BACKGROUND).all()
    assert np.array_equal(pixels[~is_clear], np.asarray(image.convert("RGB"))[~is_clear])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_people_stand_as_the_camera_says_and_the_size_is_the_upright_one(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, photograph(), exif=exif)
    pixels, size = decode(path)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(pixels, upright)
    assert size == upright.shape[:2] == (SIZE if orientation < 5 else SIZE[::-1])


@pytest.mark.parametrize("name", ["large.jpg", "large.png"])
def test_large_pictures_are_shrunk_to_twice_the_target_and_keep_their_size(tmp_path, name):
    image = photograph(1100, 300)
    pixels, size = decode(saved(tmp_path, image, name, quality=95), target=(128, 64))
    assert size == (1100, 300)
    assert pixels.shape == (256, 128, 3)
    expected = np.asarray(image.resize((128, 256), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(pixels - expected).mean() < 2


def test_shrinking_knows_which_side_of_a_turned_picture_is_up(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, photograph(300, 1100), "turned.jpg", exif=exif)
    pixels, size = decode(path, target=(128, 64))
    assert size == (1100, 300)
    assert pixels.shape == (256, 128, 3)


def test_small_pictures_are_not_enlarged(tmp_path):
    pixels, _ = decode(saved(tmp_path, photograph(), "a.jpg"), target=(128, 64))
    assert pixels.shape == (40, 20, 3)


def bomb(folder):
    """A PNG whose header promises 100,000 x 100,000 pixels; a few bytes on disk."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    path = folder / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    return path


def broken(folder, kind):
    path = folder / f"{kind}.jpg"
    buffer = io.BytesIO()
    photograph(400, 200).save(buffer, "png" if kind.endswith("png") else "jpeg")
    whole = buffer.getvalue()
    content = {
        "empty": b"",
        "text": b"this is no picture\n" * 50,
        "cut": whole[: len(whole) // 2],
        "cut-png": whole[: len(whole) // 2],
        "header-only": whole[:30],
        "scrambled-png": whole[:60] + bytes(len(whole) - 60),
    }
    path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "cut-png", "header-only", "scrambled-png"])
def test_what_is_no_picture_is_named_in_one_line_without_a_warning(tmp_path, kind):
    path = broken(tmp_path, kind)
    with pytest.raises(UnreadableImage) as error:  # and pytest turns warnings into errors
        decode(path, target=(128, 64))
    assert str(error.value).startswith(f"'{path}': ")
    assert error.value.reason
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "cut-png", "header-only"])
def test_the_quick_check_finds_what_is_cut_short_or_no_picture(tmp_path, kind):
    content = broken(tmp_path, kind).read_bytes()
    with pytest.raises(UnreadableImage, match="crop"):
        check_picture(content, "crop")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
def test_the_quick_check_passes_whole_pictures_also_with_something_behind_their_end(tmp_path, suffix):
    content = saved(tmp_path, photograph(), f"a.{suffix}").read_bytes()
    check_picture(content, "a")
    check_picture(content + b"appended by a camera", "a")


def test_bombs_are_refused_from_their_header(tmp_path):
    start = time.monotonic()
    with pytest.raises(UnreadableImage):
        decode(bomb(tmp_path))
    assert time.monotonic() - start < 1


def test_the_limit_of_pixels_is_said(tmp_path):
    path = saved(tmp_path, photograph(400, 200))
    decode(path, limit_pixels=80_000)
    with pytest.raises(UnreadableImage, match=r"400x200 is over the limit of 0\.079999 million"):
        decode(path, limit_pixels=79_999)


def test_floating_point_pictures_are_refused_rather_than_guessed(tmp_path):
    path = tmp_path / "float.jpg"
    Image.fromarray(np.ones((4, 4), dtype=np.float32)).save(path, "tiff")
    with pytest.raises(UnreadableImage, match="no defined white"):
        decode(path)


def test_odd_metadata_does_not_hide_a_good_picture(tmp_path):
    path = saved(tmp_path, photograph(), "a.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x00broken")
    assert decode(path)[1] == SIZE


TIFF_ORIENTATION = 0x0112


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.parametrize("orientation", [0, 9, 100, 65535])
def test_an_orientation_that_is_none_turns_nothing(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[TIFF_ORIENTATION] = orientation
    pixels, size = decode(saved(tmp_path, photograph(), f"a.{suffix}", exif=exif))
    assert size == pixels.shape[:2] == SIZE


def exif_with(kind, count, value):
    """An orientation tag of any type: 2 is text, 3 a short, 5 a fraction, 7 anything, 12 floating point."""
    entry = struct.pack("<HHHI4s", 1, TIFF_ORIENTATION, kind, count, value)
    return b"Exif\0\0II*\0\x08\0\0\0" + entry + bytes(4) + struct.pack("<II", 6, 1)


@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [
        (2, 2, b"6\0\0\0"),
        (5, 1, b"\x1a\0\0\0"),
        (7, 1, b"\x06\0\0\0"),
        (11, 1, struct.pack("<f", 6.0)),
        (3, 0, b"\x06\0\0\0"),
        (99, 1, b"\x06\0\0\0"),
        (3, 2**31, b"\xff\xff\xff\x7f"),
    ],
)
def test_an_orientation_of_a_wrong_type_does_not_throw_the_picture_away(tmp_path, kind, count, value):
    path = saved(tmp_path, photograph(), "a.jpg", exif=exif_with(kind, count, value))
    pixels, size = decode(path)
    assert size == pixels.shape[:2] == SIZE


@pytest.mark.parametrize("orientation", [3, 6, 9])
def test_a_tiff_is_turned_once(tmp_path, orientation):
    path = saved(tmp_path, photograph(), "a.tif", tiffinfo={TIFF_ORIENTATION: orientation})
    pixels, size = decode(path)
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270}
    upright = photograph().transpose(turns[orientation]) if orientation in turns else photograph()
    assert np.array_equal(pixels, np.asarray(upright))
    assert size == pixels.shape[:2]


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(
    "remark",
    [
        chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(2**21))),
        chunk(b"iTXt", b"prompt\0\1\0\0\0" + zlib.compress(b"x" * 2**21)),
        chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(2**21))),
        chunk(b"zTXt", b"prompt\0\7") + chunk(b"iCCP", b"profile\0\7..."),
        chunk(b"tEXt", b"key\0value")[:-4] + b"....",  # a wrong checksum
        chunk(b"tIME", b"")[:-4] + b"....",
    ],
    ids=["long text", "long international text", "long profile", "unknown compression", "damaged text", "damaged time"],
)
@pytest.mark.parametrize("place", ["before", "after"])
def test_what_a_png_says_beside_its_pixels_does_not_make_it_unreadable(tmp_path, remark, place):
    exif = Image.Exif()
    exif[TIFF_ORIENTATION] = 6
    content = saved(tmp_path, photograph(), exif=exif).read_bytes()
    at = content.index(b"IDAT") - 4 if place == "before" else content.index(b"IEND") - 4
    pixels, size = decode_bytes(content[:at] + remark + content[at:], "a.png")
    assert size == SIZE[::-1]
    assert np.array_equal(pixels, np.asarray(photograph().transpose(Image.Transpose.ROTATE_270)))
    check_picture(content[:at] + remark + content[at:], "a.png")


def test_many_texts_that_together_are_large_do_not_make_a_png_unreadable(tmp_path):
    content = saved(tmp_path, photograph()).read_bytes()
    texts = chunk(b"zTXt", b"prompt\0\0" + zlib.compress(bytes(2**20 - 1))) * 80
    at = content.index(b"IDAT") - 4
    assert decode_bytes(content[:at] + texts + content[at:], "a.png")[1] == SIZE
