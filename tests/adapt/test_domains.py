"""Domain adaptation with joint training: what it writes, what it refuses, and that it goes on as if it had not been stopped."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from upreid.cli import main
from upreid.models.encoder import load_encoder

SMALL = ["--random.channels", "8", "--random.height", "32", "--random.width", "16", "--input.pad", "2"]
QUICK = ["--train.identities", "4", "--train.images", "4", "--train.iterations", "3", "--train.epochs", "2"]
LOOSE = ["--cluster.eps", "0.4", "--cluster.min-samples", "2", "--cluster.k1", "8", "--cluster.k2", "2"]
IMAGES = 96
CLUSTERS = ["--memory.kind", "clusters", "--cluster.reliability-gap", "0"]  # tests/adapt/test_hybrid.py has the others
ALONE = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a target in market1501's layout, and a source of other people in personx's."""
    out = tmp_path_factory.mktemp("world")
    for seed, layout in ((1, "market1501"), (2, "personx")):
        size = ["--version", "1", "--identities", "16", "--height", "32", "--width", "16", "--workers", "1"]
        assert main(["synth", str(out / str(seed)), *size, "--seed", str(seed), "--layout", layout]) == 0
        shutil.move(out / str(seed) / layout, out / layout)
    return out


def line(world: Path, out: Path, *flags: str) -> list[str]:
    data = ["--source.name", "personx", "--source.root", str(world / "personx")]
    data += ["--data.name", "market1501", "--data.root", str(world / "market1501"), "--out", str(out)]
    return ["adapt", "laptop-uda", "--init", "random", *data, *SMALL, *QUICK, *LOOSE, *CLUSTERS, *ALONE, *flags]


@pytest.fixture(scope="module")
def whole(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(line(world, out)) == 0
    return out


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_learns_from_both_and_states_whose_labels_it_used(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [row for row in journal(whole) if "lr" in row]
    assert [row["step"] for row in steps] == list(range(6))
    assert all({"cluster", "source"} <= row.keys() for row in steps)
    reports = [row["clusters"] for row in journal(whole) if "clusters" in row]
    assert len(reports) == 2
    assert {"features", "source features"} <= reports[0]["phases"].keys()
    protocol = json.loads((whole / "retrieval.json").read_text())["protocol"]
    both = "personx with labels and market1501 without labels"
    assert (protocol["trained_on"], protocol["setting"]) == (both, "domain adaptation, joint training")
    assert {"dataset": "personx", "labels": "used", "images": IMAGES, "people": 8}.items() <= protocol["source"].items()
    assert (protocol["training_images"], protocol["source"]["epochs_from_source_alone"]) == (IMAGES, 0)
    log = (whole / "logs" / "adapt.log").read_text()
    assert f"source personx: {IMAGES} images of 8 people, whose labels are learnt from; each step has 16 of them" in log
    assert "each have a BatchNorm of their own" in log
    assert main(["table", str(whole)]) == 0
    assert both in capsys.readouterr().out


def test_the_encoder_file_holds_the_target_of_the_state(whole: Path) -> None:
    state = torch.load(whole / "state.pt", weights_only=True)
    tensors, encoder = state["parameters"] | {k: v[0] for k, v in state["buffers"].items()}, load_encoder(whole)
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, tensors[f"student.encoder.{name}"]), name
    for name in ("head.neck.weight", "head.neck.running_mean", "backbone.bn1.running_var"):
        assert not torch.equal(encoder.state_dict()[name], tensors[f"student.source.{name}"]), name
    assert "student.source.backbone.conv1.weight" not in tensors
    assert len(state["shared"]["memory"]) > 8


@pytest.mark.parametrize("steps", [pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow), 4])
def test_a_run_that_goes_on_in_an_epoch_or_between_two_ends_with_the_same_bytes(
    steps: int, world: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from upreid.training import loop

    part = tmp_path / "part"
    monkeypatch.setattr(loop, "is_time_to_stop", lambda stop, done, *_: done == steps)
    assert main(line(world, part)) == 128
    monkeypatch.undo()
    assert main(["adapt", "--resume", str(part), *ALONE[2:]]) == 0
    assert (part / "encoder.safetensors").read_bytes() == (whole / "encoder.safetensors").read_bytes()


@pytest.mark.slow
def test_epochs_without_clusters_learn_from_the_source_alone_and_go_on_alike(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from upreid.training import loop

    none = ["--cluster.eps", "0.001", "--cluster.min-samples", "9"]
    assert main(line(world, tmp_path / "whole", *none)) == 0
    assert "epoch 1 learns from the source alone: there is no cluster" in capsys.readouterr().err
    assert all("cluster" not in row for row in journal(tmp_path / "whole") if "lr" in row)
    reasons = [row["clusters"]["source_alone"] for row in journal(tmp_path / "whole") if "clusters" in row]
    assert [reason.startswith("there is no cluster") for reason in reasons] == [True] * 2
    monkeypatch.setattr(loop, "is_time_to_stop", lambda stop, done, *_: done == 2)
    assert main(line(world, tmp_path / "part", *none)) == 128
    monkeypatch.undo()
    assert main(["adapt", "--resume", str(tmp_path / "part"), *ALONE[2:]]) == 0
    for name in ("encoder.safetensors", "retrieval.json"):
        assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    protocol = json.loads((tmp_path / "part" / "retrieval.json").read_text())["protocol"]
    assert protocol["source"]["epochs_from_source_alone"] == 2
    assert main(line(world, tmp_path / "strict", *none, "--source.alone-epochs", "0")) == 2
    assert "there is no cluster: --cluster.eps 0.001" in capsys.readouterr().err


@pytest.mark.slow
def test_a_value_whose_trial_ends_without_clusters_is_not_chosen(world: Path, tmp_path: Path) -> None:
    assert main(line(world, tmp_path / "run", "--choose", "min-samples", "60", "2", "--trial-epochs", "1")) == 0
    choice = json.loads((tmp_path / "run" / "retrieval.json").read_text())["protocol"]["choice"]
    assert choice["chosen"] == "2"
    assert choice["scores"]["60"]["silhouette"] is None
    assert "there is no cluster" in choice["scores"]["60"]["refused"]


@pytest.mark.slow
def test_a_source_may_move_but_not_change(
    whole: Path, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = shutil.copytree(world / "personx", tmp_path / "moved")
    assert main(["adapt", "--resume", str(whole), "--source.root", str(moved)]) == 0
    next(iter(sorted((moved / "PersonX" / "bounding_box_train").iterdir()))).unlink()
    capsys.readouterr()
    assert main(["adapt", "--resume", str(whole), "--source.root", str(moved)]) == 2
    assert "but the images of the source are others; give --source.root" in capsys.readouterr().err
    assert main(["adapt", "--resume", str(whole), "--source.name", "market1501"]) == 2
    assert "--source.name decides the result" in capsys.readouterr().err


def refused(words: list[str], capsys: pytest.CaptureFixture[str], out: Path) -> str:
    """Return the one line that a command is refused with, before it has left anything behind."""
    capsys.readouterr()
    assert main(words) == 2
    assert not out.exists()
    errors = [row for row in capsys.readouterr().err.splitlines() if "error: " in row]
    assert len(errors) == 1
    return errors[0]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--source.root", "None"], "--source.name personx without its folder: give --source.root"),
        (["--source.name", "None"], "without its layout: give --source.name"),
        (["--source.root", "nowhere"], "nowhere"),
        (["--source.name", "persona"], "unknown data set 'persona'; did you mean 'personx'?"),
        (["--train.images", "25"], "batches of 4 clusters x 25 images, and there are 96 images to adapt to"),
        (
            ["--train.identities", "12", "--train.images", "2"],
            "batches of 12 people of the source, and 8 of its people have two images or more",
        ),
        (["--source.name", "None", "--source.root", "None"], "--source.alone-epochs without a source"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_in_one_line(
    flags: list[str], words: str, world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(line(world, tmp_path / "run", *flags), capsys, tmp_path / "run")


def test_a_source_that_is_the_target_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to(world / "market1501")
    copy = shutil.copytree(world / "market1501", tmp_path / "copy")
    for root in (world / "market1501", tmp_path / "link", copy):
        flags = ["--source.name", "market1501", "--source.root", str(root)]
        assert "hold the same images" in refused(line(world, tmp_path / "run", *flags), capsys, tmp_path / "run")
    for root in (world / "personx" / "PersonX" / "bounding_box_train", world):
        flags = ["--data.name", "unlabelled", "--data.root", str(root)]
        assert "hold the same images" in refused(line(world, tmp_path / "run", *flags), capsys, tmp_path / "run")


def test_another_set_whose_images_have_the_names_of_the_target_is_a_source(world: Path, tmp_path: Path) -> None:
    size = ["--version", "1", "--identities", "16", "--height", "32", "--width", "16", "--workers", "1"]
    assert main(["synth", str(tmp_path / "other"), *size, "--seed", "3"]) == 0
    other = tmp_path / "other" / "market1501"
    theirs, ours = ({file.name for file in root.glob("*/*.jpg")} for root in (other, world / "market1501"))
    assert theirs == ours
    flags = ["--source.name", "market1501", "--source.root", str(other), "--train.steps", "1"]
    assert main(line(world, tmp_path / "run", *flags)) == 0


@pytest.mark.slow
def test_a_target_without_any_labels_ends_with_its_encoder(world: Path, tmp_path: Path) -> None:
    folder = str(world / "market1501" / "bounding_box_train")
    assert main(line(world, tmp_path / "run", "--data.name", "unlabelled", "--data.root", folder)) == 0
    assert load_encoder(tmp_path / "run").header.trained_on == "personx with labels and images without labels"
    assert not (tmp_path / "run" / "retrieval.json").exists()
