"""Adaptation to images without labels: what it writes, what it refuses, and that it goes on as if it had not been stopped."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from upreid.cli import main
from upreid.config.command_line import parse_training
from upreid.config.recipe import recipe_names
from upreid.models.encoder import load_encoder

SMALL = ["--random.channels", "8", "--random.height", "32", "--random.width", "16", "--input.pad", "2"]
QUICK = ["--train.identities", "4", "--train.images", "4", "--train.iterations", "3", "--train.epochs", "2"]
LOOSE = ["--cluster.eps", "0.4", "--cluster.min-samples", "2", "--cluster.k1", "8", "--cluster.k2", "2"]
ALONE = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0"]


def line(corpus: Path, out: Path, *flags: str, init: str = "random") -> list[str]:
    data = ["--init", init, "--data.name", "market1501", "--data.root", str(corpus), "--out", str(out)]
    return ["adapt", "laptop-usl", *data, *SMALL, *QUICK, *LOOSE, *ALONE, *flags]


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_reports_its_clusters_trains_and_states_how_it_was_measured(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(corpus, tmp_path / "run")) == 0
    rows = journal(tmp_path / "run")
    reports = [row for row in rows if "clusters" in row]
    assert [(row["step"], row["epoch"]) for row in reports] == [(0, 0), (3, 1)]
    assert set(reports[0]["clusters"]["phases"]) >= {"features", "neighbours", "distances", "clusters"}
    assert reports[0]["clusters"]["agreement"]["people"] == 12
    assert [row["step"] for row in rows if "cluster" in row] == list(range(6))
    protocol = json.loads((tmp_path / "run" / "retrieval.json").read_text())["protocol"]
    assert protocol["trained_on"] == "market1501 without labels"
    assert (protocol["setting"], protocol["chosen_epoch"], protocol["clustering"]["eps"]) == (
        "without labels",
        "last",
        0.4,
    )
    assert main(["table", str(tmp_path / "run")]) == 0
    assert "market1501 without labels" in capsys.readouterr().out


@pytest.mark.slow
def test_a_folder_without_labels_gives_the_weights_that_the_labelled_set_gives(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So the labels of the people decide nothing."""
    assert main(line(corpus, tmp_path / "labelled", "--memory.cameras", "ignored")) == 0
    capsys.readouterr()
    folder = corpus / "bounding_box_train"
    assert main(line(folder, tmp_path / "folder", "--data.name", "unlabelled")) == 0
    assert "there are no labels to evaluate with" in capsys.readouterr().err
    assert not (tmp_path / "folder" / "retrieval.json").exists()
    ours, theirs = (load_encoder(tmp_path / name).state_dict() for name in ("labelled", "folder"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_the_last_epoch_is_the_result_and_the_best_one_stands_beside_it_as_an_oracle(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(corpus, tmp_path / "plain", "--train.epochs", "3")) == 0
    assert main(line(corpus, tmp_path / "run", "--train.epochs", "3", "--monitor.every-epochs", "1")) == 0
    said = capsys.readouterr().err
    plain, result = (json.loads((tmp_path / name / "retrieval.json").read_text()) for name in ("plain", "run"))
    oracle = result.pop("oracle")
    assert result == plain
    seen = {row["step"]: row for row in journal(tmp_path / "run") if "mAP" in row}
    assert list(seen) == [2, 5, 8]
    assert seen[8]["mAP"] == result["mAP"]
    assert (oracle["mAP"], oracle["chosen_with"]) == (max(row["mAP"] for row in seen.values()), "test labels")
    assert seen[3 * oracle["epoch"] - 1]["rank1"] == oracle["rank1"]
    assert f"oracle (chosen with test labels): epoch {oracle['epoch']:g}, mAP {oracle['mAP']:.2f}" in said


@pytest.mark.parametrize("cache", [0, 2_000_000_000])
def test_an_image_that_cannot_be_read_belongs_to_no_cluster_and_is_counted_and_named(
    cache: int, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In its place the image behind it is encoded, which would be a cluster of two with itself."""
    from upreid.training.feeds import inputs

    monkeypatch.setattr(inputs, "CACHE_BYTES", cache)
    folder = Path(shutil.copytree(corpus / "bounding_box_train", tmp_path / "folder"))
    broken = sorted(folder.glob("*.jpg"))[7]
    broken.write_bytes(b"no picture")
    tolerant = ["--data.name", "unlabelled", "--data.unreadable-share", "0.1", "--train.steps", "1"]
    assert main(line(folder, tmp_path / "run", *tolerant)) == 0
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["feed"]["labels"][7] == -1
    report = journal(tmp_path / "run")[0]["clusters"]
    assert (report["unreadable"], report["images"]) == (1, len(list(folder.glob("*.jpg"))) - 1)
    said = capsys.readouterr().err
    assert said.count(f"skipped '{broken.name}'") == 1
    assert ", 1 unreadable" in said


def test_a_clustered_image_that_cannot_be_read_any_more_is_named_where_an_outlier_would_take_its_place(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from upreid.training.feeds import clustered, inputs

    monkeypatch.setattr(inputs, "CACHE_BYTES", 0)
    folder = Path(shutil.copytree(corpus / "bounding_box_train", tmp_path / "folder"))
    regroup, paths = clustered.ClusteredFeed.regroup, sorted(folder.glob("*.jpg"))

    def regroup_and_break(feed: clustered.ClusteredFeed, epoch: int) -> None:
        regroup(feed, epoch)
        for place in (feed.labels >= 0).nonzero().flatten().tolist():
            paths[place].write_bytes(b"no picture")

    monkeypatch.setattr(clustered.ClusteredFeed, "regroup", regroup_and_break)
    tolerant = ["--data.name", "unlabelled", "--data.unreadable-share", "0.99", "--train.steps", "1"]
    assert main(line(folder, tmp_path / "run", *tolerant)) == 2
    assert "it could be read when the images of this epoch were clustered" in capsys.readouterr().err


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_run_that_goes_on_in_an_epoch_or_between_two_ends_with_the_same_bytes(
    steps: int, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from upreid.training import loop

    assert main(line(corpus, tmp_path / "whole")) == 0
    monkeypatch.setattr(loop, "is_time_to_stop", lambda stop, done, *_: done == steps)
    assert main(line(corpus, tmp_path / "part")) == 128
    monkeypatch.undo()
    assert main(["adapt", "--resume", str(tmp_path / "part"), *ALONE[2:]]) == 0
    ours, theirs = ((tmp_path / name / "encoder.safetensors").read_bytes() for name in ("part", "whole"))
    assert ours == theirs
    without_time = [
        [{k: v for k, v in row.items() if k not in ("seconds", "clusters")} for row in journal(tmp_path / name)]
        for name in ("part", "whole")
    ]
    assert without_time[0] == without_time[1]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--cluster.eps", "1.5"], "--cluster.eps 1.5: expected a Jaccard distance between 0 and 1"),
        (["--train.identities", "96"], "batches of 96 clusters x 4 images, and there are"),
        (["--train.bn-groups", "3"], "let --train.bn-groups be"),
        (["--cluster.eps", "0.001", "--cluster.min-samples", "9"], "there is no cluster: --cluster.eps 0.001"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_one_line(
    flags: list[str], words: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(corpus, tmp_path / "run", *flags)) == 2
    assert words in capsys.readouterr().err


def test_an_encoder_of_another_size_is_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(corpus, tmp_path / "first", "--train.steps", "1")) == 0
    init = str(tmp_path / "first")
    assert main(line(corpus, tmp_path / "run", "--input.height", "64", init=init)) == 2
    assert "takes images of 32x16, and the recipe or the command line says 64x16" in capsys.readouterr().err
    assert main(line(corpus, tmp_path / "run", "--train.steps", "1", init=init)) == 0
    trained_on = load_encoder(tmp_path / "run").header.trained_on
    assert trained_on == "market1501 without labels, then market1501 without labels"


@pytest.mark.slow
def test_other_images_than_before_are_refused(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line(corpus, tmp_path / "run")) == 0
    other = shutil.copytree(corpus, tmp_path / "other")
    next(iter((other / "bounding_box_train").iterdir())).unlink()
    assert main(["adapt", "--resume", str(tmp_path / "run"), "--data.root", str(other)]) == 2
    assert "when the run was saved" in capsys.readouterr().err


@pytest.mark.parametrize("recipe", recipe_names("adapt"))
def test_every_recipe_parses(recipe: str, tmp_path: Path) -> None:
    config = parse_training("adapt", [recipe, "--init", "random", "--data.root", "x", "--out", str(tmp_path / "run")])
    assert config.method == "cluster-contrast"
