"""Rendering in several processes; which of them takes a picture changes nothing about it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from upreid.data.synthetic.corpus import Recipe, Shot, take
from upreid.runtime.console import progress

IMAGES_PER_TASK = 50
IMAGES_WORTH_A_WORKER = 300
"""Starting a process costs about as much as rendering this many pictures (at 128 x 64)."""


def default_workers(num_images: int) -> int:
    """One worker per core that this process may use, fewer where there is little to do."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, num_images // IMAGES_WORTH_A_WORKER))


def render(root: Path, recipe: Recipe, shots: dict[str, list[Shot]], workers: int) -> None:
    """Write every shot below `root`, each list in the folder it is named by."""
    wanted = [(root / folder / shot.path, shot) for folder, some in shots.items() for shot in some]
    for folder in {path.parent for path, _ in wanted}:
        folder.mkdir(parents=True, exist_ok=True)
    tasks = [wanted[start : start + IMAGES_PER_TASK] for start in range(0, len(wanted), IMAGES_PER_TASK)]
    with progress("synth", len(wanted), "images") as meter:
        for count in _finished(recipe, tasks, workers):
            meter.advance(count)


def _finished(recipe: Recipe, tasks: list[list[tuple[Path, Shot]]], workers: int) -> Iterator[int]:
    """Do the tasks and yield the size of each as it is done."""
    if workers == 1:
        yield from (_do(recipe, task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks of whoever called us
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_follow_parent) as pool:
        futures = [pool.submit(_do, recipe, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _do(recipe: Recipe, task: list[tuple[Path, Shot]]) -> int:
    for path, shot in task:
        path.write_bytes(take(recipe, shot))
    return len(task)


def _follow_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it: an orphan would wait for tasks for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
