"""Adaptation with camera-aware proxies: what a run states, what it refuses, and that it goes on as if it had not been stopped."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch

from upreid.cli import main

SMALL = ["--random.channels", "8", "--random.height", "32", "--random.width", "16", "--input.pad", "2"]
QUICK = ["--train.identities", "4", "--train.images", "4", "--train.iterations", "3", "--train.epochs", "2"]
LOOSE = ["--cluster.eps", "0.4", "--cluster.min-samples", "2", "--cluster.k1", "8", "--cluster.k2", "2"]
ALONE = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0"]
PROXIES = ["--memory.kind", "camera-proxies"]


def line(corpus: Path, out: Path, *flags: str) -> list[str]:
    data = ["--init", "random", "--data.name", "market1501", "--data.root", str(corpus), "--out", str(out)]
    return ["adapt", "laptop-usl", *data, *SMALL, *QUICK, *LOOSE, *ALONE, *PROXIES, *flags]


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(line(corpus, out)) == 0
    return out


def test_a_run_learns_within_and_across_cameras_and_states_that_it_used_their_labels(whole: Path) -> None:
    rows = [json.loads(row) for row in (whole / "metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "lr" in row]
    assert len(steps) == 6
    assert all(row["camera"] > 0 and row["across_cameras"] > 0 and "cluster" not in row for row in steps)
    assert json.loads((whole / "retrieval.json").read_text())["protocol"]["camera_labels"] == "sampler and proxies"
    log = (whole / "logs" / "adapt.log").read_text()
    assert "camera labels decide which images meet in a batch and split clusters into proxies" in log
    assert "each cluster has a proxy for each of its cameras" in log


def test_the_state_has_a_proxy_for_each_camera_of_each_cluster(corpus: Path, whole: Path) -> None:
    state = torch.load(whole / "state.pt", weights_only=True)
    shared, labels = state["shared"], state["feed"]["labels"].tolist()
    names = sorted(path.name for path in (corpus / "bounding_box_train").glob("*.jpg"))
    cameras = [int(name.split("_c")[1][0]) for name in names]
    pairs = sorted({(label, camera) for label, camera in zip(labels, cameras, strict=True) if label >= 0})
    held = list(zip(shared["memory.clusters"].tolist(), shared["memory.cameras"].tolist(), strict=True))
    assert held == pairs
    assert len(shared["memory"]) == len(pairs) > len({cluster for cluster, _ in pairs})


@pytest.mark.slow
def test_a_run_that_goes_on_within_an_epoch_ends_with_the_same_bytes(
    corpus: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from upreid.training import loop

    monkeypatch.setattr(loop, "is_time_to_stop", lambda stop, done, *_: done == 4)
    assert main(line(corpus, tmp_path / "part")) == 128
    monkeypatch.undo()
    assert main(["adapt", "--resume", str(tmp_path / "part"), *ALONE[2:]]) == 0
    for name in ("encoder.safetensors", "retrieval.json"):
        assert (tmp_path / "part" / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--memory.cameras", "ignored"], "camera-proxies with --memory.cameras ignored: proxies need the cameras"),
        (["--source.name", "personx", "--source.root", "x"], "camera-proxies with a source"),
        (
            ["--memory.kind", "clusters", "--memory.negatives", "9"],
            "--memory.negatives is for --memory.kind camera-proxies",
        ),
        (["--memory.kind", "clusters", "--memory.across-weight", "1"], "--memory.across-weight is for --memory.kind"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    flags: list[str], words: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(corpus, tmp_path / "run", *flags)) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_images_without_camera_labels_are_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = corpus / "bounding_box_train"
    assert main(line(folder, tmp_path / "run", "--data.name", "unlabelled")) == 2
    said = capsys.readouterr().err
    assert re.search(r"--memory.kind camera-proxies: (\d+) of \1 images of .* have no camera label", said)
    assert not (tmp_path / "run" / "state.pt").exists()


def test_images_of_one_camera_are_refused(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = Path(shutil.copytree(corpus, tmp_path / "one", copy_function=os.link))
    for path in (one / "bounding_box_train").glob("*.jpg"):
        if "_c1" not in path.name:
            path.unlink()
    assert main(line(one, tmp_path / "run")) == 2
    assert re.search(r"all \d+ images of .* are of one camera", capsys.readouterr().err)
