"""`upreid pack`: what goes in comes out, whatever happens on the way."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from PIL import Image

from upreid.cli import main
from upreid.data.sources.recognise import open_source

SMALL = ["--model.channels", "4", "--model.embed-dim", "16", "--model.bn-groups", "2", "--contrast.queue", "16"]
SMALL += ["--train.batch", "8", "--train.threads", "1", "--train.workers", "0", "--train.device", "cpu"]


def pack(source: Path, out: Path, *flags: object) -> int:
    return main(["pack", str(source), str(out), "--shard-size", "10", "--workers", "1", *map(str, flags)])


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def files_of(root: Path) -> dict[str, bytes]:
    source = open_source(root)
    return {source.name(index): source.read(index) for index in range(len(source))}


def test_a_packed_set_holds_the_files_under_their_names(pictures: Path, tmp_path: Path) -> None:
    assert pack(pictures, tmp_path / "packed") == 0
    assert files_of(tmp_path / "packed") == files_of(pictures) == tree(pictures)
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == [
        *(".lock", "index.upreid", "manifest.json"),
        *(f"shard-00000{number}.tar" for number in range(4)),
    ]


def test_other_programs_read_the_shards(pictures: Path, tmp_path: Path) -> None:
    pack(pictures, tmp_path / "packed")
    with tarfile.open(tmp_path / "packed" / "shard-000003.tar") as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == ["000000030-0030.png", "000000031-0031.png"]
        assert all((member.mtime, member.uid, member.mode) == (0, 0, 0o644) for member in members)
        content = tar.extractfile(members[1])
        assert content is not None
        assert content.read() == (pictures / "0031.png").read_bytes()
    done = subprocess.run(
        ["tar", "tf", tmp_path / "packed" / "shard-000000.tar"], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 10
    assert done.stderr == ""
    (tmp_path / "tars").mkdir()
    (tmp_path / "packed" / "shard-000000.tar").rename(tmp_path / "tars" / "a.tar")
    assert len(open_source(tmp_path / "tars")) == 10


def test_keys_are_unique_and_safe_whatever_names_there_are(pictures: Path, tmp_path: Path) -> None:
    odd = tmp_path / "odd"
    for name in ("a.b.c.png", "x/a.b.c.png", "人/ä ö.png", "-rf.png", "$(x).png", "l" * 200 + ".png"):
        (odd / name).parent.mkdir(parents=True, exist_ok=True)
        (odd / name).write_bytes((pictures / "0000.png").read_bytes())
    assert pack(odd, tmp_path / "packed") == 0
    with tarfile.open(tmp_path / "packed" / "shard-000000.tar") as tar:
        names = tar.getnames()
    keys = {name.partition(".")[0] for name in names}
    assert len(keys) == 6
    assert all(key.replace("-", "").replace("_", "").isalnum() and key.isascii() and len(key) < 100 for key in keys)
    assert set(files_of(tmp_path / "packed")) == {path.relative_to(odd).as_posix() for path in odd.rglob("*.png")}


def test_workers_change_no_byte(pictures: Path, tmp_path: Path) -> None:
    pack(pictures, tmp_path / "one")
    pack(pictures, tmp_path / "two", "--workers", 2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_unreadable_images_are_left_out_and_named_up_to_a_limit(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "0003.png").write_bytes(b"no picture")
    (pictures / "0030.png").write_bytes((pictures / "0030.png").read_bytes()[:60])
    assert pack(pictures, tmp_path / "packed") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "of 32 images cannot be read, over the limit of 1.0%" in error
    assert "0003.png" in error
    assert not (tmp_path / "packed" / "manifest.json").exists()
    assert pack(pictures, tmp_path / "packed", "--unreadable-share", 0.1) == 0
    manifest = json.loads((tmp_path / "packed" / "manifest.json").read_text())
    assert [entry["name"] for entry in manifest["skipped"]] == ["0003.png", "0030.png"]
    assert all(entry["reason"] for entry in manifest["skipped"])
    assert manifest["images"] == 30
    assert set(files_of(tmp_path / "packed")) == {path.name for path in pictures.iterdir()} - {"0003.png", "0030.png"}


def test_of_many_unreadable_images_five_are_named_and_all_stand_in_a_file(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = sorted(path.name for path in pictures.iterdir())[:9]
    for name in names:
        (pictures / name).write_bytes(b"no picture")
    assert pack(pictures, tmp_path / "packed") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    listed = tmp_path / "packed" / ".pack" / "unreadable.txt"
    assert [name in error for name in names] == [True] * 5 + [False] * 4
    assert f"and 4 more, all named in {listed}" in error
    assert [line[1:9] for line in listed.read_text().splitlines()] == names
    assert pack(pictures, tmp_path / "packed", "--unreadable-share", 0.5) == 0
    assert not listed.exists()


def test_images_are_shrunk_where_they_are_larger_and_keep_their_bytes_where_not(pictures: Path, tmp_path: Path) -> None:
    Image.new("RGB", (100, 301), (200, 30, 40)).save(pictures / "large.png")
    Image.new("L", (8, 301)).save(pictures / "tall.png")
    pack(pictures, tmp_path / "packed", "--height", 64, "--width", 31)
    files = files_of(tmp_path / "packed")
    assert {name: files[name] for name in files if name[0] == "0"} == {
        p.name: p.read_bytes() for p in pictures.glob("0*")
    }
    sizes = {name: Image.open(io.BytesIO(files[name])).size for name in ("large.png", "tall.png")}
    assert sizes == {"large.png": (31, 64), "tall.png": (8, 64)}
    assert Image.open(io.BytesIO(files["large.png"])).format == "JPEG"


def test_all_are_encoded_anew_where_a_quality_is_asked_for(pictures: Path, tmp_path: Path) -> None:
    pack(pictures, tmp_path / "packed", "--quality", 80)
    images = [Image.open(io.BytesIO(content)) for content in files_of(tmp_path / "packed").values()]
    assert {(image.format, image.size) for image in images} == {("JPEG", (12, 24))}
    with tarfile.open(tmp_path / "packed" / "shard-000000.tar") as tar:
        assert tar.getnames()[0] == "000000000-0000.jpg"


def test_a_packed_set_is_packed_again(pictures: Path, tmp_path: Path) -> None:
    pack(pictures, tmp_path / "packed")
    assert pack(tmp_path / "packed", tmp_path / "again", "--shard-size", 7) == 0
    assert files_of(tmp_path / "again") == files_of(tmp_path / "packed")


def test_the_same_line_again_verifies(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack(pictures, tmp_path / "packed")
    before = tree(tmp_path / "packed")
    assert pack(pictures, tmp_path / "packed") == 0
    assert "all 4 shards are as their hashes say" in capsys.readouterr().err
    assert tree(tmp_path / "packed") == before
    shard = tmp_path / "packed" / "shard-000002.tar"
    content = bytearray(shard.read_bytes())
    content[3000] ^= 1
    shard.write_bytes(content)
    assert pack(pictures, tmp_path / "packed") == 2
    assert "1 of 4 shards are damaged or missing (shard-000002.tar)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--shard-size", "0"], "give a whole number of at least 1"),
        (["--quality", "101"], "give a whole number from 1 to 100"),
        (["--workers", "0"], "give a whole number of at least 1"),
        (["--unreadable-share", "2"], "give a number from 0 to 1"),
        (["--cfs-share", "0.5"], "has none"),
        (["--heigth", "3"], "did you mean '--height'"),
    ],
)
def test_impossible_settings_are_refused(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    assert pack(pictures, tmp_path / "packed", *flags) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "packed").exists()


def test_a_folder_with_something_else_in_it_is_left_alone(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(pictures, pictures / "packed") == 2
    assert "which stays as it came" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    assert pack(pictures, tmp_path / "out") == 2
    assert "is not empty (thesis.tex)" in capsys.readouterr().err
    pack(pictures, tmp_path / "packed")
    before = tree(tmp_path / "packed")
    assert pack(pictures, tmp_path / "packed", "--quality", 50) == 2
    assert "was packed otherwise (settings, encoder differ)" in capsys.readouterr().err
    (pictures / "0003.png").rename(pictures / "9999.png")
    assert pack(pictures, tmp_path / "packed") == 2
    assert "was packed otherwise (source differ)" in capsys.readouterr().err
    assert tree(tmp_path / "packed") == before


def start(source: Path, out: Path) -> subprocess.Popen[bytes]:
    words = ["pack", source, out, "--shard-size", 40, "--workers", 2, "--quality", 90]
    command = [sys.executable, "-W", "error", "-m", "upreid", *map(str, words)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


@pytest.mark.slow
@pytest.mark.parametrize("group", [False, True], ids=["the program alone", "its workers too"])
def test_killed_at_any_time_and_run_again_it_ends_with_the_same_bytes(tmp_path: Path, group: bool) -> None:
    source = tmp_path / "many"
    source.mkdir()
    picture = Image.effect_noise((128, 256), 60).convert("RGB")
    for number in range(600):
        picture.crop((number % 60, number % 120, number % 60 + 64, number % 120 + 128)).save(
            source / f"{number:04d}.jpg"
        )
    assert start(source, tmp_path / "whole").wait(timeout=300) == 0
    out, kills = tmp_path / "killed", 0
    for shards in (1, 2, 5, 9, 13):
        process = start(source, out)
        while process.poll() is None and len(list(out.glob(".pack/*.record"))) < shards:
            time.sleep(0.005)
        if process.poll() is None:
            (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 3
    assert start(source, out).wait(timeout=300) == 0
    assert tree(out) == tree(tmp_path / "whole")


@pytest.mark.slow
def test_training_from_a_pack_gives_the_encoder_of_training_from_the_folder(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(pictures, tmp_path / "packed")
    with tarfile.open(tmp_path / "plain.tar", "w") as tar:
        for path in sorted(pictures.iterdir()):
            tar.add(path, arcname=path.name)
    encoders = []
    for root in (pictures, tmp_path / "packed", tmp_path / "plain.tar"):
        out = tmp_path / f"run-{root.name}"
        words = ["--data.root", str(root), "--out", str(out), "--train.steps", "5", "--train.save-every", "3"]
        assert main(["pretrain", "laptop", *words, *SMALL]) == 0
        encoders.append((out / "encoder.safetensors").read_bytes())
    assert encoders[1:] == encoders[:1] * 2
    log = (tmp_path / "run-packed" / "logs" / "pretrain.log").read_text()
    assert "a packed set (32 images in 4 shards, original files)" in log
    assert main(["pretrain", "--resume", str(tmp_path / "run-packed")]) == 0
    assert "had come to its end" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_not_resumed_on_other_images(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(pictures, tmp_path / "packed")
    words = ["--data.root", str(tmp_path / "packed"), "--out", str(tmp_path / "run"), "--train.steps", "2"]
    assert main(["pretrain", "laptop", *words, *SMALL]) == 0
    (tmp_path / "packed").rename(tmp_path / "before")
    pack(pictures, tmp_path / "packed", "--quality", 50)
    assert main(["pretrain", "--resume", str(tmp_path / "run")]) == 2
    assert "32 images as before, but others than when the run was saved" in capsys.readouterr().err
