"""The lines that users type, as they stand in the documents, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from upreid.__main__ import COMMANDS, main

LINES = """
upreid synth corpus --identities 40 --seed 1
upreid pretrain laptop --data.root corpus/wild --out runs/a --train.steps 40
upreid pretrain --resume runs/a
upreid evaluate runs/a/encoder.safetensors --data.name market1501 --data.root corpus/market1501 --out runs/a/retrieval.json
upreid finetune laptop-bot --init runs/a/encoder.safetensors --data.name market1501 --data.root corpus/market1501 --out runs/b
"""


@pytest.mark.slow
def test_the_short_lines_work_exactly_so(tmp_path: Path) -> None:
    for line in LINES.strip().splitlines():
        command = [sys.executable, "-W", "error", "-m", *line.split()]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    result = json.loads((tmp_path / "runs/a/retrieval.json").read_text())
    assert set(result) == {"mAP", "mAP_trapezoid", "rank1", "rank5", "rank10", "mINP", "protocol"}
    assert all(0 <= result[name] <= 100 for name in result if name != "protocol")
    assert result["protocol"]["dataset"] == "market1501"
    tuned = json.loads((tmp_path / "runs/b/retrieval.json").read_text())
    assert tuned["mAP"] > result["mAP"]  # forty people's labels are worth more than forty steps without any


@pytest.mark.parametrize("words", [["-m", "upreid", "--help"], ["-c", "import upreid; print(upreid.__version__)"]])
def test_help_and_import_do_not_wait_for_torch(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True)
    assert done.stdout
    assert "upreid" in done.stderr
    assert "torch" not in done.stderr
    assert "timm" not in done.stderr


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: upreid {command}" in capsys.readouterr().out


def test_the_command_is_installed_beside_python() -> None:
    command = Path(sys.executable).with_name("upreid")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("upreid ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pretrian", "did you mean 'pretrain'"),
        ("pretrain", "needs a recipe first; known: laptop"),
        ("pretrain laptp --data.root x --out y", "did you mean 'laptop'"),
        ("pretrain --resume nowhere", "nothing to resume at nowhere"),
        ("pretrain --resume a --train.steps 3", "and nothing else"),
        ("evaluate", "needs ENCODER first"),
        ("evaluate none --data.name market1501 --data.root x", "no folder x"),
        ("evaluate none --data.name market --data.root x", "did you mean 'market1501'"),
        ("synth", "needs OUT first"),
        ("synth corpus --identities 0", "identities"),
        ("finetune laptop --init random --data.name market1501 --data.root x --out y", "program"),
    ],
)
def test_a_wrong_line_gets_one_line_back_and_code_2(line: str, words: str, tmp_path: Path, capsys) -> None:
    from upreid.__main__ import main

    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert main(line.split()) == 2
    finally:
        os.chdir(before)
    said = capsys.readouterr().err.strip().splitlines()
    assert [text for text in said if text.startswith("upreid: error:")] == said[-1:]
    assert words in said[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "words"), [('{"program": "finetune"}', "run of finetune"), ('{"progr', "not JSON")])
def test_a_folder_that_is_not_a_pre_training_is_not_resumed(text: str, words: str, tmp_path: Path, capsys) -> None:
    from upreid.__main__ import main

    (tmp_path / "config.json").write_text(text)
    assert main(["pretrain", "--resume", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_compiling_without_a_compiler_is_refused_in_one_line(tmp_path: Path, run_upreid) -> None:
    (tmp_path / "a.png").touch()
    words = ["--data.root", tmp_path, "--out", tmp_path / "run", "--train.compile", "--train.device", "cpu"]
    done = run_upreid("pretrain", "laptop", *words, CXX="no-such-compiler")
    assert done.returncode == 2
    assert "C++ compiler" in done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_tensorboard_sees_what_the_journal_says(pictures: Path, tmp_path: Path, run_upreid) -> None:
    small = [
        "--model.channels",
        4,
        "--train.batch",
        8,
        "--model.bn-groups",
        2,
        "--contrast.queue",
        16,
        "--train.steps",
        3,
    ]
    alone = ["--train.threads", 1, "--train.workers", 0, "--train.device", "cpu", "--tensorboard"]
    environment = {"PYTHONWARNINGS": "default"}
    done = run_upreid(
        "pretrain", "laptop", "--data.root", pictures, "--out", tmp_path / "run", *small, *alone, **environment
    )
    assert done.returncode == 0, done.stderr
    events = list((tmp_path / "run" / "logs" / "tensorboard").iterdir())
    assert len(events) == 1
    assert b"intrinsic" in events[0].read_bytes()
