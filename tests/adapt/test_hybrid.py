"""Adaptation with SpCL's hybrid memory and reliability criterion: what it writes, what it refuses, and that it goes on."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from upreid.cli import main

SMALL = ["--random.channels", "8", "--random.height", "32", "--random.width", "16", "--input.pad", "2"]
QUICK = ["--train.identities", "4", "--train.images", "4", "--train.iterations", "3", "--train.epochs", "2"]
LOOSE = ["--cluster.eps", "0.4", "--cluster.min-samples", "2", "--cluster.k1", "8", "--cluster.k2", "2"]
ALONE = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0"]
HYBRID = ["--memory.kind", "hybrid", "--cluster.reliability-gap", "0.02"]
NONE = ["--cluster.eps", "0.03", "--cluster.min-samples", "9"]
IMAGES, PEOPLE = 144, 12


def line(corpus: Path, out: Path, *flags: str, recipe: str = "laptop-usl") -> list[str]:
    data = ["--init", "random", "--data.name", "market1501", "--data.root", str(corpus), "--out", str(out)]
    return ["adapt", recipe, *data, *SMALL, *QUICK, *LOOSE, *ALONE, *HYBRID, *flags]


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(row) for row in (out / "metrics.jsonl").read_text().splitlines()]


def saved(out: Path) -> dict[str, Any]:
    return torch.load(out / "state.pt", weights_only=True)


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main(line(corpus, out)) == 0
    return out


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("source")
    size = ["--version", "1", "--identities", "16", "--seed", "2", "--height", "32", "--width", "16", "--workers", "1"]
    assert main(["synth", str(out), *size, "--layout", "personx"]) == 0
    return out / "personx"


def test_a_run_reports_what_the_criterion_left_encodes_once_and_saves_memory_and_threshold(whole: Path) -> None:
    first, second = [row["clusters"] for row in journal(whole) if "clusters" in row]
    assert "features" in first["phases"]
    assert "features" not in second["phases"]  # the memory is clustered
    for report in (first, second):
        kept = report["reliable"]
        assert 0 < kept["clusters"] <= report["clusters"]
        assert report["outliers"] <= kept["outliers"] < IMAGES
        assert kept["agreement"]["people"] == PEOPLE
        assert kept["independence"] == first["reliable"]["independence"]
    state = saved(whole)
    assert state["feed"]["independence"] == first["reliable"]["independence"]
    labels, vectors = state["feed"]["labels"], state["shared"]["memory"]
    assert int((labels >= 0).sum()) == IMAGES - second["reliable"]["outliers"]
    assert len(vectors) == IMAGES
    assert len(state["shared"]["memory.sizes"]) == second["reliable"]["clusters"] + second["reliable"]["outliers"]
    protocol = json.loads((whole / "retrieval.json").read_text())["protocol"]
    assert (protocol["clustering"]["reliability_gap"], protocol["memory"]) == (0.02, "hybrid")
    assert "hybrid memory of people, clusters and single images" in (whole / "logs" / "adapt.log").read_text()


@pytest.mark.parametrize("steps", [pytest.param(1, marks=pytest.mark.slow), 3, 4])
def test_a_run_that_goes_on_in_an_epoch_or_between_two_ends_with_the_same_bytes(
    steps: int, corpus: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from upreid.training import loop

    part = tmp_path / "part"
    monkeypatch.setattr(loop, "is_time_to_stop", lambda stop, done, *_: done == steps)
    assert main(line(corpus, part)) == 128
    monkeypatch.undo()
    assert main(["adapt", "--resume", str(part), *ALONE[2:]]) == 0
    assert (part / "encoder.safetensors").read_bytes() == (whole / "encoder.safetensors").read_bytes()
    ours, theirs = (saved(out)["shared"] for out in (part, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
def test_images_of_no_cluster_are_enough_to_learn_from(corpus: Path, tmp_path: Path) -> None:
    assert main(line(corpus, tmp_path / "run", *NONE)) == 0
    reports = [row["clusters"] for row in journal(tmp_path / "run") if "clusters" in row]
    assert [report["clusters"] for report in reports] == [0, 0]
    losses = [row["cluster"] for row in journal(tmp_path / "run") if "cluster" in row]
    assert len(losses) == 6
    assert saved(tmp_path / "run")["shared"]["memory.sizes"].tolist() == [1] * IMAGES
    assert "independence" not in saved(tmp_path / "run")["feed"]


@pytest.mark.slow
def test_joint_training_keeps_people_and_images_and_goes_on_to_the_same_bytes(
    corpus: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from upreid.training import loop

    beside = ["--source.name", "personx", "--source.root", str(source)]
    assert main(line(corpus, tmp_path / "whole", *beside, recipe="laptop-uda")) == 0
    assert len(saved(tmp_path / "whole")["shared"]["memory"]) == 8 + IMAGES
    rows = [row for row in journal(tmp_path / "whole") if "lr" in row]
    assert all({"cluster", "source"} <= row.keys() for row in rows)
    monkeypatch.setattr(loop, "is_time_to_stop", lambda stop, done, *_: done == 4)
    assert main(line(corpus, tmp_path / "part", *beside, recipe="laptop-uda")) == 128
    monkeypatch.undo()
    assert main(["adapt", "--resume", str(tmp_path / "part"), *ALONE[2:]]) == 0
    ours, theirs = ((tmp_path / name / "encoder.safetensors").read_bytes() for name in ("part", "whole"))
    assert ours == theirs


@pytest.mark.slow
def test_an_image_that_cannot_be_read_is_not_even_a_single(corpus: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(corpus / "bounding_box_train", tmp_path / "folder"))
    sorted(folder.glob("*.jpg"))[7].write_bytes(b"no picture")
    tolerant = ["--data.name", "unlabelled", "--data.unreadable-share", "0.1"]
    assert main(line(folder, tmp_path / "run", *NONE, *tolerant)) == 0
    state = saved(tmp_path / "run")
    assert state["feed"]["labels"].tolist() == [-1] * 7 + [-2] + [-1] * (IMAGES - 8)
    assert state["shared"]["memory.rows"].tolist() == [place for place in range(IMAGES) if place != 7]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--cluster.reliability-gap", "0.5"],
            "--cluster.reliability-gap 0.5 with --cluster.eps 0.4: expected a gap that",
        ),
        (["--cluster.reliability-gap", "-0.1"], "--cluster.reliability-gap"),
        (["--memory.update", "hardest"], "--memory.update hardest with --memory.kind hybrid: there the vector of each"),
        (["--memory.kind", "hybrids"], "--memory.kind"),
        (["--cluster.eps", "0.95", "--cluster.k1", "60"], "one cluster holds"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused_in_one_line(
    flags: list[str], words: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(corpus, tmp_path / "run", *flags)) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_clusters_alone_may_be_confirmed_too(corpus: Path, tmp_path: Path) -> None:
    """Then images that are not reliable are left out, as outliers are."""
    assert main(line(corpus, tmp_path / "run", "--memory.kind", "clusters")) == 0
    report = [row["clusters"]["reliable"] for row in journal(tmp_path / "run") if "clusters" in row][-1]
    state = saved(tmp_path / "run")
    assert len(state["shared"]["memory"]) == report["clusters"]
    assert int((state["feed"]["labels"] == -1).sum()) == report["outliers"]
