"""What the tests share: pictures on disk, and processes that run our code."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # before torch is imported: tests run side by side
    os.environ.setdefault(variable, "1")
if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # a job in the background of a script is deaf to Ctrl-C, as are its own
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-rounds", type=int, default=2, help="how often faults are repeated at random moments")


@pytest.fixture(autouse=True)
def _no_handler_of_torch() -> Iterator[None]:
    """Take away the handler that a loader of torch's own leaves for ever.

    It raises wherever this process is when a worker dies, also between two tests, where that would end all of them.
    """
    yield
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


@pytest.fixture
def run_upreid() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call the command line in a process of its own."""

    def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "upreid", *map(str, words)]
        return subprocess.run(
            command, capture_output=True, text=True, env=os.environ | environment, timeout=600, check=False
        )

    return run


def paint(folder: Path, count: int, *, height: int = 24, width: int = 12, seed: int = 0) -> Path:
    """Write `count` small pictures, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(seed)
    for index in range(count):
        coarse = numbers.integers(0, 256, (4, 2, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((width, height)).save(folder / f"{index:04d}.png")
    return folder


@pytest.fixture(scope="session", name="paint")
def paint_as_fixture() -> Callable[..., Path]:
    """The function that writes small pictures, for tests that choose their own folders."""
    return paint


@pytest.fixture(scope="session")
def commands_of() -> Callable[[str], list[list[str]]]:
    """List the command lines of a page of the documents, as words after `upreid`."""

    def commands(page: str) -> list[list[str]]:
        text = (Path(__file__).parents[1] / "docs" / page).read_text()
        return [line.split()[1:] for line in text.splitlines() if line.startswith("    upreid ")]

    return commands


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of 32 small pictures."""
    return paint(tmp_path / "pictures", 32)
