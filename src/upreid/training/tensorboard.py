"""TensorBoard as a view of the journal."""

from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from upreid.errors import InputError


class TensorBoard:
    """Takes the same lines as the journal; a resumed run hides what was written from `resume_at` on."""

    def __init__(self, folder: Path, *, resume_at: int = 0) -> None:
        if find_spec("tensorboard") is None:
            raise InputError("--tensorboard, but TensorBoard is not installed: pip install 'upreid[tensorboard]'")
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and optional

        self.writer = SummaryWriter(str(folder), purge_step=resume_at)

    def write(self, *, step: int, **values: Any) -> None:
        """Write one scalar per number."""
        for name, value in values.items():
            if isinstance(value, int | float):
                self.writer.add_scalar(name, value, step)

    def __enter__(self) -> "TensorBoard":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()
