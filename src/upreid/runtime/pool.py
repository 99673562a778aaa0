"""Work in several processes, none of which outlives the one that started them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from upreid.errors import RunError

Task = TypeVar("Task")
Shared = TypeVar("Shared")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
