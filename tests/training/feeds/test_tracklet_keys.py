"""Keys of another crop of the query's tracklet: `--data.tracklets`."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from upreid.cli import main
from upreid.data.augment import PRESETS, OriginalView, StrongView, TrackletNumber, ViewRequest
from upreid.data.sources.recognise import open_source
from upreid.data.tracklets import Tracklets
from upreid.runtime.compute import Compute
from upreid.training.feeds.unlabelled import Pairing, UnlabelledFeed
from upreid.types import Preprocess

PREPROCESS = Preprocess(height=24, width=12, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
STRONG = StrongView(preset=PRESETS["luperson"])
VIEWS = {"query": STRONG, "key": StrongView(preset=PRESETS["luperson"], of_mate=True)}
TINY = "--model.channels 4 --train.batch 8 --model.bn-groups 2 --contrast.queue 16 --train.steps 6 --train.save-every 3"
HERE = "--train.threads 1 --train.workers 0 --train.device cpu"


def feed(
    pictures: Path, pairing: Pairing | None, workers: int = 0, views: Mapping[str, ViewRequest] = VIEWS
) -> UnlabelledFeed:
    compute = Compute(device=torch.device("cpu"), threads=1, workers=workers)
    source = open_source(pictures)
    return UnlabelledFeed(source, views, preprocess=PREPROCESS, batch=8, seed=5, compute=compute, pairing=pairing)


def test_the_key_is_the_key_view_of_the_mate_and_the_query_stays_as_it_was(pictures: Path) -> None:
    pairing = Pairing(Tracklets(np.arange(32) // 4))
    pairs, plain = feed(pictures, pairing), feed(pictures, None)
    (batch, _), (own, _) = next(pairs.batches(0, 1)), next(plain.batches(0, 1))
    assert isinstance(batch, dict)
    assert isinstance(own, dict)
    torch.testing.assert_close(batch["query"], own["query"])
    indices = np.array([index for _, index in next(iter(pairs.loader_order(0, 1)))])
    mates = pairing.tracklets.mates(indices[:8], seed=5, epoch=0)
    np.testing.assert_array_equal(indices[8:], mates)
    assert (indices[:8] != mates).all()
    # every image's key view, as a feed without tracklets makes it
    views = [views for (views, _) in plain.batches(0, 4)]
    order = [index for keys in plain.loader_order(0, 4) for _, index in keys]
    keys = torch.cat([view["key"] for view in views if isinstance(view, dict)])
    expected = torch.stack([keys[order.index(mate)] for mate in mates])
    torch.testing.assert_close(batch["key"], expected, rtol=1e-4, atol=1e-4)


def test_single_crops_change_nothing(pictures: Path) -> None:
    alone = feed(pictures, Pairing(Tracklets(np.arange(32))))
    (batch, _), (own, _) = next(alone.batches(0, 1)), next(feed(pictures, None).batches(0, 1))
    torch.testing.assert_close(batch, own)


@pytest.mark.parametrize("workers", [0, 1])
def test_numbers_and_originals_are_those_of_the_crop_that_was_asked_for(pictures: Path, workers: int) -> None:
    pairing = Pairing(Tracklets(np.arange(32) // 4), share=0.5)
    views = {
        **VIEWS,
        "mine": TrackletNumber(),
        "its": TrackletNumber(of_mate=True),
        "own": OriginalView(),
        "other": OriginalView(of_mate=True),
    }
    some = feed(pictures, pairing, workers, views)
    (batch, _) = next(some.batches(0, 1))
    assert isinstance(batch, dict)
    indices = np.array([index for _, index in next(iter(some.loader_order(0, 1)))])
    assert batch["mine"].tolist() == batch["its"].tolist() == (indices[:8] // 4).tolist()
    is_own = indices[:8] == indices[8:]
    assert 0 < is_own.sum() < 8
    same = [torch.equal(one, other) for one, other in zip(batch["own"], batch["other"], strict=True)]
    assert same == is_own.tolist()


def begin(pictures: Path, out: Path, *flags: str) -> int:
    words = ["--data.root", str(pictures), "--out", str(out), *TINY.split(), *HERE.split(), *flags]
    return main(["pretrain", "both-terms-laptop", *words])


@pytest.fixture
def people(pictures: Path) -> Path:
    """A folder of 32 pictures, four to a tracklet, with their list."""
    rows = [f"{number:04d}.png,t{number // 4}" for number in range(32)]
    (pictures / "tracklets.csv").write_text("\n".join(["file,tracklet", *rows]) + "\n")
    return pictures


def test_a_run_with_tracklets_says_so_and_goes_on_to_the_same_bytes(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert begin(people, run, "--data.tracklets", "own") == 0
    assert "tracklets: 8 of 4 to 4 crops" in capsys.readouterr().err
    shutil.copy(run / "encoder.safetensors", tmp_path / "whole.safetensors")
    (run / "states" / "step-000000003.pt").replace(run / "state.pt")
    assert main(["pretrain", "--resume", str(run)]) == 0
    assert (run / "encoder.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    assert begin(people, tmp_path / "plain") == 0
    plain = (tmp_path / "plain" / "encoder.safetensors").read_bytes()
    assert plain != (tmp_path / "whole.safetensors").read_bytes()


def test_a_list_that_changed_is_refused_and_one_that_moved_is_not(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved.csv"
    assert begin(people, run, "--data.tracklets", str(people / "tracklets.csv")) == 0
    (run / "states" / "step-000000003.pt").replace(run / "state.pt")
    (people / "tracklets.csv").rename(moved)
    moved.write_text(moved.read_text().replace("0031.png,t7", "0031.png,t0"))
    assert main(["pretrain", "--resume", str(run), "--data.tracklets", str(moved)]) == 2
    assert "32 images are those that the run was saved with, but their tracklets are others" in capsys.readouterr().err
    moved.write_text(moved.read_text().replace("0031.png,t0", "0031.png,t7"))
    assert main(["pretrain", "--resume", str(run), "--data.tracklets", str(moved)]) == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--intrinsic.source", "views"], ["--intrinsic.source views", "one picture"]),
        (["--contrast.key", "original"], ["--contrast.key"]),
        (["--data.tracklets", "nowhere.csv"], ["nowhere.csv"]),
        (["--data.tracklet-gap", "0"], ["--data.tracklet-gap"]),
        (["--data.tracklet-share", "0"], ["--data.tracklet-share"]),
    ],
    ids=lambda value: value[0],
)
def test_what_cannot_be_is_refused_before_the_first_step(
    flags: list[str], words: list[str], people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begin(people, tmp_path / "run", "--data.tracklets", "own", *flags) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("upreid: error:")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words), lines[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--contrast.mates", "left-out"],
        ["--consistency.original", "key"],
        ["--data.tracklet-gap", "3"],
        ["--data.tracklet-share", "0.5"],
    ],
)
def test_what_needs_tracklets_is_refused_without_them(
    flags: list[str], people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert begin(people, tmp_path / "run", *flags) == 2
    assert f"{' '.join(flags[:1])}" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_every_option_at_once_goes_on_to_the_same_bytes(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--data.tracklets", "own", "--data.tracklet-gap", "2", "--data.tracklet-share", "0.75"]
    flags += ["--contrast.mates", "positives", "--consistency.original", "key"]
    run = tmp_path / "run"
    assert begin(people, run, *flags) == 0
    assert (
        "keys come from another crop of the tracklet, 2 or more places apart, for 75% of the images"
        in capsys.readouterr().err
    )
    whole = (run / "encoder.safetensors").read_bytes()
    (run / "states" / "step-000000003.pt").replace(run / "state.pt")
    assert main(["pretrain", "--resume", str(run)]) == 0
    assert (run / "encoder.safetensors").read_bytes() == whole


@pytest.mark.slow
def test_killed_at_any_step_and_resumed_it_ends_with_the_same_bytes(people: Path, tmp_path: Path) -> None:
    flags = ["--data.tracklets", "own", "--contrast.mates", "left-out", *TINY.split(), *HERE.split()]
    flags += ["--train.steps", "60", "--train.save-every", "5"]
    line = [sys.executable, "-m", "upreid", "pretrain", "moco-laptop", "--data.root", str(people), *flags]
    for name in ("whole", "killed"):
        run = tmp_path / name
        process = subprocess.Popen([*line, "--out", str(run)], stderr=subprocess.DEVNULL)
        while name == "killed" and process.poll() is None and not (run / "state.pt").exists():
            time.sleep(0.005)
        if name == "killed":
            process.kill()
        assert process.wait(timeout=300) == (-9 if name == "killed" else 0)
    assert main(["pretrain", "--resume", str(tmp_path / "killed")]) == 0
    whole, killed = ((tmp_path / name / "encoder.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


@pytest.mark.slow
@pytest.mark.ranks
def test_two_ranks_and_workers_draw_the_same_pairs_as_one_process(people: Path, tmp_path: Path) -> None:
    flags = [
        "--data.root",
        str(people),
        "--data.tracklets",
        "own",
        "--train.no-auto-precision",
        *TINY.split(),
        *HERE.split(),
    ]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "upreid"]
    words = [*torchrun, "pretrain", "moco-laptop", *flags, "--model.bn-groups", "1", "--out", str(tmp_path / "two")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, env=os.environ.copy())
    assert done.returncode == 0, done.stderr
    assert main(["pretrain", "moco-laptop", *flags, "--train.workers", "1", "--out", str(tmp_path / "one")]) == 0
    two, one = ((tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("two", "one"))
    for ours, theirs in zip(two, one, strict=True):
        assert json.loads(ours)["contrast"] == pytest.approx(json.loads(theirs)["contrast"], rel=1e-3)
