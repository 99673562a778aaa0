"""Every layout that `synth` writes goes through every program that reads labelled sets."""

import json
from pathlib import Path

import pytest

from upreid.cli import main
from upreid.synthetic.layouts import LABELLED

READ_AS = {"cuhk03-raw": "cuhk03-raw-labeled", "cuhk03-raw-v5": "cuhk03-raw-detected"}
"""A release of two data sets; the others are called as their layout is."""
HEADS = {"laptop-bot": "bnneck", "laptop-mgn": "mgn"}
SMALL = ["--random.channels", "8", "--train.identities", "4", "--train.images", "4", "--train.steps", "2"]
ALONE = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0"]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LABELLED)
def test_it_is_checked_trained_on_evaluated_and_compared(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, root = READ_AS.get(layout, layout), f"corpus/{layout}"
    size = ["--identities", "16", "--seed", "1", "--height", "64", "--width", "32", "--workers", "1"]
    assert main(["synth", "corpus", *size, "--layout", layout]) == 0
    assert main(["doctor", name, root]) == 0
    assert "this set can be used" in capsys.readouterr().out
    data = ["--data.name", name, "--data.root", root]
    for recipe, head in HEADS.items():
        assert main(["finetune", recipe, "--init", "random", *data, "--out", recipe, *SMALL, *ALONE]) == 0
        assert main(["evaluate", f"{recipe}/encoder.safetensors", *data, "--rerank", "--out", f"{recipe}.json"]) == 0
        result = json.loads(Path(f"{recipe}.json").read_text())
        assert 0 < result["mAP"] <= 100
        assert (result["protocol"]["dataset"], result["protocol"]["head"]) == (name, head)
        assert result["protocol"]["rerank"] == {
            "method": "k-reciprocal",
            "variant": "classic",
            "k1": 20,
            "k2": 6,
            "lambda": 0.3,
        }
    capsys.readouterr()
    assert main(["table", *HEADS, *(f"{recipe}.json" for recipe in HEADS)]) == 0
    out = capsys.readouterr().out
    assert f"{name} was measured in 2 ways that cannot be compared" in out
    assert all(recipe in out for recipe in HEADS)
