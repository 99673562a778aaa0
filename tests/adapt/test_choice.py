"""`upreid adapt --choose`: short runs whose score needs no labels, and a training with the value that they speak for."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from upreid.cli import main
from upreid.models.encoder import load_encoder

SMALL = ["--random.channels", "8", "--random.height", "32", "--random.width", "16", "--input.pad", "2"]
QUICK = ["--train.identities", "4", "--train.images", "4", "--train.iterations", "2", "--train.epochs", "3"]
LOOSE = ["--cluster.min-samples", "3", "--cluster.k1", "8", "--cluster.k2", "2", "--trial-epochs", "2"]
ALONE = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0"]


def line(corpus: Path, out: Path, *flags: str) -> list[str]:
    data = ["--init", "random", "--data.name", "market1501", "--data.root", str(corpus), "--out", str(out)]
    return ["adapt", "laptop-usl", *data, *SMALL, *QUICK, *LOOSE, *ALONE, *flags]


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def last_silhouette(run: Path) -> float:
    rows = [json.loads(row) for row in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["clusters"]["silhouette"] for row in rows if "clusters" in row][-1]


@pytest.mark.slow
def test_the_value_with_the_best_silhouette_is_trained_with_and_the_protocol_names_all(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(line(corpus, run, "--choose", "eps", "0.001", "0.4", "0.6")) == 0
    said = capsys.readouterr().err
    trials = {value: run / "trials" / f"eps-{value}" for value in ("0.4", "0.6")}
    scores = {value: last_silhouette(trial) for value, trial in trials.items()}
    chosen = max(scores, key=lambda value: scores[value])
    choice = read(run / "retrieval.json")["protocol"]["choice"]
    assert choice == read(run / "choice.json")
    assert (choice["setting"], choice["chosen"], choice["steps_of_a_trial"]) == ("cluster.eps", chosen, 4)
    assert {value: choice["scores"][value]["silhouette"] for value in scores} == scores
    assert choice["scores"]["0.001"]["silhouette"] is None
    assert "there is no cluster" in choice["scores"]["0.001"]["refused"]
    assert f"cluster.eps {chosen}: silhouette {scores[chosen]:.4f}" in said
    assert not list(run.glob("trials/*/retrieval.json"))
    assert main(line(corpus, tmp_path / "plain", "--cluster.eps", chosen)) == 0
    ours, theirs = (load_encoder(tmp_path / name).state_dict() for name in ("run", "plain"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert read(run / "config.json")["resolved"]["choice"] == choice


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["epz", "0.4", "0.5"], "--choose 'epz': expected a setting of the sections cluster, memory and optim"),
        (["data.root", "a", "b"], "--choose 'data.root': expected a setting of the sections"),
        (["eps", "0.4"], "--choose eps 0.4: expected two values or more"),
        (["eps", "0.4", "1.5"], "--choose eps: --cluster.eps 1.5: expected a Jaccard distance between 0 and 1"),
        (["eps", "0.4", "much"], "--cluster.eps got 'much'; give a number"),
        (["cluster.eps", "0.4", "0.40"], "--choose cluster.eps: 0.40 stands there twice"),
        (["k1", "8", "9"], "--choose k1: the distances of the score depend on cluster.k1"),
        (["milestones", "8", "9"], "--choose milestones: expected a setting of one value"),
        (["eps", "0.4", "0.5", "--data.root", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_chosen_is_refused_before_anything_is_written(
    words: list[str], said: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(corpus, tmp_path / "run", "--choose", *words)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_where_no_value_gives_clusters_the_reason_is_said(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line(corpus, tmp_path / "run", "--choose", "eps", "0.001", "0.002")) == 2
    assert "no value of cluster.eps gives clusters to learn from; with 0.001: there is no cluster" in (
        capsys.readouterr().err
    )


@pytest.mark.slow
def test_asked_to_stop_within_a_trial_it_says_how_the_choice_goes_on_and_does(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from upreid.training import loop

    run = tmp_path / "run"
    monkeypatch.setattr(loop, "is_time_to_stop", lambda stop, done, *_: done == 1)
    assert main(line(corpus, run, "--choose", "eps", "0.4", "0.6", "--trial-epochs", "1")) == 128
    monkeypatch.undo()
    assert f"the choice goes on with: upreid adapt --resume {run}" in capsys.readouterr().err
    assert not (run / "choice.json").exists()
    assert main(["adapt", "--resume", str(run)]) == 0
    assert set(read(run / "choice.json")["scores"]) == {"0.4", "0.6"}
    assert (run / "retrieval.json").exists()


@pytest.mark.slow
def test_killed_within_a_trial_the_choice_goes_on_to_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    choose = ["--choose", "memory.momentum", "0.1", "0.5", "--cluster.eps", "0.4", "--train.save-every", "1"]
    assert main(line(corpus, tmp_path / "whole", *choose)) == 0
    part = tmp_path / "part"
    begun, stopped = part / "trials" / "momentum-0.5" / "metrics.jsonl", False
    process = subprocess.Popen(
        [sys.executable, "-m", "upreid", *line(corpus, part, *choose)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline and not stopped:
        stopped = begun.exists() and len(begun.read_bytes().splitlines()) > 1
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not (part / "config.json").exists(), "it was at the training before it could be killed"
    assert main(line(corpus, part, *choose)) == 2
    assert main(["adapt", "--resume", str(part)]) == 0
    assert read(part / "choice.json") == read(tmp_path / "whole" / "choice.json")
    for name in ("encoder.safetensors", "retrieval.json"):
        assert (part / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert main(["adapt", "--resume", str(part)]) == 0
