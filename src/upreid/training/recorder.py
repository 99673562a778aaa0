"""Losses on their way from the device to the journal and TensorBoard, without making the device wait at every step."""

import math
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from upreid.errors import InputError, RunError
from upreid.runtime.distributed import ALONE, World, average


@runtime_checkable
class Sink(Protocol):
    """Something that takes numbers: the journal, TensorBoard."""

    def write(self, *, step: int, **values: Any) -> None:
        """Take the numbers of a step."""


STEPS_BETWEEN_READS = 10


class Recorder:
    """Holds the losses of some steps, averages them over the ranks, reads them in one transfer, checks and writes them down.

    All ranks must call it alike; `sinks` are rank 0's.
    """

    def __init__(self, sinks: Sequence[Sink], world: World = ALONE) -> None:
        self.sinks, self.world = sinks, world
        self.waiting: list[tuple[int, float, Tensor]] = []
        self.names: list[str] = []
        self.started = time.monotonic()
        self.last: dict[str, float] = {}

    def add(self, step: int, lr: float, losses: dict[str, Tensor]) -> None:
        """Note a step's losses; what has gathered is read at every tenth call, and where other losses begin."""
        if list(losses) != self.names:
            self.read()
            self.names = list(losses)
        self.waiting.append((step, lr, torch.stack(list(losses.values()))))
        if len(self.waiting) >= STEPS_BETWEEN_READS:
            self.read()

    def read(self) -> None:
        """Write what is waiting; RunError naming step and terms where a loss is not finite."""
        if not self.waiting:
            return
        rows = average(torch.stack([values for _, _, values in self.waiting]), self.world).tolist()
        waiting, self.waiting = self.waiting, []
        for (step, lr, _), row in zip(waiting, rows, strict=True):
            self.last = dict(zip(self.names, row, strict=True))
            broken = [name for name, value in self.last.items() if not math.isfinite(value)]
            if broken:
                raise RunError(
                    f"loss not finite at step {step}: {', '.join(f'{name} is {self.last[name]}' for name in broken)}; "
                    f"what was saved before is kept; try a lower --optim.lr or a longer warm-up"
                )
            self.write(step, {"lr": lr, **self.last})

    def observe(self, step: int, numbers: dict[str, Any] | None) -> None:
        """Write what was measured after `step`; only rank 0 has the numbers."""
        self.read()
        self.write(step, numbers or {})

    def write(self, step: int, numbers: dict[str, Any]) -> None:
        """Hand numbers to every sink, with the seconds since this process began."""
        for sink in self.sinks:
            sink.write(step=step, **numbers, seconds=round(time.monotonic() - self.started, 3))

    def note(self) -> str:
        """The newest losses, for a progress line."""
        return " ".join(f"{name} {value:.3f}" for name, value in self.last.items())


def scalars(values: Mapping[str, Any], prefix: str = "") -> dict[str, int | float]:
    """Return the numbers of a line for a viewer; those of a table in it are called `table/name`, which viewers group."""
    found: dict[str, int | float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            found[prefix + name] = value
    return found


class TensorBoard:
    """Takes the same lines as the journal; a resumed run hides what was written from `resume_at` on."""

    def __init__(self, folder: Path, *, resume_at: int = 0) -> None:
        if find_spec("tensorboard") is None:
            raise InputError("--tensorboard, but TensorBoard is not installed: pip install 'upreid[tensorboard]'")
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and optional

        self.writer = SummaryWriter(str(folder), purge_step=resume_at)

    def write(self, *, step: int, **values: Any) -> None:
        """Write one scalar per number."""
        for name, value in scalars(values).items():
            self.writer.add_scalar(name, value, step)

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()
