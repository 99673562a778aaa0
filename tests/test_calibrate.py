"""`upreid calibrate`: a threshold in the encoder's header, and what reads it there."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import upreid
from upreid.cli import main
from upreid.errors import DataError
from upreid.models.encoder import encoder_sha256, load_encoder, save_encoder, skeleton
from upreid.models.header import EncoderHeader

HEADER = EncoderHeader(
    backbone="resnet18",
    channels=4,
    last_stride=1,
    height=32,
    width=16,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
HERE = ["--device", "cpu", "--threads", "1", "--workers", "0"]


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    net = skeleton(HEADER)
    net.train()(torch.randn(8, 3, 32, 16))
    save_encoder(tmp_path / "encoder.safetensors", net)
    return tmp_path / "encoder.safetensors"


def draw(root: Path, people: int = 40, cameras: tuple[int, ...] = (1, 2, 3), noise: float = 25.0) -> Path:
    """People seen by some cameras, two pictures each, and one distractor."""
    numbers = np.random.default_rng(0)
    for person in range(people + 2):
        look = numbers.integers(0, 256, (4, 2, 3))
        for camera in cameras:
            for shot in range(2):
                part = "query" if (camera, shot) == (cameras[0], 0) and person else "bounding_box_test"
                folder = root / (part if person <= people else "bounding_box_train")
                folder.mkdir(parents=True, exist_ok=True)
                pixels = np.clip(look + numbers.normal(0, noise, look.shape), 0, 255).astype(np.uint8)
                path = folder / f"{person:04d}_c{camera}s1_{shot:06d}_00.png"
                Image.fromarray(pixels).resize((16, 32)).save(path)
    return root


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("calibrate") / "market")


Calibrate = Callable[..., tuple[dict[str, Any], str]]


@pytest.fixture
def calibrate(encoder: Path, market: Path, capsys: pytest.CaptureFixture[str]) -> Calibrate:
    """Calibrate in this process; return the numbers, and what was said on standard error."""

    def run(*flags: object, root: Path = market, file: Path = encoder) -> tuple[dict[str, Any], str]:
        capsys.readouterr()
        own = {"--source", "--pairs", "--tracklets"} & set(map(str, flags))
        data = [] if own else ["--data.name", "market1501", "--data.root", str(root)]
        out = encoder.parent / "numbers.json"
        words = data if "--out" in flags else [*data, "--out", str(out)]
        code = main(["calibrate", str(file), *words, *HERE, *map(str, flags)])
        said = capsys.readouterr()
        if code:
            return {"code": code}, said.err
        result = json.loads(out.read_text())
        assert json.loads(said.out) == result["calibration"]
        return result, said.err

    return run


def refusal(said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith("upreid: error:")]
    assert len(lines) == 1, said
    return lines[0]


def tensor_bytes(path: Path) -> bytes:
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


@pytest.mark.slow
def test_the_threshold_is_in_the_header_and_everything_else_is_as_it_was(
    calibrate: Calibrate, encoder: Path, tmp_path: Path
) -> None:
    before, content = load_file(encoder), encoder.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    result, said = calibrate("--false-accept", "0.02")
    assert "20 people to calibrate on, 20 others to test on" in said
    header = load_encoder(encoder).header
    assert header.calibration is not None
    assert json.loads(json.dumps(result["calibration"])) == json.loads(json.dumps(header.as_dict()["calibration"]))
    assert header.calibration.image.distance == result["calibration"]["image"]["distance"] > 0
    assert header.calibration.tracklet is not None
    assert tensor_bytes(encoder) == tensor_bytes(write(tmp_path / "before", content))
    assert encoder.read_bytes() != content
    with safe_open(encoder, framework="pt") as file:  # a foreign reader
        assert set(file.keys()) == set(before)
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in before.items())
    # it is the same encoder still, and features that were made before can be searched
    assert encoder_sha256(encoder) == digest == upreid.load_encoder(encoder).sha256
    assert not list(tmp_path.glob(".*"))
    # a second calibration takes the place of the first; without it the bytes are those of before
    calibrate("--false-accept", "0.05", "--metric", "euclidean")
    assert load_encoder(encoder).header.calibration.metric == "euclidean"
    assert encoder_sha256(encoder) == digest


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_the_numbers_are_those_of_the_pairs_that_count(calibrate: Calibrate, encoder: Path, market: Path) -> None:
    result, _ = calibrate("--false-accept", "0.02")
    found, details = result["calibration"]["image"], result["details"]["image"]
    records = [one for one in upreid.read_benchmark("market1501", market).records if one.person not in (0, 41)]
    assert details["calibration"]["pairs_of_one_person"] == 20 * 12  # of 15 pairs 3 are of one camera
    assert details["calibration"]["pairs_of_two_people"] == 36 * 20 * 19 // 2
    assert details["test"]["pairs_of_two_people"] == 36 * 20 * 19 // 2
    assert result["details"]["tracklet"]["test"]["pairs_of_one_person"] == 20 * 3
    # over all 40 people, false accepts are the mean of both halves and of the pairs between them
    features = torch.nn.functional.normalize(upreid.extract(upreid.load_encoder(encoder), records, quiet=True).features)
    people = np.array([one.person for one in records])
    distances = 1 - (features @ features.T).numpy()[people[:, None] < people]
    assert np.mean(distances <= found["distance"]) == pytest.approx(0.02, abs=0.01)
    assert found["expected"][0] <= found["false_accept"] <= found["expected"][1]
    assert found["interval"][0] <= found["distance"] <= found["interval"][1]


@pytest.mark.slow
def test_the_search_says_nobody_here_beyond_the_calibrated_threshold(
    calibrate: Calibrate, encoder: Path, market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features, page = tmp_path / "features.safetensors", tmp_path / "found.html"
    assert main(["extract", str(encoder), str(market / "bounding_box_test"), str(features), *HERE]) == 0
    result, _ = calibrate("--false-accept", "0.006", "--seed", "2")  # after the features were made
    stranger = tmp_path / "stranger.png"
    Image.fromarray(np.indices((64, 32)).sum(axis=0).astype(np.uint8) % 2 * 255).save(stranger)
    query = market / "bounding_box_test" / "0001_c2s1_000000_00.png"
    words = ["search", features, stranger, query, "--encoder", encoder, "--page", page]
    capsys.readouterr()
    assert main([*map(str, words), *HERE]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["protocol"]["threshold"] == result["calibration"]["image"]["distance"]
    assert "false-accept rate of 0.006" in found["protocol"]["threshold_from"]
    assert [one["is_here"] for one in found["queries"]] == [False, True]
    assert "Nobody here" in page.read_text()
    assert "from the encoder's calibration" in said.err
    assert "among 206 entries a stranger has about 1.24 by chance" in said.err
    assert main([*map(str, words[:6]), "--metric", "euclidean", *HERE]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["protocol"]["threshold"] is None
    assert "another metric" in said.err


@pytest.mark.slow
def test_trackers_are_given_the_threshold_in_their_own_measure(
    calibrate: Calibrate, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx

    def exported(program: str, *flags: str) -> tuple[dict[str, str], Path]:
        out = tmp_path / f"for_{program}.onnx"
        assert main(["export", str(encoder), str(out), "--for", program, *flags]) == 0
        return {prop.key: prop.value for prop in onnx.load(str(out)).metadata_props}, out

    result, _ = calibrate("--false-accept", "0.01")
    distance = result["calibration"]["image"]["distance"]
    props, _ = exported("ultralytics")
    assert float(props["appearance_thresh"]) == pytest.approx(1 - distance / 2, abs=1e-4)
    assert json.loads(props["calibration"])["image"]["distance"] == distance
    assert "appearance_thresh" in capsys.readouterr().err
    props, out = exported("boxmot")
    sidecar = json.loads(out.with_name(f"{out.name}.metadata.json").read_text())
    assert float(props["appearance_thresh"]) == sidecar["appearance_thresh"] == pytest.approx(distance, abs=1e-4)
    calibrate("--flip")
    assert "calibration" not in exported("plain")[0]
    assert "its mirror image" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_folder_tells_the_threshold_in_its_card_and_configuration(
    calibrate: Calibrate, encoder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    assert main(["convert", str(encoder), str(folder), "--to", "folder"]) == 0
    result, _ = calibrate(file=folder)
    assert json.loads((folder / "config.json").read_text())["upreid"]["calibration"] == result["calibration"]
    assert f"cosine distance {result['calibration']['image']['distance']:.4f}" in (folder / "README.md").read_text()
    assert load_encoder(folder).header.calibration is not None
    (folder / "README.md").write_text("mine")
    assert "was edited" in calibrate(file=folder)[1]
    assert (folder / "README.md").read_text() == "mine"


@pytest.mark.slow
def test_weights_that_change_lose_their_threshold(calibrate: Calibrate, encoder: Path, tmp_path: Path) -> None:
    calibrate()
    same, other = tmp_path / "same.safetensors", tmp_path / "other.safetensors"
    assert main(["convert", str(encoder), str(same)]) == 0
    assert load_encoder(same).header.calibration == load_encoder(encoder).header.calibration
    assert main(["convert", str(encoder), str(other), "--height", "64"]) == 0
    assert load_encoder(other).header.calibration is None


def test_what_cannot_be_calibrated_is_refused_in_one_line_and_the_file_is_untouched(
    calibrate: Calibrate, encoder: Path, tmp_path: Path
) -> None:
    content = encoder.read_bytes()
    one_camera = draw(tmp_path / "one", cameras=(1,))
    assert "come from one camera" in refusal(calibrate(root=one_camera)[1])
    few = draw(tmp_path / "few", people=12)
    assert "6 people to calibrate on: at least 10 are needed" in refusal(calibrate(root=few)[1])
    assert "too few for a false-accept rate of 0.001" in refusal(calibrate("--false-accept", "0.001")[1])
    assert main(["calibrate", str(encoder), *HERE]) == 2
    (tmp_path / "mine.json").write_text("{}")
    assert "holds something else" in refusal(calibrate("--out", tmp_path / "mine.json")[1])
    assert encoder.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"metric": "hamming"}, "its metric is 'hamming'"),
        ({"people": -1}, "its people is -1"),
        ({"image": {"distance": "near"}}, "it has no interval"),
        ({"image": 3}, "its image is 3"),
        ({"more": 1}, "'more' that nobody knows"),
    ],
)
def test_a_header_that_lies_about_its_calibration_is_refused(
    calibrate: Calibrate, encoder: Path, change: dict[str, Any], words: str
) -> None:
    calibrate()
    content = encoder.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    values = json.loads(header["__metadata__"]["upreid"])
    values["calibration"] |= change
    header["__metadata__"]["upreid"] = json.dumps(values)
    text = json.dumps(header).encode()
    encoder.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
    with pytest.raises(DataError, match=words):
        load_encoder(encoder)
    assert "has a header that cannot be read" in refusal(calibrate()[1])


def film(root: Path, *, videos: int = 6, each: int = 8, frames: bool = True) -> Path:
    """Videos in which tracklets begin one after another; each overlaps with those beside it. One single crop besides."""
    numbers, lines = np.random.default_rng(0), ["file,tracklet,frame" if frames else "file,tracklet"]
    for video in range(videos):
        (root / f"video{video}").mkdir(parents=True)
        for tracklet in range(each):
            look = numbers.integers(0, 256, (4, 2, 3))
            for shot in range(4):
                frame = 10 * tracklet + 5 * shot
                pixels = np.clip(look + numbers.normal(0, 25, look.shape), 0, 255).astype(np.uint8)
                name = f"video{video}/{tracklet:02d}_{frame:04d}.png"
                Image.fromarray(pixels).resize((16, 32)).save(root / name)
                lines.append(f"{name},{video}-{tracklet}" + f",{frame}" * frames)
        Image.new("RGB", (16, 32)).save(root / f"video{video}" / "single.png")
    (root / "tracklets.csv").write_text("\n".join(lines) + "\n")
    return root


def test_without_labels_overlapping_tracklets_are_different_people(calibrate: Calibrate, tmp_path: Path) -> None:
    root = film(tmp_path / "film")
    words = ("--source", root, "--tracklets", root / "tracklets.csv", "--false-accept", "0.05")
    result, said = calibrate(*words)
    assert "24 people to calibrate on, 24 others" in said
    test = result["details"]["image"]["test"]
    assert test["pairs_of_one_person"] == 24 * 6
    assert test["pairs_of_two_people"] == 3 * 7 * 16  # frames 0 to 15 overlap with 10 to 25, and not with 20 to 35
    assert result["details"]["tracklet"]["test"]["pairs_of_one_person"] == 24  # two halves
    assert "48 tracklets of tracklets.csv, without labels" in result["calibration"]["data"]
    without = film(tmp_path / "without", frames=False)
    said = calibrate("--source", without, "--tracklets", without / "tracklets.csv")[1]
    assert "says no frames" in refusal(said)


def listed(root: Path, path: Path, *more: str) -> Path:
    """Pairs of the pictures of `draw`: of one person each with the next, of two people here and there."""
    names = sorted(file.name for file in root.iterdir() if not file.name.startswith("0000"))
    lines = ["first,second,same"]
    for place, name in enumerate(names):
        lines += [f"{name},{other},1" for other in names[place + 1 : place + 2] if other[:4] == name[:4]]
        lines += [f"{name},{other},0" for other in names[place + 1 :: 7] if other[:4] != name[:4]]
    path.write_text("\n".join([*lines, *more]) + "\n")
    return path


def test_listed_pairs_are_calibrated_on_by_the_people_that_they_link(
    calibrate: Calibrate, market: Path, tmp_path: Path
) -> None:
    gallery = market / "bounding_box_test"
    path = listed(gallery, tmp_path / "pairs.csv")
    result, said = calibrate("--source", gallery, "--pairs", path, "--false-accept", "0.02")
    assert "20 people to calibrate on, 20 others" in said
    counted = sum(result["details"]["image"][part]["pairs_of_one_person"] for part in ("calibration", "test"))
    assert counted == 40 * 4  # five pictures each in the gallery
    assert result["calibration"]["tracklet"] is None
    for line, words in {
        "0001_c1s1_000001_00.png,0002_c1s1_000001_00.png,1": "are two people, and other lines link them",
        "0001_c1s1_000001_00.png,0001_c1s1_000001_00.png,1": "pairs an image with itself",
        "0001_c1s1_000001_00.png,none.png,1": "1 files in",
        "0001_c1s1_000001_00.png,0002_c1s1_000001_00.png,yes": "must be two files and 1",
        "0001_c2s1_000000_00.png,0001_c1s1_000001_00.png,1": "names a pair that stands twice",
    }.items():
        broken = listed(gallery, tmp_path / "broken.csv", line)
        assert words in refusal(calibrate("--source", gallery, "--pairs", broken)[1])


def test_the_page_shows_both_histograms_and_needs_nothing_else(calibrate: Calibrate, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result, _ = calibrate("--false-accept", "0.02", "--page", page)
    for part in ("calibration", "test"):
        details = result["details"]["image"][part]
        bars = details["histogram"]
        assert sum(bars["one_person"]) == details["pairs_of_one_person"]
        assert sum(bars["two_people"]) == details["pairs_of_two_people"]
        assert len(bars["distance"]) == len(bars["one_person"]) + 1
    text = page.read_text()
    assert text.count('<svg class="chart"') == text.count('role="img" aria-label="') == 4
    assert text.count("<svg") == 4 + text.count('aria-hidden="true"')
    of_test = result["details"]["image"]["test"]
    for name in ("one person", "two people"):
        assert f"{of_test['pairs_of_' + name.replace(' ', '_')]:,} pairs of {name}" in text
    assert f"threshold at {result['calibration']['image']['distance']:.3g}" in text
    assert f"{result['calibration']['image']['distance']:.4f}" in text
    assert not any(word in text for word in ("http:", "https:", "<script", "nan"))
    page.write_text("mine")
    assert "holds something else" in refusal(calibrate("--page", page)[1])


def test_what_to_calibrate_on_is_said_once(calibrate: Calibrate, market: Path, tmp_path: Path) -> None:
    assert "nothing to calibrate on" in refusal(calibrate("--source", tmp_path)[1])
    assert "needs --source" in refusal(calibrate("--pairs", tmp_path / "pairs.csv")[1])
    both = calibrate("--source", tmp_path, "--pairs", tmp_path / "a", "--tracklets", tmp_path / "b")[1]
    assert "--pairs and --tracklets" in refusal(both)
    one = calibrate("--source", market, "--pairs", tmp_path / "a", "--same-camera", "keep")[1]
    assert "no effect" in refusal(one)


@pytest.mark.slow
def test_every_command_of_the_page_about_thresholds_runs(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands_of: Callable[[str], list[list[str]]]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs/mine").mkdir(parents=True)
    encoder.rename("runs/mine/encoder.safetensors")
    draw(Path("corpus/market1501"))
    film(Path("crops"), videos=12)
    names = [str(file.relative_to("crops")) for file in sorted(Path("crops").glob("*/[0-9]*.png"))]
    lines = [
        f"{one},{other},{int(one.rpartition('_')[0] == other.rpartition('_')[0])}"
        for place, one in enumerate(names)
        for other in (*names[place + 1 : place + 4], *names[place + 4 :: 11])
    ]
    Path("pairs.csv").write_text("\n".join(["first,second,same", *lines]) + "\n")
    commands = commands_of("threshold.md")
    assert len(commands) == 3
    for words in commands:
        assert main([*words, *HERE]) == 0


@pytest.mark.slow
def test_on_rendered_people_the_rate_on_others_is_within_its_interval(calibrate: Calibrate, tmp_path: Path) -> None:
    assert (
        main(
            [
                "synth",
                str(tmp_path / "corpus"),
                "--version",
                "1",
                "--identities",
                "120",
                "--height",
                "64",
                "--width",
                "32",
            ]
        )
        == 0
    )
    for seed in (1, 2, 3):
        result, _ = calibrate("--seed", seed, root=tmp_path / "corpus" / "market1501")
        for kind in ("image", "tracklet"):
            found = result["calibration"][kind]
            low, high = found["expected"]
            assert low < 0.01 < high
            assert low <= found["false_accept"] <= high
