"""Asked to stop, started twice, and clocks that jump."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from upreid.training.states import States

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_a_run_saves_and_says_how_to_go_on(
    lab: Any, tmp_path: Path, assert_same: Any, reach: Any, number: signal.Signals
) -> None:
    out = tmp_path / "run"
    child = lab.start(lab.begin(out))
    reach(out, 5, child)
    child.kill(number)
    child.kill(number)  # once more at once, as where a scheduler and a launcher both pass it on: still one request
    assert child.wait() == 128 + number
    assert (
        f"stopped at step {States(out).load()['step']} of 24; go on with: upreid pretrain --resume {out}"
        in child.words()
    )
    lab.finish(lab.resume(out))
    assert_same(out)


def test_a_second_ctrl_c_later_stops_a_run_that_does_not_get_to_it(lab: Any, tmp_path: Path, reach: Any) -> None:
    out = tmp_path / "run"
    child = lab.start(lab.begin(out), "step_that_hangs", 7)
    reach(out, 5, child)  # what a save has written; two steps later it hangs
    time.sleep(0.5)
    child.kill(signal.SIGINT)
    time.sleep(1.2)
    assert not child.is_over()
    child.kill(signal.SIGINT)
    assert child.wait() == 130
    assert "interrupted" in child.last_line()
    assert States(out).load()["step"] == 5


def test_two_runs_on_one_folder_and_the_second_is_refused(
    lab: Any, tmp_path: Path, assert_same: Any, reach: Any
) -> None:
    out = tmp_path / "run"
    process = lab.alone(lab.begin(out))
    reach(out, 1, process)
    for words in (lab.begin(out), lab.resume(out)):
        assert f"{out} is in use by another process" in lab.finish(words, 2)
    assert process.wait() == 0
    assert f"{out} is not empty; resume with --resume {out}" in lab.finish(lab.begin(out), 2)
    assert_same(out)


def test_a_clock_that_jumps_changes_nothing(lab: Any, tmp_path: Path, assert_same: Any) -> None:
    out = tmp_path / "run"
    lab.finish(lab.begin(out), fault="clock_that_jumps")
    assert_same(out)
    child = lab.start(lab.resume(out), "clock_that_jumps")
    assert child.wait() == 0
