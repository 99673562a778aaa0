"""A method that nobody has heard of: one file, one section and one recipe, and it trains, resumes bit for bit and exports."""

import json
from pathlib import Path

import pytest
import torch

import upreid
from upreid.cli import main
from upreid.config.methods import METHODS, MethodEntry

HERE = Path(__file__).parent
ALONE = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0", "--train.steps", "6"]
ALONE += ["--train.save-every", "3"]


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)
    from simsiam import SimSiamConfig  # pyright: ignore[reportMissingImports]

    entry = MethodEntry(program="pretrain", config=SimSiamConfig, module="simsiam")
    monkeypatch.setitem(METHODS, "simsiam", entry)


def train(pictures: Path, out: Path, *flags: str) -> int:
    where = ["--data.root", str(pictures), "--out", str(out)]
    return main(["pretrain", str(HERE / "simsiam.toml"), *where, *ALONE, *flags])


def test_it_trains_and_its_encoder_is_one_like_any_other(pictures: Path, tmp_path: Path) -> None:
    assert train(pictures, tmp_path / "run") == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(6))
    assert all(-1 <= line["similarity"] <= 1 for line in lines)
    encoder = upreid.load_encoder(tmp_path / "run" / "encoder.safetensors")
    assert encoder(torch.zeros(2, 3, 32, 16)).shape == (2, 32)
    assert (encoder.header.step, encoder.header.recipe) == (6, str(HERE / "simsiam.toml"))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["settings"]["predictor"] == {"hidden": 8}


@pytest.mark.slow
def test_it_resumes_bit_for_bit(pictures: Path, tmp_path: Path) -> None:
    assert train(pictures, tmp_path / "whole") == 0
    assert train(pictures, tmp_path / "part") == 0
    (tmp_path / "part" / "states" / "step-000000003.pt").replace(tmp_path / "part" / "state.pt")
    (tmp_path / "part" / "encoder.safetensors").unlink()
    assert main(["pretrain", "--resume", str(tmp_path / "part")]) == 0
    first, second = ((tmp_path / run / "encoder.safetensors").read_bytes() for run in ("whole", "part"))
    assert first == second


def test_its_section_is_its_own(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(pictures, tmp_path / "wide", "--predictor.hidden", "5") == 0
    assert train(pictures, tmp_path / "none", "--contrast.queue", "16") == 2
    assert "--contrast.queue" in capsys.readouterr().err
