"""Environments that a program may be started in: locales, variables of clusters, fewer cores than asked for."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from upreid.runtime.processes import usable_cores

Run = Callable[..., subprocess.CompletedProcess[str]]
ASCII = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
"""An environment in which Python reads the names of files as ASCII."""
SMALL = "--model.channels 4 --model.embed-dim 16 --model.bn-groups 1 --contrast.queue 16 --augment.height 32"
SMALL += (
    " --augment.width 16 --intrinsic.rows 2 --intrinsic.columns 1 --train.batch 4 --train.steps 2 --train.threads 1"
)
SMALL += " --train.device cpu --data.unreadable-share 0.1"


@pytest.fixture
def named(pictures: Path) -> Path:
    """Pictures with names in several scripts, one of which is no UTF-8 and no picture."""
    folder = pictures.rename(pictures.with_name("Bilder ü 人"))
    for number, name in enumerate(
        (b"\xc3\xbc.png", b"\xe4\xba\xba\xe7\x89\xa9.png", b"\xf0\x9f\x9a\xb6.png", b"\xe9.png")
    ):
        (folder / f"{number:04d}.png").rename(folder / os.fsdecode(name))
    (folder / os.fsdecode(b"\xe9.png")).write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize("environment", [ASCII, {"LC_ALL": "POSIX"}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "nowhere"}])
def test_names_in_any_script_are_packed_alike_in_every_locale(
    environment: dict[str, str], named: Path, tmp_path: Path, run_upreid: Run
) -> None:
    lines = [
        ["pack", named, tmp_path / f"größe {workers}", "--unreadable-share", "0.1", "--workers", workers]
        for workers in (1, 2)
    ]
    usual = run_upreid("pack", named, tmp_path / "usual", "--unreadable-share", "0.1", "--workers", "1")
    assert usual.returncode == 0, usual.stderr
    for line in lines:
        done = run_upreid(*line, **environment)
        assert done.returncode == 0, done.stderr
        assert "31 images" in done.stderr
        manifests = [
            json.loads((Path(folder) / "manifest.json").read_text()) for folder in (line[2], tmp_path / "usual")
        ]
        assert manifests[0] == manifests[1]
    refused = run_upreid("pack", named, tmp_path / "ä", **environment)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("upreid: error: 1 of 32 images cannot be read")


@pytest.mark.slow
def test_a_training_on_names_in_any_script_runs_in_ascii(named: Path, tmp_path: Path, run_upreid: Run) -> None:
    out = tmp_path / "läuft"
    done = run_upreid(
        "pretrain", "laptop", "--data.root", named, "--out", out, *SMALL.split(), "--train.workers", "1", **ASCII
    )
    assert done.returncode == 0, done.stderr
    assert (out / "encoder.safetensors").exists()
    assert str(named) in (out / "logs" / "pretrain.log").read_text()


def test_an_error_is_said_where_a_cluster_has_set_a_rank(run_upreid: Run) -> None:
    done = run_upreid("pack", "nowhere", "out", RANK="3", LOCAL_RANK="1")
    assert done.returncode == 2
    assert "nowhere" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_group_that_nobody_started_is_refused_in_one_line(pictures: Path, tmp_path: Path, run_upreid: Run) -> None:
    out = tmp_path / "run"
    done = run_upreid("pretrain", "laptop", "--data.root", pictures, "--out", out, *SMALL.split(), WORLD_SIZE="2")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "WORLD_SIZE=2, but no RANK" in done.stderr
    assert not out.exists()


@pytest.mark.slow
def test_more_workers_than_cores_are_warned_of_and_work(pictures: Path, tmp_path: Path, run_upreid: Run) -> None:
    line = ["pretrain", "laptop", "--data.root", pictures, "--out", tmp_path / "run", *SMALL.split()]
    done = run_upreid(*line, "--train.workers", usable_cores() + 1)
    assert done.returncode == 0, done.stderr
    assert "warning: more threads and workers than cores" in done.stderr
