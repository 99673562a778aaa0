"""A packed set carries tracklets: what is read back is what the folder's list said."""

import json
from pathlib import Path

import numpy as np
import pytest

from upreid.cli import main
from upreid.data.sources.index_file import open_index, write_index
from upreid.data.sources.packed_set import INDEX, KIND
from upreid.data.sources.recognise import open_source
from upreid.data.tracklet_lists import read_tracklets
from upreid.data.tracklets import Tracklets

OWN = Path("own")
TINY = "--model.channels 4 --train.batch 8 --model.bn-groups 2 --contrast.queue 16 --train.steps 4"
HERE = "--train.threads 1 --train.workers 0 --train.device cpu"


def pack(source: Path, out: Path, *flags: str) -> int:
    return main(["pack", str(source), str(out), "--shard-size", "10", "--workers", "1", *flags])


@pytest.fixture
def people(pictures: Path) -> Path:
    """A folder of 32 pictures with the list of their tracklets and frames."""
    rows = [f"{number:04d}.png,t{number // 5},{-3 * number}" for number in range(28)]
    (pictures / "tracklets.csv").write_text("\n".join(["file,tracklet,frame", *rows]) + "\n")
    return pictures


def tracklets(root: Path) -> Tracklets:
    return read_tracklets(OWN, open_source(root))


def test_they_are_those_of_the_folder_and_stay_when_the_pack_is_packed_again(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(people, tmp_path / "packed", "--tracklets", "own") == 0
    said = capsys.readouterr().err
    assert "tracklets: 6 of 3 to 5 crops" in said
    assert f"--data.root {tmp_path / 'packed'} --data.tracklets own" in said
    assert pack(tmp_path / "packed", tmp_path / "again") == 0
    for root in (tmp_path / "packed", tmp_path / "again"):
        assert tracklets(root).fingerprint == tracklets(people).fingerprint
        np.testing.assert_array_equal(tracklets(root).order, tracklets(people).order)


def test_images_that_were_left_out_leave_the_others_together(people: Path, tmp_path: Path) -> None:
    for number in range(6):
        (people / f"{number:04d}.png").write_bytes(b"no picture")
    assert pack(people, tmp_path / "packed", "--tracklets", "own", "--unreadable-share", "0.5") == 0
    numbers = tracklets(tmp_path / "packed").numbers
    assert numbers.tolist() == [0] * 4 + [1] * 5 + [2] * 5 + [3] * 5 + [4] * 3 + [5, 6, 7, 8]


@pytest.mark.slow
def test_a_training_on_the_pack_gives_the_encoder_of_the_folder(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(people, tmp_path / "packed", "--tracklets", str(people / "tracklets.csv"))
    flags = ["--data.tracklet-gap", "6", "--contrast.mates", "left-out", *TINY.split(), *HERE.split()]
    encoders = []
    for root in (people, tmp_path / "packed"):
        out = tmp_path / f"run-{root.name}"
        words = ["--data.root", str(root), "--out", str(out)]
        assert main(["pretrain", "moco-tracklets-laptop", *words, *flags]) == 0
        encoders.append((out / "encoder.safetensors").read_bytes())
    assert encoders[0] == encoders[1]
    capsys.readouterr()
    words = ["--data.root", str(tmp_path / "packed"), "--out", str(tmp_path / "plain"), *TINY.split(), *HERE.split()]
    assert main(["pretrain", "moco-laptop", *words]) == 0
    assert "has tracklets, which are not used; --data.tracklets own" in capsys.readouterr().err


def test_other_tracklets_are_another_pack(people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pack(people, tmp_path / "packed", "--tracklets", "own") == 0
    assert pack(people, tmp_path / "packed", "--tracklets", "own") == 0
    text = (people / "tracklets.csv").read_text()
    (people / "tracklets.csv").write_text(text.replace("0000.png,t0", "0000.png,t1"))
    capsys.readouterr()
    assert pack(people, tmp_path / "packed", "--tracklets", "own") == 2
    assert "was packed otherwise (tracklets differ)" in capsys.readouterr().err


def test_an_unfinished_pack_goes_on_with_the_same_tracklets_only(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (people / "0025.png").write_bytes(b"no picture")
    out, flags = tmp_path / "packed", ("--tracklets", "own")
    assert pack(people, out, *flags) == 2
    assert (out / ".pack").is_dir()
    assert pack(people, out, "--unreadable-share", "0.5") == 2
    assert "was packed otherwise (tracklets differ)" in capsys.readouterr().err
    assert pack(people, out, "--unreadable-share", "0.5", *flags) == 0
    assert tracklets(out).numbers[:11].tolist() == [0] * 5 + [1] * 5 + [2]


def test_tracklets_of_another_pack_are_refused(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "packed"
    pack(people, out, "--tracklets", "own")
    index = open_index(out / INDEX, KIND)
    arrays = {name: [np.array(array)] for name, array in index.arrays.items()}
    arrays["tracklets"] = [arrays["tracklets"][0][::-1]]
    write_index(out / INDEX, KIND, index.facts, arrays)
    capsys.readouterr()
    assert main(["doctor", "unlabelled", str(out)]) == 2
    assert "the tracklets in index.upreid are not those of its manifest" in capsys.readouterr().err


def test_packs_without_tracklets_are_as_before_and_a_list_that_is_left_behind_is_named(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(people, tmp_path / "packed")
    assert f"{people} has tracklets, which are not packed; --tracklets own" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "packed" / "manifest.json").read_text())
    assert not any("tracklet" in name for name in manifest)
    assert set(open_index(tmp_path / "packed" / INDEX, KIND).arrays) == {
        *("names", "name_ends", "positions", "sizes", "checks")
    }
