"""Programs run side by side, each in a process of its own, in the order that their needs allow."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from upreid.errors import InputError
from upreid.runtime.console import progress, say
from upreid.runtime.interrupt import Stop, listen

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_TO_SAVE = 60


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command of `upreid`, what it waits for, and how to tell that it is done and how far it is."""

    name: str
    words: Callable[[], list[str]]
    """The command, settled when it starts: an interrupted run is resumed, not begun again."""
    is_done: Callable[[], bool]
    work: float
    """Its share of the tour, in any unit."""
    done_share: Callable[[], float] = lambda: 0.0
    """How much of it is done, from 0 to 1."""
    needs: tuple[str, ...] = ()


def run_jobs(jobs: Sequence[Job], logs: Path, *, slots: int) -> None:
    """Run what is not done yet, `slots` at a time, one thread each.

    Raises InputError with the last words of a job that fails. The others, and all of them where the user interrupts,
    are asked to stop, save, and can go on when the tour is run again.
    """
    logs.mkdir(parents=True, exist_ok=True)
    finished = {job.name for job in jobs if job.is_done()}
    for name in sorted(finished):
        say(f"reused: {name}")
    waiting = [job for job in jobs if job.name not in finished]
    running: dict[str, tuple[Job, subprocess.Popen[bytes]]] = {}
    total = sum(job.work for job in waiting)
    if not waiting:
        return
    with listen() as stop, progress("tour", 100, "% of the work") as meter:
        try:
            while waiting or running:
                check_stop(stop)
                for job in [job for job in waiting if finished.issuperset(job.needs)][: slots - len(running)]:
                    say(f"begun: {job.name}")
                    running[job.name] = job, launch(job, logs)
                    waiting.remove(job)
                for name, (job, process) in list(running.items()):
                    if process.poll() is not None:
                        conclude(job, process.returncode, logs)
                        del running[name]
                        finished.add(name)
                left = sum(job.work for job in waiting) + sum(
                    j.work * (1 - j.done_share()) for j, _ in running.values()
                )
                meter.advance(max(int(100 * (total - left) / total) - meter.done, 0), note=", ".join(running))
                time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            halt([process for _, process in running.values()])


def launch(job: Job, logs: Path) -> subprocess.Popen[bytes]:
    """Start a job in a group of its own, so that Ctrl-C reaches only the tour, which passes it on."""
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (logs / f"{job.name}.log").open("ab") as log:
        command = [sys.executable, "-m", "upreid", *job.words()]
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | one_thread, start_new_session=True
        )


def conclude(job: Job, code: int, logs: Path) -> None:
    """Take note of a job's end."""
    if code == 0:
        say(f"done: {job.name}")
        return
    lines = (logs / f"{job.name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    raise InputError(f"{job.name} failed with exit code {code}: {last} (all of it: {logs / f'{job.name}.log'})")


def check_stop(stop: Stop) -> None:
    """Leave where the user asked to."""
    if stop:
        raise InputError("stopped; run the same command again to go on")


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
