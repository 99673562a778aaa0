"""--train.auto-precision: what it comes to, and that a run keeps it."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from upreid.cli import main
from upreid.config.training import TrainConfig
from upreid.runtime.distributed import ALONE
from upreid.training import precision
from upreid.training.precision import Precision, precision_of, settle_precision

CPU = torch.device("cpu")
TINY = "--model.channels 4 --train.batch 8 --model.bn-groups 2 --contrast.queue 16 --train.steps 4 --train.save-every 2"
HERE = "--train.threads 1 --train.workers 0 --train.device cpu"


def machine(monkeypatch: pytest.MonkeyPatch, *, has_bf16: bool) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda _: has_bf16)


@pytest.mark.parametrize("has_bf16", [True, False])
def test_the_machine_decides_only_where_it_is_asked(monkeypatch: pytest.MonkeyPatch, *, has_bf16: bool) -> None:
    machine(monkeypatch, has_bf16=has_bf16)
    auto = precision_of(TrainConfig(epochs=1.0, auto_precision=True), CPU)
    assert (auto.bf16, auto.channels_last) == (has_bf16, has_bf16)
    assert not precision_of(TrainConfig(epochs=1.0), CPU).bf16
    assert precision_of(TrainConfig(epochs=1.0, bf16=True, auto_precision=True), CPU).bf16


def test_a_run_of_an_older_version_follows_its_settings(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"resolved": {"steps": 4}}))
    settled = settle_precision(TrainConfig(epochs=1.0, bf16=True), CPU, ALONE, tmp_path)
    assert settled == Precision(device=CPU, bf16=True)


def test_a_run_keeps_its_precision_on_a_machine_that_would_choose_otherwise(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["--data.root", str(pictures), "--out", str(run), "--train.auto-precision", *TINY.split(), *HERE.split()]
    machine(monkeypatch, has_bf16=True)
    assert main(["pretrain", "moco-laptop", *words]) == 0
    assert "precision: bfloat16 (autocast), channels-last" in capsys.readouterr().err
    shutil.copy(run / "encoder.safetensors", tmp_path / "whole.safetensors")
    (run / "states" / "step-000000002.pt").replace(run / "state.pt")
    machine(monkeypatch, has_bf16=False)
    assert main(["pretrain", "--resume", str(run)]) == 0
    assert (run / "encoder.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
