"""Several processes under torchrun: one is killed, all are asked to stop; the group goes on to the same bytes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.ranks]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
SECONDS = 240.0


def group(words: list[str], *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TORCHRUN, *flags, "-m", "upreid", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def end(process: subprocess.Popen[str]) -> str:
    words = process.communicate(timeout=SECONDS)[1]
    print(words)
    return words


def ranks_of(process: subprocess.Popen[str]) -> dict[int, int]:
    """Rank -> process number of what torchrun started."""
    found: dict[int, int] = {}
    for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        rank = re.search(rb"(?:^|\0)RANK=(\d+)", Path(f"/proc/{number}/environ").read_bytes())
        if rank:
            found[int(rank[1])] = int(number)
    return found


def wait_for(out: Path, step: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        lines = (out / "metrics.jsonl").read_bytes().splitlines() if (out / "metrics.jsonl").exists() else []
        if lines and json.loads(lines[-1])["step"] >= step:
            return
        time.sleep(0.005)
    raise AssertionError(f"step {step} was not reached: {process.communicate(timeout=SECONDS)[1]}")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_is_killed_in_mid_step_and_torchrun_brings_the_group_back(
    lab: Any, tmp_path: Path, undisturbed_group: Path, assert_same: Any, rank: int
) -> None:
    out = tmp_path / "run"
    process = group(lab.begin(out, *lab.HALVES), "--max-restarts", "3")
    wait_for(out, 9, process)
    os.kill(ranks_of(process)[rank], signal.SIGKILL)
    words = end(process)
    assert process.returncode == 0, words
    assert re.search(r"resuming .* at step (5|10)", words)
    other = 1 - rank
    assert f"rank {other}: another process of the group is gone" in words or "Sending process" in words
    assert "Traceback" not in words
    assert_same(out, like=undisturbed_group)


def test_a_group_asked_to_stop_saves_and_the_same_line_with_resume_goes_on(
    lab: Any, tmp_path: Path, undisturbed_group: Path, assert_same: Any
) -> None:
    out = tmp_path / "run"
    process = group(lab.begin(out, *lab.HALVES))
    wait_for(out, 0, process)
    for number in (
        process.pid,
        *ranks_of(process).values(),
    ):  # SLURM signals all of a step, and torchrun its ranks again
        os.kill(number, signal.SIGTERM)
    words = end(process)
    assert process.returncode != 0
    assert "stopped at step" in words
    process = group(lab.resume(out))
    words = end(process)
    assert process.returncode == 0, words
    assert_same(out, like=undisturbed_group)


def test_another_job_is_not_taken_up_by_a_restart(lab: Any, undisturbed_group: Path) -> None:
    before = (undisturbed_group / "encoder.safetensors").stat().st_mtime_ns
    process = group(lab.begin(undisturbed_group, *lab.HALVES), "--max-restarts", "1")
    words = end(process)
    assert process.returncode != 0
    assert words.count("upreid: error:") == 2  # once in each attempt, by rank 0 for both
    assert "is not empty; resume with --resume" in words
    assert (undisturbed_group / "encoder.safetensors").stat().st_mtime_ns == before


def test_a_state_of_two_processes_is_not_resumed_by_one(lab: Any, undisturbed_group: Path) -> None:
    words = lab.finish(lab.resume(undisturbed_group), 2)
    assert "saved by 2 processes and cannot go on with 1" in words
