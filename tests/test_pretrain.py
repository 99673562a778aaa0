import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from upreid.runtime.journal import read_journal

SMALL = ["--model.channels", "4", "--model.embed-dim", "16", "--model.bn-groups", "2"]
SMALL += ["--contrast.queue", "16", "--train.batch", "8"]
SETTLED = ["--train.threads", "1", "--train.workers", "0", "--train.device", "cpu"]
STEPS = 40


def command(*words: object) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "upreid", "pretrain", *map(str, words)]


def begin(pictures: Path, out: Path, *flags: object, steps: int = STEPS) -> list[str]:
    where = ["--data.root", pictures, "--out", out, "--train.steps", steps, "--train.save-every", 7]
    return command("both-terms-laptop", *where, *SMALL, *SETTLED, *flags)


def finish(words: list[str], code: int = 0) -> str:
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr


def without_times(out: Path) -> list[dict[str, object]]:
    lines = read_journal(out / "metrics.jsonl")
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def assert_same_run(ours: Path, theirs: Path) -> None:
    assert (ours / "encoder.safetensors").read_bytes() == (theirs / "encoder.safetensors").read_bytes()
    states = [torch.load(out / "state.pt", weights_only=True) for out in (ours, theirs)]
    assert_equal_values(*states)
    assert without_times(ours) == without_times(theirs)
    assert [line["step"] for line in without_times(ours)] == list(range(STEPS))


def assert_equal_values(ours: object, theirs: object) -> None:
    assert type(ours) is type(theirs)
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(ours, dict) and isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert_equal_values(value, theirs[key])
    elif isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for value, other in zip(ours, theirs, strict=True):
            assert_equal_values(value, other)
    else:
        assert ours == theirs


@pytest.fixture(scope="module")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    numbers = torch.Generator().manual_seed(1)
    for index in range(32):
        pixels = torch.randint(0, 256, (4, 2, 3), generator=numbers, dtype=torch.uint8).numpy()
        Image.fromarray(pixels).resize((32, 64)).save(folder / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="module")
def uninterrupted(picture_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    finish(begin(picture_folder, out))
    return out


@pytest.mark.slow
def test_workers_change_nothing(picture_folder: Path, uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = begin(picture_folder, out)
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core has no room for a worker")
    words[words.index("--train.workers") + 1] = "1"
    finish(words)
    assert (out / "encoder.safetensors").read_bytes() == (uninterrupted / "encoder.safetensors").read_bytes()


@pytest.mark.slow
def test_the_monitor_observes_only(picture_folder: Path, uninterrupted: Path, tmp_path: Path, run_upreid) -> None:
    assert run_upreid("synth", tmp_path / "c", "--identities", 4, "--seed", 1).returncode == 0
    watch = ["--monitor.every-epochs", 5, "--monitor.root", tmp_path / "c" / "market1501"]
    words = finish(begin(picture_folder, tmp_path / "run", *watch))
    assert (tmp_path / "run" / "encoder.safetensors").read_bytes() == (
        uninterrupted / "encoder.safetensors"
    ).read_bytes()
    assert_equal_values(*(torch.load(out / "state.pt", weights_only=True) for out in (tmp_path / "run", uninterrupted)))
    lines = without_times(tmp_path / "run")
    assert [line["step"] for line in lines if "mAP" in line] == [19, 39]
    assert [line for line in lines if "mAP" not in line] == without_times(uninterrupted)
    assert "mAP" in words


def test_a_run_lowers_its_losses(uninterrupted: Path) -> None:
    lines = read_journal(uninterrupted / "metrics.jsonl")
    mean = {name: [sum(line[name] for line in part) for part in (lines[10:20], lines[-10:])] for name in ("intrinsic",)}
    assert mean["intrinsic"][1] < mean["intrinsic"][0]


@pytest.mark.slow
def test_a_term_of_weight_zero_leaves_no_trace(picture_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    finish(begin(picture_folder, out, "--consistency.weight", 0, "--intrinsic.weight", 0, steps=2))
    assert set(read_journal(out / "metrics.jsonl")[0]) == {"step", "lr", "contrast", "seconds"}
    state = torch.load(out / "state.pt", weights_only=True)
    assert not any("patch_head" in name for part in ("parameters", "buffers", "shared") for name in state[part])


def test_the_log_names_what_was_decided(picture_folder: Path, tmp_path: Path) -> None:
    words = finish(begin(picture_folder, tmp_path / "run", "--contrast.queue", 24, steps=1))
    for expected in ("1 threads + 0 workers", "2 groups with permuted keys", "0.00375 = 0.12 per 256 images x 8 / 256"):
        assert expected in words
    assert "queue of 24 keys holds more than half of the 32 images" in words


BAD = [
    (["--train.batch", 64], ["batch of 64", "32 images", "--train.batch"]),
    (["--train.batch", 7], ["batch of 7", "--train.batch 6"]),
    (["--model.backbone", "resnet5o"], ["resnet5o", "resnet50"]),
    (["--model.backbone", "vit_tiny_patch16_224", "--model.last-stride", 1], ["ResNets", "vit_tiny_patch16_224"]),
    (["--intrinsic.rows", 5], ["5 x 2", "map of 4 x 2"]),
    (["--intrinsic.rows", 5, "--intrinsic.source", "pixels"], ["5 x 2", "input of 64 x 32"]),
    (["--augment.height", 0], ["--augment.height"]),
    (["--intrinsic.hardest", 99], ["99", "hard"]),
    (["--intrinsic.reading", "i-c", "--intrinsic.rows", 1], ["no negatives", "rows"]),
    (["--monitor.every-epochs", 1], ["--monitor.root"]),
    (["--contrast.temperature", 0], ["--contrast.temperature"]),
    (["--optim.lr", "x"], ["--optim.lr", "x"]),
    (["--model.sync-bn", "--model.bn-groups", 1], ["--model.sync-bn", "GPUs"]),
]


@pytest.mark.parametrize(("flags", "words"), BAD, ids=lambda value: str(value[0]))
def test_bad_input_gets_one_line_and_leaves_nothing(
    picture_folder: Path, tmp_path: Path, flags: list[object], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from upreid.cli import main

    code = main([str(word) for word in begin(picture_folder, tmp_path / "run", *flags)[5:]])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("upreid: error:")]
    assert code == 2
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]
    assert not (tmp_path / "run").exists()


def test_missing_empty_and_imageless_folders_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from upreid.cli import main

    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("no picture")
    for folder in ("missing", "empty", "texts"):
        words = begin(tmp_path / folder, tmp_path / "run")[5:]
        assert main(words) == 2
        assert folder in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_another_configuration_is_not_resumed(picture_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    finish(begin(picture_folder, out, steps=2))
    saved = json.loads((out / "config.json").read_text())
    saved["settings"]["optim"]["lr"] = 0.5
    (out / "config.json").write_text(json.dumps(saved))
    assert "another configuration" in finish(command("--resume", out), 2)
