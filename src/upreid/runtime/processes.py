"""Commands of `upreid` in processes of their own, which never outlive the one that started them."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

SECONDS_TO_SAVE = 60
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
DIES_WITH_PARENT = 1
"""`PR_SET_PDEATHSIG` of Linux's prctl."""

Slot = dict[str, str]
"""Where one job runs: variables added to its environment, such as the GPU that it sees."""


def launch(words: Sequence[str], path: Path, slot: Slot) -> subprocess.Popen[bytes]:
    """Run a command of `upreid` in a group of its own, so that Ctrl-C reaches only the tour, which passes it on.

    What it says is appended to `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "upreid", *words]
    with path.open("ab") as log:
        return subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | ONE_THREAD | slot,
            start_new_session=True,
            preexec_fn=end_with_parent(),
        )


def end_with_parent() -> Callable[[], None] | None:
    """What makes a new process save and stop when the tour is killed outright; None where the system cannot."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up before the fork
    return lambda: prctl(DIES_WITH_PARENT, signal.SIGTERM)


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
