"""Programs run side by side, each in a process of its own, in the order that their needs allow."""

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from upreid.errors import RunError, Stopped, UpreidError
from upreid.runtime.console import Meter, progress, say
from upreid.runtime.interrupt import Stop, listen
from upreid.runtime.processes import Slot, halt, has_ended, launch

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_BETWEEN_REPORTS = 2.0
"""How far a run is stands in its journal, which takes time to read."""
NAMED = 5
"""So many failed jobs are named in an error."""
PARTS = 1000
"""Progress is counted in thousandths of the work."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A command of `upreid`, what it waits for, and how to tell that it is done and how far it is."""

    name: str
    words: Callable[[], list[str]]
    """The command, settled when it starts: an interrupted run is resumed, not begun again."""
    is_done: Callable[[], bool]
    work: float
    """Its share of the whole, in any unit."""
    done_share: Callable[[], float] = lambda: 0.0
    """How much of it is done, from 0 to 1."""
    needs: tuple[str, ...] = ()
    finish: Callable[[float], None] = lambda _: None
    """What is left to do when its process, which took so many seconds, has ended well."""


@dataclass(frozen=True)
class Running:
    """A job under way."""

    job: Job
    process: subprocess.Popen[bytes]
    started: float


@dataclass(kw_only=True)
class Shift:
    """Jobs that wait, run, ended well, and failed."""

    logs: Path
    slots: Sequence[Slot]
    waiting: list[Job]
    finished: set[str]
    running: dict[int, Running] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Fill free slots with the first jobs that have what they need."""
        for slot in [slot for slot in range(len(self.slots)) if slot not in self.running]:
            job = next((job for job in self.waiting if self.finished.issuperset(job.needs)), None)
            if job is None:
                return
            self.waiting.remove(job)
            try:
                words = job.words()
            except UpreidError as error:
                self.fail(job, error)
                continue
            say(f"begun: {job.name}")
            self.running[slot] = Running(job, launch(words, log_of(job, self.logs), self.slots[slot]), time.monotonic())

    def look(self) -> None:
        """Take note of jobs that have ended."""
        for slot, run in list(self.running.items()):
            if not has_ended(run.process):
                continue
            del self.running[slot]
            try:
                conclude(run, self.logs)
            except UpreidError as error:
                self.fail(run.job, error)
            else:
                self.finished.add(run.job.name)

    def fail(self, job: Job, error: UpreidError) -> None:
        """Say why a job failed; the jobs that need it cannot run."""
        say(str(error))
        self.failed[job.name] = str(error)
        self.leave_out(job.name)

    def leave_out(self, name: str) -> None:
        """Jobs that need a failed one cannot run, nor can those that need them."""
        for job in [job for job in self.waiting if name in job.needs]:
            if job in self.waiting:
                self.waiting.remove(job)
                self.left_out.append(job.name)
                self.leave_out(job.name)

    def work_left(self) -> float:
        """In the unit of `Job.work`."""
        begun = [run.job.work * (1 - run.job.done_share()) for run in self.running.values()]
        return sum([job.work for job in self.waiting] + begun, start=0.0)


def run_jobs(
    jobs: Sequence[Job], logs: Path, *, slots: Sequence[Slot], what: str = "tour", keeps_going: bool = False
) -> None:
    """Run what is not done yet, one job a slot, one thread each.

    Raises RunError with the last words of a job that fails. The others are asked to stop and save, as all are where
    the user interrupts (Stopped), and can go on when the same is run again; with `keeps_going` a failure stops only the jobs
    that need the failed one, and the error comes at the end.
    """
    finished = {job.name for job in jobs if job.is_done()}
    for name in sorted(finished):
        say(f"reused: {name}")
    shift = Shift(logs=logs, slots=slots, waiting=[job for job in jobs if job.name not in finished], finished=finished)
    if not shift.waiting:
        return
    total, due = shift.work_left(), 0.0
    with listen() as stop, progress(what, PARTS, "thousandths of the work") as meter:
        try:
            while shift.waiting or shift.running:
                check_stop(stop)
                shift.begin()
                shift.look()
                if shift.failed and not keeps_going:
                    raise RunError(next(iter(shift.failed.values())))
                if time.monotonic() >= due:
                    report(meter, shift, total)
                    due = time.monotonic() + SECONDS_BETWEEN_REPORTS
                time.sleep(SECONDS_BETWEEN_LOOKS)
            report(meter, shift, total)
        finally:
            halt([run.process for run in shift.running.values()])
    check_failures(shift)


def report(meter: Meter, shift: Shift, total: float) -> None:
    """Show how much is done and what is under way."""
    now = int(PARTS * (total - shift.work_left()) / total)
    if now > meter.done:
        meter.advance(now - meter.done, note=", ".join(run.job.name for run in shift.running.values()))


def log_of(job: Job, logs: Path) -> Path:
    """Return the file that a job's words go to."""
    return logs / f"{job.name}.log"


def conclude(run: Running, logs: Path) -> None:
    """Take note of a job's end; RunError with its last words where it failed."""
    job, code = run.job, run.process.returncode
    if code == 0:
        job.finish(time.monotonic() - run.started)
        say(f"done: {job.name}")
        return
    path = log_of(job, logs)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    raise RunError(f"{job.name} failed with exit code {code}: {last} (all of it: {path})")


def check_failures(shift: Shift) -> None:
    """Name what failed; the last words of each were said when it did."""
    if not shift.failed:
        return
    rest = f" and {len(shift.left_out)} that need them were left out" if shift.left_out else ""
    first, more = list(shift.failed)[:NAMED], len(shift.failed) - NAMED
    names = ", ".join(first) + (f" and {more} more" if more > 0 else "")
    raise RunError(
        f"{len(shift.failed)} failed ({names}){rest}; what each said stands in {shift.logs}; "
        "run the same command again to try them once more"
    )


def check_stop(stop: Stop) -> None:
    """Leave where the user asked to."""
    if stop.signal is not None:
        raise Stopped("stopped; run the same command again to go on", stop.signal)
