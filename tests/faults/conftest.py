"""A small pre-training in processes of its own, and what a run must be after whatever was done to it."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image

from upreid.runtime.journal import read_journal
from upreid.training.states import States

STEPS, SAVE_EVERY = 24, 5
SMALL = ["--model.channels", "4", "--model.embed-dim", "16", "--model.bn-groups", "2", "--contrast.queue", "16"]
SMALL += ["--train.batch", "4", "--augment.height", "32", "--augment.width", "16"]
SMALL += ["--intrinsic.rows", "2", "--intrinsic.columns", "1"]
ON_CPU = ["--train.threads", "1", "--train.workers", "0", "--train.device", "cpu"]
SECONDS = 240.0
settings.register_profile(  # the same cases everywhere
    "often",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Child:
    """A run that was forked from the nursery."""

    def __init__(self, nursery: subprocess.Popen[str], order: dict[str, Any]) -> None:
        self.said, self.nursery, self.code = Path(order["said"]), nursery, None
        assert nursery.stdin is not None
        nursery.stdin.write(json.dumps(order) + "\n")
        nursery.stdin.flush()
        self.pid = self.read()

    def read(self) -> int:
        assert self.nursery.stdout is not None
        ready, _, _ = select.select([self.nursery.stdout], [], [], SECONDS)
        assert ready, f"nothing happens; it said: {self.words()}"
        return int(self.nursery.stdout.readline())

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)  # a process that has ended stays a zombie or is gone: see `is_over`

    def is_over(self) -> bool:
        assert self.nursery.stdout is not None
        return self.code is not None or bool(select.select([self.nursery.stdout], [], [], 0)[0])

    def wait(self) -> int:
        if self.code is None:
            self.code = self.read()
        return self.code

    def words(self) -> str:
        return self.said.read_text() if self.said.exists() else ""

    def last_line(self) -> str:
        return self.words().strip().splitlines()[-1]

    def workers(self) -> list[int]:
        return [int(number) for number in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


class Alone:
    """A run in a process that nobody else waits for."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def is_over(self) -> bool:
        return self.process.poll() is not None

    def wait(self) -> int:
        return self.process.wait(timeout=SECONDS)


class Lab:
    """Starts runs, waits for them, and looks at what they left."""

    HALVES = ("--model.bn-groups", "1")
    """Lets the small batch divide over two ranks."""

    def __init__(self, pictures: Path, folder: Path) -> None:
        self.pictures, self.folder = pictures, folder
        words = [sys.executable, "-W", "error", str(Path(__file__).parent / "nursery.py")]
        self.nursery = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.child: Child | None = None

    def begin(self, out: Path, *flags: object, steps: int = STEPS) -> list[str]:
        where = ["--data.root", self.pictures, "--out", out, "--train.steps", steps, "--train.save-every", SAVE_EVERY]
        return ["pretrain", "both-terms-laptop", *map(str, where), *SMALL, *ON_CPU, *map(str, flags)]

    def resume(self, out: Path) -> list[str]:
        return ["pretrain", "--resume", str(out)]

    def start(self, words: list[str], fault: str = "", argument: Any = None, **environment: str) -> Child:
        if self.child is not None:  # a test that failed leaves it as it is
            if not self.child.is_over():
                self.child.kill()
            self.child.wait()
        said = str(self.folder / "said")
        order = {"words": words, "said": said, "environment": environment, "fault": fault, "argument": argument}
        self.child = Child(self.nursery, order)
        return self.child

    def alone(self, words: list[str]) -> "Alone":
        """Run beside whatever the nursery does next: in a process that imports for itself."""
        command = [sys.executable, "-W", "error", "-m", "upreid", *words]
        return Alone(subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))

    def finish(self, words: list[str], code: int = 0, fault: str = "", argument: Any = None) -> str:
        """Run to the end; return what was said, which never is a traceback."""
        child = self.start(words, fault, argument)
        assert child.wait() == code, child.words()
        assert "Traceback" not in child.words()
        return child.words()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, numbers = tmp_path_factory.mktemp("pictures"), np.random.default_rng(1)
    for index in range(32):
        pixels = numbers.integers(0, 256, (4, 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((16, 32)).save(folder / f"{index:03d}.png")
    return folder


@pytest.fixture(scope="session")
def lab(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(pictures, tmp_path_factory.mktemp("lab"))
    yield lab
    assert lab.nursery.stdin is not None
    lab.nursery.stdin.close()
    lab.nursery.wait(timeout=SECONDS)
    assert lab.nursery.stdout is not None
    lab.nursery.stdout.close()


@pytest.fixture(scope="session")
def undisturbed(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    lab.finish(lab.begin(out))
    return out


@pytest.fixture(scope="session")
def undisturbed_group(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on two ranks that nothing happened to."""
    out = tmp_path_factory.mktemp("group") / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "upreid", *lab.begin(out, *lab.HALVES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return out


def without_times(out: Path) -> list[dict[str, Any]]:
    return [{**line, "seconds": 0} for line in read_journal(out / "metrics.jsonl")]


def same(ours: Any, theirs: Any) -> bool:
    """Whether two states are equal to the bit."""
    if isinstance(ours, torch.Tensor):
        return isinstance(theirs, torch.Tensor) and torch.equal(ours, theirs)
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(value, theirs[key]) for key, value in ours.items())
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return ours == theirs


@pytest.fixture(scope="session")
def assert_same(undisturbed: Path) -> Any:
    """Whether a run ended as the undisturbed one: encoder bytes, state, journal, and nothing half-written."""

    def check(out: Path, *, like: Path = undisturbed) -> None:
        assert (out / "encoder.safetensors").read_bytes() == (like / "encoder.safetensors").read_bytes()
        assert without_times(out) == without_times(like)
        assert same(*(States(folder).load() for folder in (out, like)))
        assert not list(out.rglob("*.aside"))
        assert sorted(path.name for path in (out / "states").iterdir()) == sorted(
            path.name for path in (like / "states").iterdir()
        )

    return check


@pytest.fixture(scope="session")
def reach() -> Any:
    """Wait until a run has written so many lines of its journal."""

    def wait(out: Path, steps: int, child: Any) -> None:
        journal, deadline = out / "metrics.jsonl", time.monotonic() + SECONDS
        while not child.is_over() and time.monotonic() < deadline:
            if journal.exists() and journal.read_bytes().count(b"\n") >= steps:
                return
            time.sleep(0.005)
        assert child.is_over(), f"the run does not come to line {steps} of its journal"

    return wait
