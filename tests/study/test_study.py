import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

GRID = """
purpose = "choosing"
corpus = "people"
seeds = [1]
compare = [["*", "moco"]]
[corpora.people]
identities = 8
seed = 3
flags = { height = 64, width = 32 }
[flags]
train = { steps = 60, batch = 8, save_every = 5 }
model = { channels = 4, bn_groups = 2 }
contrast = { queue = 32 }
[arms]
random = {}
moco = { recipe = "moco-laptop" }
both = { recipe = "both-terms-laptop" }
[settings.small]
program = "finetune"
recipe = "laptop-bot"
flags = { train = { epochs = 1.0, identities = 2, images = 2 }, random = { channels = 4 }, optim = { warmup_epochs = 0.0 } }
[settings.frozen]
program = "evaluate"
[settings.diagnosis]
program = "diagnose"
flags = { images = 16 }
"""
CELLS = 2 + 3 + 2 + 2


def study(folder: Path, *flags: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "upreid",
        "study",
        "tiny.toml",
        "--out",
        "out",
        "--device",
        "cpu",
        "--slots",
        "2",
        *flags,
    ]


def run(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(study(folder, *flags), cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_a_study_killed_outright_goes_on_and_results_carried_elsewhere_are_all_that_is_needed(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(GRID)
    process = subprocess.Popen(study(tmp_path), cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    state = tmp_path / "out" / "pretrain" / "both-s1" / "state.pt"
    deadline = time.monotonic() + 200
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()

    done = run(tmp_path, "--out", str(tmp_path / "out"))  # it was "out" before
    assert done.returncode == 0, done.stderr
    assert f"All {CELLS} cells are finished." in done.stdout
    assert "begun: synth-people" not in done.stderr
    assert "moved" not in done.stderr
    assert "resuming" in (tmp_path / "out" / "logs" / "pretrain" / "both-s1.log").read_text()
    results = {
        path.relative_to(tmp_path / "out/results"): json.loads(path.read_text())
        for path in (tmp_path / "out/results").rglob("*.json")
    }
    assert len(results) == CELLS
    assert all(table["commit"] is None or table["commit"] for table in results.values())
    assert (
        results[Path("small/both-s1.json")]["metrics"]["mAP"]
        == json.loads((tmp_path / "out/small/both-s1/retrieval.json").read_text())["mAP"]
    )

    shutil.rmtree(tmp_path / "out" / "pretrain")
    again = run(tmp_path)
    assert "begun" not in again.stderr
    assert "synth" not in again.stderr

    grown = GRID.replace("seeds = [1]", "seeds = [1, 2]").replace(
        "[settings.frozen]", '[settings.twice]\nprogram = "evaluate"\n[settings.frozen]'
    )
    (tmp_path / "tiny.toml").write_text(grown.replace("seeds = [1, 2]", "seeds = [1]"))
    more = run(tmp_path)  # a new setting needs encoders that are gone: they are made again
    assert more.returncode == 0, more.stderr
    begun = {line.removeprefix("begun: ") for line in more.stderr.splitlines() if line.startswith("begun: ")}
    assert begun == {"pretrain/moco-s1", "pretrain/both-s1", "twice/moco-s1", "twice/both-s1"}

    (tmp_path / "tiny.toml").write_text(GRID.replace("steps = 60", "steps = 61"))
    other = run(tmp_path)
    assert other.returncode == 2
    assert "choose another --out" in other.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_a_cell_that_fails_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    wrong = GRID.replace(
        'recipe = "both-terms-laptop" }', 'recipe = "both-terms-laptop", flags = { train = { batch = 4096 } } }'
    )
    (tmp_path / "tiny.toml").write_text(wrong)
    done = run(tmp_path)
    assert done.returncode == 2
    assert "batch of 4096 is larger than the 96 images" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "1 failed (pretrain/both-s1) and 3 that need them were left out" in last
    table = subprocess.run(
        [sys.executable, "-m", "upreid", "study", "--table", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Unfinished: 4 of 9 cells: pretrain/both-s1" in table.stdout


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("study", "needs GRID first"),
        ("study nothing", "no study 'nothing'"),
        ("study --table nowhere", "no study at nowhere"),
        ("study --table a --out b", "takes neither a grid nor --out"),
        ("study ablation-laptop --slots 0", "--slots got '0'"),
        ("diagnose", "needs RUN first"),
    ],
)
def test_a_wrong_line_gets_one_line_back_and_code_2(
    line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from upreid.cli import main

    monkeypatch.chdir(tmp_path)
    assert main(line.split()) == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
    assert not list(tmp_path.iterdir())
