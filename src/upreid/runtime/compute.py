"""Device, threads and workers: settled once, said once, never above the cores."""

import os
import platform
from dataclasses import dataclass
from shutil import which

import torch

from upreid.errors import InputError
from upreid.runtime.console import say
from upreid.runtime.pool import usable_cores


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where a program runs. On a busy two-core machine, two threads beside two workers ran 25 times slower."""

    device: torch.device
    threads: int
    workers: int

    def start(self) -> None:
        """Set the threads and say the numbers."""
        torch.set_num_threads(self.threads)
        self.announce()

    def announce(self) -> None:
        """Say the numbers."""
        say(f"device {self.device}: {self.threads} threads + {self.workers} workers on {cores()} cores")


def cores() -> int:
    """Cores this process may use, shared with the other processes that torchrun started here."""
    return max(usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)


def settle(
    device: str, threads: int | None, workers: int | None, *, workers_wanted: int, prefix: str = "--train."
) -> Compute:
    """Choose what the user left open; `workers_wanted` is what the program would like, `prefix` begins its flags.

    Raises InputError where threads + workers exceed the cores, or a GPU is asked for and there is none.
    """
    available = cores()
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{prefix}device cuda, but torch sees no GPU; say {prefix}device cpu")
    chosen = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    if workers is None:
        workers = max(min(workers_wanted, available - (threads or 1)), 0)
    if threads is None:
        threads = max(available - workers, 1)
    if threads < 1 or workers < 0 or threads + workers > max(available, 1):
        raise InputError(
            f"{threads} threads + {workers} workers do not fit {available} cores; "
            f"lower {prefix}threads or {prefix}workers"
        )
    name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if chosen == "cuda" else "cpu"
    return Compute(device=torch.device(name), threads=threads, workers=workers)


def check_compiler() -> None:
    """Raise InputError where torch.compile would find no C++ compiler."""
    named = os.environ.get("CXX")
    known = [named] if named else ["g++", "clang++", "icpx", "cl"]
    if not any(which(name) for name in known):
        raise InputError(
            f"--train.compile needs a C++ compiler, and none of {', '.join(known)} is on the PATH; "
            f"install one, or say --train.no-compile"
        )


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
