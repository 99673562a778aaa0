"""Where a program runs: device, threads and workers, settled and said once; and what a result says of the machine."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from shutil import which

import torch

from upreid.errors import InputError
from upreid.runtime.console import say
from upreid.runtime.launcher import local_rank
from upreid.runtime.processes import cores, usable_cores


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where a program runs. On a busy two-core machine, two threads beside two workers ran 25 times slower."""

    device: torch.device
    threads: int
    workers: int
    prefix: str = "--train."
    """Beginning of the flags of the command that was typed."""

    @property
    def workers_flag(self) -> str:
        """The flag for the number of workers, for errors."""
        return f"{self.prefix}workers"

    def start(self) -> None:
        """Set the threads and say the numbers."""
        torch.set_num_threads(self.threads)
        self.announce()

    def announce(self) -> None:
        """Say the numbers."""
        say(f"device {self.device}: {self.threads} threads + {self.workers} workers on {cores()} cores")
        if self.threads + self.workers > cores():
            say(
                f"warning: more threads and workers than cores take turns, which can be many times slower; "
                f"lower {self.prefix}threads or {self.workers_flag}"
            )


def settle(
    device: str, threads: int | None, workers: int | None, *, workers_wanted: int, prefix: str = "--train."
) -> Compute:
    """Choose what the user left open; `workers_wanted` is what the program would like, `prefix` begins its flags.

    What it chooses never exceeds the cores; what a user asks for may, which is said. Raises InputError where a GPU is asked for
    and there is none.
    """
    available = cores()
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{prefix}device cuda, but torch sees no GPU; say {prefix}device cpu")
    chosen = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if workers is None:
        workers = max(min(workers_wanted, available - (threads or 1)), 0)
    if threads is None:
        threads = max(available - workers, 1)
    name = f"cuda:{local_rank()}" if chosen == "cuda" else "cpu"
    return Compute(device=torch.device(name), threads=threads, workers=workers, prefix=prefix)


def check_compiler() -> None:
    """Raise InputError where torch.compile would find no C++ compiler."""
    named = os.environ.get("CXX")
    known = [named] if named else ["g++", "clang++", "icpx", "cl"]
    if not any(which(name) for name in known):
        raise InputError(
            f"--train.compile needs a C++ compiler, and none of {', '.join(known)} is on the PATH; "
            f"install one, or say --train.no-compile"
        )


def provenance() -> dict[str, object]:
    """Versions of what computes, the commit of our source where there is one, and the machine."""
    packages = ("upreid", "torch", "torchvision", "timm", "numpy", "pillow")
    return {
        "versions": {name: version(name) for name in packages},
        "commit": commit(),
        "hardware": hardware(),
    }


def version(package: str) -> str | None:
    """Return the version of a package, or None where it is not installed: our own source runs without that, too."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Commit of the source tree that runs, with `+` where files differ from it; None for an installed package."""
    folder = Path(__file__).parent
    words = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        tracked = subprocess.run(
            [*words[:3], "ls-files", "--error-unmatch", __file__], capture_output=True, check=False
        )
        if tracked.returncode:
            return None
        return subprocess.run(words, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def hardware() -> dict[str, str | int]:
    """What a result should name: processor, cores, GPU, versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "machine": platform.machine(),
        "cores": usable_cores(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
