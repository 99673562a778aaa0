"""Disks that are full or read-only: one line, exit code 2, nothing half-written, and a whole state to go on from."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from upreid.training.states import States

pytestmark = pytest.mark.slow
ROOM = 2_000_000
TAKEN = 800_000
"""What is left holds an encoder and a state, and no second state."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system in memory; only root can make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if mount("-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder):
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mount(*words: object) -> int:
    return subprocess.run(["mount", *map(str, words)], capture_output=True, check=False).returncode


def one_line(words: str) -> str:
    lines = [line for line in words.splitlines() if line.startswith("upreid: error:")]
    assert len(lines) == 1, words
    assert words.strip().splitlines()[-1] == lines[0]
    return lines[0]


def test_a_disk_that_fills_up_stops_the_run_and_more_room_lets_it_go_on(lab: Any, disk: Path, assert_same: Any) -> None:
    out = disk / "run"
    filler = disk / "filler"
    filler.write_bytes(bytes(TAKEN))
    line = one_line(lab.finish(lab.begin(out), 2))
    assert "No space left on device" in line
    assert not list(out.rglob("*.aside"))
    assert States(out).load()["step"] == 5
    filler.unlink()
    assert mount("-o", "remount,size=100m", disk) == 0
    lab.finish(lab.resume(out))
    assert_same(out)


@pytest.mark.parametrize(("room", "left"), [(20_000, []), (200_000, ["encoder.safetensors"])])
def test_a_file_that_cannot_grow_is_not_left_half_written(lab: Any, tmp_path: Path, room: int, left: list[str]) -> None:
    out = tmp_path / "run"
    one_line(lab.finish(lab.begin(out), 2, "small_files", room))
    assert {entry.name for entry in out.iterdir()} == {".lock", "config.json", "logs", "metrics.jsonl", *left}


def test_a_read_only_disk_is_refused_before_anything_is_computed(lab: Any, disk: Path) -> None:
    assert mount("-o", "remount,ro", disk) == 0
    line = one_line(lab.finish(lab.begin(disk / "run"), 2))
    assert f"cannot write to {disk / 'run'}: Read-only file system" in line
    assert "--out" in line


def test_a_disk_that_turns_read_only_stops_the_run_in_one_line(
    lab: Any, disk: Path, reach: Any, assert_same: Any
) -> None:
    out = disk / "run"
    assert mount("-o", "remount,size=100m", disk) == 0
    child = lab.start(lab.begin(out))
    reach(out, 5, child)
    assert mount("--bind", disk, disk) == 0  # a disk with open files is not remounted, but hidden behind itself
    assert mount("-o", "remount,bind,ro", disk) == 0
    assert child.wait() == 2
    assert "Read-only file system" in one_line(child.words())
    subprocess.run(["umount", str(disk)], check=True)
    lab.finish(lab.resume(out))
    assert_same(out)
