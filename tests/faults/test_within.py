"""What breaks inside a run: a worker, a loss, an image."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from upreid.training.states import States

pytestmark = pytest.mark.slow


def test_a_worker_that_dies_stops_the_run_in_one_line_and_it_can_go_on(
    lab: Any, tmp_path: Path, assert_same: Any, reach: Any
) -> None:
    out = tmp_path / "run"
    child = lab.start(lab.begin(out, "--train.workers", 1))
    reach(out, 6, child)
    for worker in child.workers():
        os.kill(worker, signal.SIGKILL)
    assert child.wait() == 2, child.words()
    assert "Traceback" not in child.words()
    assert "a process that reads images was killed (SIGKILL)" in child.last_line()
    assert "--train.workers" in child.last_line()
    assert "--resume" in child.last_line()
    assert States(out).load()["step"] >= 5
    lab.finish(lab.resume(out))
    assert_same(out)


def test_a_save_is_finished_though_workers_die_meanwhile(lab: Any, tmp_path: Path, assert_same: Any) -> None:
    out = tmp_path / "run"
    words = lab.finish(lab.begin(out, "--train.workers", 1), 2, "workers_killed_within_a_save", 2)
    assert "a process that reads images was killed" in words.strip().splitlines()[-1]
    assert States(out).load()["step"] == 10
    lab.finish(lab.resume(out))
    assert_same(out)


def test_a_loss_that_breaks_is_named_and_nothing_is_saved_after_it(lab: Any, tmp_path: Path, assert_same: Any) -> None:
    out = tmp_path / "run"
    line = lab.finish(lab.begin(out), 2, "loss_that_breaks", 13).strip().splitlines()[-1]
    assert "loss not finite at step 13: contrast is nan" in line
    assert States(out).load()["step"] == 10
    lab.finish(lab.resume(out))
    assert_same(out)


def test_broken_images_are_named_once_counted_and_skipped_also_after_a_kill(
    lab: Any, tmp_path: Path, pictures: Path, assert_same: Any, reach: Any
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in pictures.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "007.png").write_bytes((folder / "007.png").read_bytes()[:60])
    flags = "--data.root", folder, "--data.unreadable-share", 0.1
    whole, part = tmp_path / "whole", tmp_path / "part"
    words = lab.finish(lab.begin(whole, *flags))
    assert words.count("007.png") == 1
    child = lab.start(lab.begin(part, *flags))
    reach(part, 15, child)
    time.sleep(0.1)
    child.kill()
    child.wait()
    lab.finish(lab.resume(part))
    assert_same(part, like=whole)


def test_a_fault_of_our_own_keeps_its_traceback(lab: Any, tmp_path: Path) -> None:
    child = lab.start(lab.begin(tmp_path / "run"), "defect", None)
    assert child.wait() == 1
    assert "Traceback" in child.words()
    assert "RuntimeError: a defect" in child.last_line()
