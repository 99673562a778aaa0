import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from upreid.data.decode import BACKGROUND, UnreadableImage, decode

SIZE = 40, 20
"""Height and width."""


def photograph(height=40, width=20):
    coarse = np.random.default_rng(0).integers(0, 256, (5, 3, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def saved(folder, image, name="image.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "webp", "bmp", "JPG"])
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
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(content[kind])
    return path


@pytest.mark.parametrize(
    "kind", ["empty", "text", "cut", "cut-png", "header-only", "scrambled-png", "missing", "folder"]
)
def test_what_is_no_picture_is_named_in_one_line_without_a_warning(tmp_path, kind):
    path = broken(tmp_path, kind)
    with pytest.raises(UnreadableImage) as error:  # and pytest turns warnings into errors
        decode(path, target=(128, 64))
    assert str(error.value).startswith(f"'{path}': ")
    assert error.value.reason
    assert "\n" not in str(error.value)


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
