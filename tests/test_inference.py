"""The Python interface: an encoder in use gives the features of the evaluation, and loads no more than it needs."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import upreid
from upreid.cli import main
from upreid.data.dataset import LabelledImages
from upreid.data.records import Record
from upreid.errors import DataError, InputError
from upreid.inference import ImageEncoder
from upreid.models.encoder import Encoder, EncoderHeader, save_encoder, skeleton
from upreid.models.heads import HeadSettings
from upreid.retrieval.features import features
from upreid.runtime.compute import Compute
from upreid.runtime.files import sha256

HEADER = EncoderHeader(
    backbone="resnet18",
    channels=4,
    last_stride=1,
    height=32,
    width=16,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
CPU = Compute(device=torch.device("cpu"), threads=1, workers=0)
EXIF_TURNED = Image.Exif()
EXIF_TURNED[0x0112] = 6


def save(path: Path, header: EncoderHeader = HEADER) -> Path:
    torch.manual_seed(0)
    encoder = skeleton(header)
    encoder.train()(torch.randn(8, 3, header.height, header.width))  # moves the running statistics
    save_encoder(path, encoder)
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(
        tmp_path_factory.mktemp("run") / "encoder.safetensors", replace(HEADER, head=HeadSettings(name="bnneck"))
    )


@pytest.fixture
def encoder(path: Path) -> ImageEncoder:
    return upreid.load_encoder(path)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height)))


def paint(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        Image.fromarray(noise(24, 12, number)).save(folder / f"{number:04d}.png")
    return folder


SAVES: dict[str, Callable[[Path], None]] = {
    "small.png": lambda path: Image.fromarray(noise(24, 12)).save(path),
    "exact.png": lambda path: Image.fromarray(noise(32, 16)).save(path),
    "crop.jpg": lambda path: Image.fromarray(noise(100, 60)).save(path),
    "large.jpg": lambda path: Image.fromarray(noise(700, 500)).save(path),
    "turned.jpg": lambda path: Image.fromarray(noise(60, 100)).save(path, exif=EXIF_TURNED),
    "large.png": lambda path: Image.fromarray(noise(700, 500)).save(path),
    "grey.png": lambda path: Image.fromarray(noise(40, 30)[:, :, 0]).save(path),
    "sixteen.png": lambda path: Image.fromarray(noise(40, 30)[:, :, 0].astype(np.uint16) * 200).save(path),
    "see-through.png": lambda path: Image.fromarray(np.dstack([noise(40, 30), noise(40, 30)[:, :, 0]])).save(path),
    "palette.gif": lambda path: Image.fromarray(noise(40, 30)).save(path),
    "turned.tif": lambda path: Image.fromarray(noise(40, 30)).save(path, exif=EXIF_TURNED),
    "lossy.webp": lambda path: Image.fromarray(noise(90, 40)).save(path),
}


@pytest.mark.parametrize("name", SAVES)
def test_the_transform_gives_the_very_pixels_of_the_evaluation(
    name: str, encoder: ImageEncoder, tmp_path: Path
) -> None:
    file = tmp_path / name
    SAVES[name](file)
    expected = LabelledImages([Record(path=file)], encoder.preprocess)[0]
    with Image.open(file) as picture:
        size = picture.size
        assert torch.equal(encoder.transform(picture), expected)
        assert picture.size == size
        assert torch.equal(encoder.transform(picture), expected)  # what came is as it was
    with Image.open(io.BytesIO(file.read_bytes())) as picture:
        assert torch.equal(encoder.transform(picture), expected)
    with Image.open(file) as decoded:
        decoded.load()
        if name != "large.jpg":  # of which the decoder itself makes a small one
            assert torch.equal(encoder.transform(decoded), expected)
            if decoded.mode == "RGB" and name != "turned.jpg":
                assert torch.equal(encoder.transform(np.asarray(decoded)), expected)
                assert torch.equal(encoder.transform(np.asarray(decoded)[:, :, ::-1][:, :, ::-1]), expected)


def test_a_list_of_anything_an_extraction_and_the_evaluation_give_the_same_features(
    encoder: ImageEncoder, tmp_path: Path
) -> None:
    folder = paint(tmp_path / "pictures", 11)
    files = sorted(folder.iterdir())
    records = [Record(path=file) for file in files]
    expected = features(encoder, records, encoder.preprocess, CPU, batch=4, quiet=True)
    extracted = upreid.extract(encoder, folder, batch=4)
    assert torch.equal(extracted.features, expected)
    assert extracted.names == tuple(file.name for file in files)
    assert (extracted.encoder_sha256, extracted.preprocess) == (encoder.sha256, encoder.preprocess)
    mixed = [Image.open(file) for file in files[:3]] + [np.asarray(Image.open(file)) for file in files[3:6]]
    assert torch.equal(encoder.features([*mixed, *files[6:9], *map(str, files[9:])], batch=4), expected)
    assert not expected.requires_grad
    for more in ({"flip": True}, {"neck": "before"}):
        function = encoder.before_neck if "neck" in more else encoder
        whole = features(function, records, encoder.preprocess, CPU, flip="flip" in more, quiet=True)
        assert not torch.equal(whole, expected)
        assert torch.equal(encoder.features(files, **more), whole)
        assert torch.equal(upreid.extract(encoder, str(folder), **more).features, whole)
        assert torch.equal(upreid.extract(encoder, records, **more, workers=1).features, whole)


def test_every_form_of_a_source_gives_the_same_features(encoder: ImageEncoder, tmp_path: Path) -> None:
    folder = paint(tmp_path / "pictures", 5)
    expected = upreid.extract(encoder, folder, quiet=True)
    assert main(["pack", str(folder), str(tmp_path / "packed"), "--workers", "1"]) == 0
    subprocess.run(["tar", "--sort=name", "-cf", tmp_path / "all.tar", "-C", folder, "."], check=True)
    for source in (tmp_path / "packed", tmp_path / "all.tar"):
        found = upreid.extract(encoder, source, quiet=True)
        assert torch.equal(found.features, expected.features)
        assert [Path(name).name for name in found.names] == list(expected.names)


def test_an_encoder_in_use_is_the_module_that_it_was(path: Path, encoder: ImageEncoder, tmp_path: Path) -> None:
    assert isinstance(encoder, Encoder)
    assert not encoder.training
    assert encoder.sha256 == sha256(path)
    assert (encoder.preprocess.height, encoder.preprocess.width) == (32, 16)
    images = torch.randn(2, 3, 32, 16)
    assert not torch.equal(encoder(images), encoder.before_neck(images))
    save_encoder(tmp_path / "again", encoder)
    assert sha256(tmp_path / "again") == encoder.sha256
    assert torch.equal(upreid.load_encoder(str(path.parent))(images), encoder(images))  # the folder of a run


def test_features_are_made_in_evaluation_mode_whatever_the_mode_and_leave_it(encoder: ImageEncoder) -> None:
    pictures = [noise(32, 16, seed) for seed in range(4)]
    expected = encoder.features(pictures)
    encoder.train()
    encoder.backbone.bn1.eval()  # as one freezes it
    assert torch.equal(encoder.features(pictures), expected)
    assert encoder.training
    assert not encoder.backbone.bn1.training


def test_no_image_has_no_feature_of_the_right_width(encoder: ImageEncoder) -> None:
    assert encoder.features([]).shape == (0, encoder.features([noise(32, 16)]).shape[1])


def test_an_encoder_that_embeds_cameras_asks_for_them(tmp_path: Path) -> None:
    head = HeadSettings(name="transreid", camera_weight=3.0, cameras=(1, 4))
    header = replace(HEADER, backbone="vit_tiny_patch16_224", channels=None, last_stride=None, head=head)
    torch.manual_seed(0)
    save_encoder(tmp_path / "e.safetensors", skeleton(header))
    encoder = upreid.load_encoder(tmp_path / "e.safetensors")
    pictures = [noise(32, 16), noise(32, 16)]
    one, other = encoder.features(pictures, cameras=[1, 4])
    assert not torch.allclose(one, other)
    assert encoder.features([]).shape == (0, len(one))
    with pytest.raises(InputError, match="pass the camera of each image"):
        encoder.features(pictures)
    with pytest.raises(InputError, match="1 cameras came for 2 images"):
        encoder.features(pictures, cameras=[1])
    Image.fromarray(noise(32, 16)).save(tmp_path / "0.png")
    records = [Record(path=tmp_path / "0.png", camera=1), Record(path=tmp_path / "0.png", camera=4)]
    assert torch.equal(upreid.extract(encoder, records, quiet=True).features, torch.stack([one, other]))


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        (noise(8, 4).astype(np.float32), r"array of shape \(8, 4, 3\) and type float32; expected \[height, width, 3\]"),
        (noise(8, 4).transpose(2, 0, 1), r"shape \(3, 8, 4\)"),
        (noise(8, 4)[:, :, 0], r"shape \(8, 4\)"),
        (noise(8, 4)[:0], r"shape \(0, 4, 3\)"),
        (np.zeros((8, 4, 4), dtype=np.uint8), r"shape \(8, 4, 4\)"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(picture: np.ndarray, words: str, encoder: ImageEncoder) -> None:
    with pytest.raises(InputError, match=words):
        encoder.transform(picture)
    with pytest.raises(InputError, match="image 1 of the list is an array"):
        encoder.features([noise(8, 4), picture])


def test_what_cannot_be_read_is_named_and_never_left_out_in_silence(
    encoder: ImageEncoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = paint(tmp_path / "pictures", 9)
    whole = upreid.extract(encoder, folder, quiet=True)
    broken = folder / "0004.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(DataError, match=r"cannot read image .*0004.png"):
        encoder.features([folder / "0003.png", broken])
    with pytest.raises(DataError, match="1 of 9 images cannot be read, over the limit"):
        upreid.extract(encoder, folder, quiet=True)
    with pytest.raises(DataError, match="1 of 2 images cannot be read"):
        upreid.extract(
            encoder, [Record(path=folder / "0003.png"), Record(path=broken)], unreadable_share=0.5, quiet=True
        )
    capsys.readouterr()
    found = upreid.extract(encoder, folder, unreadable_share=0.2)
    assert "0004.png" in capsys.readouterr().err
    kept = [0, 1, 2, 3, 5, 6, 7, 8]
    assert torch.equal(found.features, whole.features[kept])
    assert found.names == tuple(whole.names[place] for place in kept)
    assert len(found.skipped) == 1
    assert "0004.png" in found.skipped[0]


def test_what_cannot_be_done_is_said_in_one_line(encoder: ImageEncoder, path: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases: list[tuple[str, Callable[[], object]]] = [
        ("no encoder", lambda: upreid.load_encoder(tmp_path / "none")),
        ("device 'gpu' is unknown to torch", lambda: upreid.load_encoder(path, "gpu")),
        ("torch sees no GPU", lambda: upreid.load_encoder(path, "cuda")),
        ("batch 0: give the number of images", lambda: encoder.features([noise(8, 4)], batch=0)),
        ("batch -1: give the number of images", lambda: upreid.extract(encoder, tmp_path, batch=-1)),
        ("does not exist", lambda: upreid.extract(encoder, tmp_path / "none")),
        ("there are no images", lambda: upreid.extract(encoder, [])),
        ("no images", lambda: upreid.extract(encoder, tmp_path / "empty")),
    ]
    if torch.cuda.is_available():
        del cases[2]
    for words, act in cases:
        with pytest.raises((InputError, DataError), match=words) as error:
            act()
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_one_encoder_loads_nothing_that_it_does_not_need(path: Path) -> None:
    heavy = ("jinja2", "h5py", "sklearn", "scipy", "lmdb", "tyro", "tensorboard", "upreid.config")
    program = f"""
import sys
import numpy as np
import upreid
assert "torch" not in sys.modules
encoder = upreid.load_encoder({str(path)!r})
encoder.features([np.zeros((8, 4, 3), dtype=np.uint8)])
upreid.extract, upreid.evaluate_features
print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_example_of_the_page_on_python_gives_the_numbers_of_evaluate(
    path: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    market = tmp_path / "data"
    for person in range(1, 5):
        for camera in (1, 2, 3):
            part = ("query" if camera == 1 else "bounding_box_test") if person < 4 else "bounding_box_train"
            (market / part).mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(noise(32, 16, 10 * person + camera))
            picture.save(market / part / f"{person:04d}_c{camera}s1_000000_00.png")
    paint(tmp_path / "crops", 2)
    for name in ("a.jpg", "b.jpg"):
        Image.fromarray(noise(64, 32)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0].replace('"runs/mine"', repr(str(path)))
    names: dict[str, Any] = {}
    exec(example, names)
    assert len(names["features"]) == len(names["crops"].names) == 2
    capsys.readouterr()
    flags = ["--data.name", "market1501", "--data.root", "data", "--device", "cpu", "--threads", "1", "--workers", "0"]
    assert main(["evaluate", str(path), *flags]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {name: said[name] for name in ("mAP", "mINP")} == {name: names["result"][name] for name in ("mAP", "mINP")}
    assert names["distances"].shape == (3, 6)
