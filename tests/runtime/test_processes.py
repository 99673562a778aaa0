"""Jobs of a tour in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from upreid.runtime.console import logging_to, say
from upreid.runtime.processes import ENDS_WITH_INPUT, end_with_parent, halt, has_ended, launch

SECONDS = 60.0
PARENT = """
import sys, threading, time
from pathlib import Path
from upreid.runtime import processes
processes.sys = type("S", (), {"executable": sys.argv[1]})
def go():
    job = processes.launch(["x"], Path(sys.argv[2]), {"SLOT": "3"})
    print(job.pid, flush=True)
thread = threading.Thread(target=go)
thread.start()
thread.join()  # a signal that came with the end of this thread would come now
time.sleep(float(sys.argv[3]))
"""
JOB = """#!{python}
import os, signal, sys, time
from upreid.runtime.processes import end_with_parent
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(0)))
end_with_parent()
print("begun", os.environ["SLOT"], "UPREID_ENDS_WITH_INPUT" in os.environ, flush=True)
time.sleep(600)
"""


def wait_for(path: Path, words: str) -> str:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if path.exists() and words in path.read_text():
            return path.read_text()
        time.sleep(0.02)
    raise AssertionError(f"{words} does not stand in {path}: {path.read_text() if path.exists() else 'no file'}")


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_saves_and_stops_when_its_parent_is_gone_and_not_when_the_thread_that_began_it_is(
    tmp_path: Path, ending: signal.Signals
) -> None:
    job, log = tmp_path / "job", tmp_path / "log"
    job.write_text(JOB.format(python=sys.executable))
    job.chmod(0o755)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(job), str(log), "600"], stdout=subprocess.PIPE)
    assert wait_for(log, "begun") == "begun 3 False\n"
    time.sleep(0.5)
    assert "saved" not in log.read_text()
    parent.send_signal(ending)
    parent.communicate(timeout=SECONDS)
    wait_for(log, "saved")


def test_a_command_has_its_words_in_a_log_and_is_halted_when_asked(tmp_path: Path) -> None:
    process = launch(["--version"], tmp_path / "logs" / "one.log", {})
    process.wait(timeout=SECONDS)
    assert has_ended(process)
    assert process.returncode == 0
    assert (tmp_path / "logs" / "one.log").read_text().startswith("upreid ")
    other = launch(["demo", "--out", str(tmp_path / "demo")], tmp_path / "logs" / "two.log", {})
    halt([other])
    assert has_ended(other)
    assert other.returncode != 0


def test_a_process_that_nobody_launched_so_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDS_WITH_INPUT, raising=False)
    end_with_parent()
    os.kill(os.getpid(), 0)


def test_a_log_takes_what_is_said_while_it_is_open_and_logs_lie_within_each_other(tmp_path: Path) -> None:
    say("before")
    with logging_to(tmp_path / "outer.log"):
        say("one")
        with logging_to(tmp_path / "inner.log"):
            say("two")
        say("three")
    say("after")
    texts = [(tmp_path / name).read_text() for name in ("outer.log", "inner.log")]
    assert [[line.split(" ", 1)[1] for line in text.splitlines()] for text in texts] == [
        ["one", "two", "three"],
        ["two"],
    ]
