"""Loaders that cannot deliver, in the whole program: one line and exit code 2, or saved and stopped where that was asked for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from upreid.training.states import States

pytestmark = pytest.mark.slow
SECONDS = 240.0


def in_shell(first: str, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of `upreid` after another one, in one shell."""
    command = f'{first} && exec "$0" -W error -m upreid "$@"'
    return subprocess.run(
        ["bash", "-c", command, sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=os.environ | environment,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("upreid: error: ")
    return line


def small_memory(size: str) -> str:
    """A shared memory of a size, as containers have it; only root can make one."""
    command = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "bash", "-c", command], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    return command


@pytest.mark.parametrize("size", ["10k", "200k", "500k"])
def test_small_shared_memory_is_said_before_the_first_step(lab: Any, tmp_path: Path, size: str) -> None:
    words = lab.begin(tmp_path / "run", "--train.workers", 1)  # a batch has 144 kB, and five are ready
    command = [
        "unshare",
        "-m",
        "bash",
        "-c",
        f'{small_memory(size)} && exec "$0" -W error -m upreid "$@"',
        sys.executable,
        *words,
    ]
    line = refusal(subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False))
    assert "/dev/shm" in line
    assert "--train.workers" in line
    assert not (tmp_path / "run" / "metrics.jsonl").read_text()


def test_without_workers_small_shared_memory_does_not_matter(lab: Any, tmp_path: Path, assert_same: Any) -> None:
    words = lab.begin(tmp_path / "run")
    command = [
        "unshare",
        "-m",
        "bash",
        "-c",
        f'{small_memory("4k")} && exec "$0" -m upreid "$@"',
        sys.executable,
        *words,
    ]
    assert subprocess.run(command, capture_output=True, timeout=SECONDS, check=False).returncode == 0
    assert_same(tmp_path / "run")


def test_a_long_folder_of_temporary_files_is_said_before_the_first_step(lab: Any, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    line = refusal(in_shell("true", lab.begin(tmp_path / "run", "--train.workers", 1), TMPDIR=str(folder)))
    assert "path too long" in line
    assert str(folder) in line
    assert "TMPDIR=/tmp" in line


@pytest.mark.parametrize("files", [24, 32])
def test_few_open_files_are_said_before_the_first_step(lab: Any, tmp_path: Path, files: int) -> None:
    line = refusal(in_shell(f"ulimit -n {files}", lab.begin(tmp_path / "run", "--train.workers", 1)))
    assert f"{files} are allowed" in line
    assert "ulimit -n 1024" in line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_while_no_batch_comes_a_run_saves_and_goes_on_later(
    lab: Any, tmp_path: Path, assert_same: Any, reach: Any, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    child = lab.start(lab.begin(out, "--train.workers", 1), "worker_that_hangs", 13)
    reach(out, 10, child)
    time.sleep(1.0)
    assert not child.is_over()
    child.kill(number)
    assert child.wait() == 128 + number, child.words()
    assert (
        f"stopped at step {States(out).load()['step']} of 24; go on with: upreid pretrain --resume {out}"
        in child.words()
    )
    assert States(out).load()["step"] > 10
    lab.finish(lab.resume(out))
    assert_same(out)


def test_a_worker_that_hangs_ends_the_run_after_a_while(lab: Any, tmp_path: Path, assert_same: Any) -> None:
    out = tmp_path / "run"
    flags = "--train.workers", 1, "--data.patience", 1
    child = lab.start(lab.begin(out, *flags), "worker_that_hangs_and_is_not_waited_for", 13)
    assert child.wait() == 2
    assert "in read" in child.words()  # where the worker was
    assert "have made no batch for 2 s" in child.last_line()
    assert f"upreid pretrain --resume {out}" in child.last_line()
    assert States(out).load()["step"] == 10
    lab.finish(lab.resume(out))


def test_what_breaks_in_a_worker_is_told_as_it_is(lab: Any, tmp_path: Path) -> None:
    child = lab.start(lab.begin(tmp_path / "one", "--train.workers", 1), "defect_in_a_worker", None)
    assert child.wait() == 1
    assert "ZeroDivisionError: a defect" in child.words()
    assert "in read" in child.words()
    line = lab.finish(lab.begin(tmp_path / "two", "--train.workers", 1), 2, "refusal_in_a_worker", None).splitlines()[
        -1
    ]
    assert line == "upreid: error: the storage is gone"
