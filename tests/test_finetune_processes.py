"""Fine-tuning in processes of its own: killed, asked to stop, and on two ranks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parent / "ranks" / "gathered_triplets.py"
SMALL = ["--random.channels", "8", "--random.height", "32", "--random.width", "16", "--input.pad", "2"]
QUICK = ["--train.identities", "4", "--train.images", "4", "--train.save-every", "4"]
ALONE = ["--train.device", "cpu", "--train.threads", "1", "--train.workers", "0"]
STEPS = 60
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


def begin(corpus: Path, out: Path, *flags: str) -> list[str]:
    data = ["--init", "random", "--data.name", "market1501", "--data.root", str(corpus), "--out", str(out)]
    steps = ["--train.steps", str(STEPS), "--train.freeze-epochs", "2"]
    return ["finetune", "laptop-bot", *data, *SMALL, *QUICK, *ALONE, *steps, *flags]


def command(words: list[str], ranks: int) -> list[str]:
    launcher = TORCHRUN if ranks > 1 else []
    return [sys.executable, "-m", *launcher, "upreid", *words]


def finish(words: list[str], ranks: int = 1, code: int = 0) -> str:
    done = subprocess.run(command(words, ranks), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr


def interrupt(words: list[str], out: Path, number: signal.Signals, ranks: int = 1) -> int:
    """Start, wait for a state and some steps more, send a signal to the whole group."""
    process = subprocess.Popen(command(words, ranks), stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (out / "state.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None, "it ended before it could be interrupted"
    os.killpg(process.pid, number)
    return process.wait()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    finish(
        [
            "synth",
            str(out),
            "--version",
            "1",
            "--identities",
            "12",
            "--seed",
            "1",
            "--height",
            "32",
            "--width",
            "16",
            "--workers",
            "1",
        ]
    )
    return out / "market1501"


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.ranks)])
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(corpus: Path, tmp_path: Path, ranks: int) -> None:
    finish(begin(corpus, tmp_path / "whole"), ranks)
    words = begin(corpus, tmp_path / "part")
    assert interrupt(words, tmp_path / "part", signal.SIGKILL, ranks) != 0
    finish(["finetune", "--resume", str(tmp_path / "part")], ranks)
    ours, theirs = ((tmp_path / name / "encoder.safetensors").read_bytes() for name in ("part", "whole"))
    assert ours == theirs
    results = [json.loads((tmp_path / name / "retrieval.json").read_text()) for name in ("part", "whole")]
    assert results[0] == results[1]


@pytest.mark.slow
def test_asked_to_stop_it_saves_and_says_how_to_go_on(corpus: Path, tmp_path: Path) -> None:
    assert interrupt(begin(corpus, tmp_path / "run"), tmp_path / "run", signal.SIGTERM) == 128 + signal.SIGTERM
    log = (tmp_path / "run" / "logs" / "finetune.log").read_text()
    assert "go on with: upreid finetune --resume" in log
    assert not (tmp_path / "run" / "retrieval.json").exists()
    finish(["finetune", "--resume", str(tmp_path / "run")])
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(STEPS))


@pytest.mark.slow
@pytest.mark.ranks
def test_people_that_do_not_divide_over_the_ranks_are_refused(corpus: Path, tmp_path: Path) -> None:
    words = begin(corpus, tmp_path / "run", "--train.identities", "3")
    done = subprocess.run(command(words, 2), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode != 0
    assert (
        "batches of 3 people do not divide over 2 processes x 1 backward passes; use --train.identities 4"
        in done.stderr
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.ranks
def test_triplets_over_two_ranks_have_the_gradient_of_one_process(tmp_path: Path) -> None:
    for name, ranks in (("one", 1), ("two", 2)):
        launcher = ["-m", *TORCHRUN[:-1]] if ranks == 2 else []
        words = [sys.executable, *launcher, str(SCRIPT), str(tmp_path / name)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value)
    assert one["weight"].abs().sum() > 0
