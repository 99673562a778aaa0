"""What may be otherwise when a run is resumed, and what may not."""

import json
import shutil
from pathlib import Path

import pytest

from upreid.cli import main

TINY = "--model.channels 4 --train.batch 8 --model.bn-groups 2 --contrast.queue 16 --train.steps 6 --train.save-every 3"
ALONE = "--train.threads 1 --train.workers 0 --train.device cpu"


def begin(pictures: Path | str, out: Path, *flags: str) -> int:
    words = [*TINY.split(), *ALONE.split(), *flags]
    return main(["pretrain", "moco-laptop", "--data.root", str(pictures), "--out", str(out), *words])


def killed_after_three_steps(run: Path) -> None:
    (run / "states" / "step-000000003.pt").replace(run / "state.pt")
    (run / "encoder.safetensors").unlink()


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


@pytest.fixture
def run(pictures: Path, tmp_path: Path) -> Path:
    """A run that was killed after three of six steps, and `whole.safetensors`, what it would have ended with."""
    assert begin(pictures, tmp_path / "run") == 0
    shutil.copy(tmp_path / "run" / "encoder.safetensors", tmp_path / "whole.safetensors")
    killed_after_three_steps(tmp_path / "run")
    return tmp_path / "run"


def test_images_that_moved_are_given_as_data_root_and_the_bytes_are_the_same(
    run: Path, pictures: Path, tmp_path: Path
) -> None:
    moved = pictures.rename(tmp_path / "elsewhere")
    assert main(["pretrain", "--resume", str(run), "--data.root", str(moved), "--train.save-every", "2"]) == 0
    assert (run / "encoder.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_a_relative_path_is_found_again_from_another_folder(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    assert begin(pictures.name, tmp_path / "run") == 0
    whole = (tmp_path / "run" / "encoder.safetensors").read_bytes()
    killed_after_three_steps(tmp_path / "run")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert main(["pretrain", "--resume", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "encoder.safetensors").read_bytes() == whole


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--optim.lr", "0.5"], ["--optim.lr", "decides the result"]),
        (["--train.seed", "5"], ["--train.seed", "decides the result"]),
        (["--train.batch", "16"], ["--train.batch", "decides the result"]),
        (["--out", "elsewhere"], ["--out", "own folder"]),
        (["--train.steps", "9"], ["--train.steps", "give --out"]),
        (["--train.steps", "9", "--out", "longer"], ["cosine"]),
        (["--no.such-flag", "1"], ["--no.such-flag"]),
    ],
    ids=lambda value: value[0],
)
def test_what_decides_the_result_stays_as_it_was(
    run: Path, flags: list[str], words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    said(capsys)
    assert main(["pretrain", "--resume", str(run), *flags]) == 2
    line = said(capsys)
    assert all(word in line for word in words), line
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert not (run.parent / "longer").exists()


def test_other_images_under_the_same_path_are_refused(
    run: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = sorted(pictures.iterdir())[0]
    first.rename(first.with_name("another-name.png"))
    assert main(["pretrain", "--resume", str(run)]) == 2
    assert "others than when the run was saved" in said(capsys)


def test_another_number_of_threads_goes_on_and_says_that_bytes_are_not_promised(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads((run / "config.json").read_text())
    config["resolved"]["threads"] = 2
    (run / "config.json").write_text(json.dumps(config))
    assert main(["pretrain", "--resume", str(run)]) == 0
    assert "threads 2 -> 1" in said(capsys)
