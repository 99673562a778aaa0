"""Work in processes of their own, none of which outlives the one that started it: functions, and commands of `upreid`."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

from upreid.errors import RunError
from upreid.runtime.launcher import num_local_ranks

SECONDS_TO_SAVE = 60
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
ENDS_WITH_INPUT = "UPREID_ENDS_WITH_INPUT"
"""Variable of a process whose standard input is a pipe that its parent holds open; the system closes it with the parent's end."""
STANDARD_INPUT = 0

Slot = dict[str, str]
"""Where one job runs: variables added to its environment, such as the GPU that it sees."""
Task = TypeVar("Task")
Shared = TypeVar("Shared")
Result = TypeVar("Result")


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


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cores() -> int:
    """Cores that this process may use, shared with the other processes that torchrun started here."""
    return max(usable_cores() // num_local_ranks(), 1)


def in_processes(
    work: Callable[[Shared, Task], Result], shared: Shared, tasks: Sequence[Task], workers: int
) -> Iterator[Result]:
    """Yield `work(shared, task)` of every task, in the order in which they are done; `shared` travels once a process.

    One worker is this process. Raises `RunError` where a worker dies.
    """
    if workers == 1:
        yield from (work(shared, task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of whoever called us
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(work, shared)) as pool:
        futures = [pool.submit(_do, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise RunError("a worker process died, perhaps for want of memory; run again with fewer workers") from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


_given: list[Any] = []
"""In a worker: what to do, and what is shared."""


def _begin(work: Callable[[Any, Any], Any], shared: Any) -> None:
    """Leave Ctrl-C to the parent, and end with it: an orphan would wait for tasks for ever."""
    _given[:] = work, shared
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _do(task: Any) -> Any:
    work, shared = _given
    return work(shared, task)
