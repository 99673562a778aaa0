"""Commands of `upreid` in processes of their own, which never outlive the one that started them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

SECONDS_TO_SAVE = 60
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
ENDS_WITH_INPUT = "UPREID_ENDS_WITH_INPUT"
"""Variable of a process whose standard input is a pipe that its parent holds open; the system closes it with the parent's end."""
STANDARD_INPUT = 0

Slot = dict[str, str]
"""Where one job runs: variables added to its environment, such as the GPU that it sees."""


def launch(words: Sequence[str], path: Path, slot: Slot) -> subprocess.Popen[bytes]:
    """Run a command of `upreid` in a group of its own, so that Ctrl-C reaches only the tour, which passes it on.

    What it says is appended to `path`. It saves and stops when this process ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "upreid", *words]
    with path.open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | ONE_THREAD | slot | {ENDS_WITH_INPUT: "1"},
            start_new_session=True,
        )


def end_with_parent() -> None:
    """In a process that `launch` started: ask it to save and stop when its parent is gone; elsewhere do nothing."""
    if not os.environ.pop(ENDS_WITH_INPUT, ""):
        return

    def watch() -> None:
        while os.read(STANDARD_INPUT, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process is over; what was held open for it is closed then."""
    if process.poll() is None:
        return False
    if process.stdin is not None:
        process.stdin.close()
    return True


def halt(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask processes to save and stop; insist after a minute."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(timeout=SECONDS_TO_SAVE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        has_ended(process)
