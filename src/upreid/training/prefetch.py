"""Work for the next step while the device is still at this one, on a GPU in a stream of its own."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from upreid.types import Views

Item = TypeVar("Item")


def prefetched(work: Callable[[Item], Views], device: torch.device) -> Callable[[Item], Views]:
    """Return `work` as it should be called before each step; it makes tensors on `device` by name.

    On a CPU that is `work` itself: there the loader's processes work beside the step.
    """
    return SideStream(work, device) if device.type == "cuda" else work


class SideStream(Generic[Item]):
    """Queues `work` in a second stream; what the caller queues afterwards waits for the result.

    The host runs ahead of the GPU, so that the work for the next step is queued while the GPU is still at this one, and
    neither a thread nor a buffer is needed. It begins when the step before this one is over: two results exist at most.
    """

    def __init__(self, work: Callable[[Item], Views], device: torch.device) -> None:
        self.work = work
        self.steps, self.stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)
        self.last_but_one: Any = self.steps.record_event()

    def __call__(self, item: Item) -> Views:
        """Queue the work for one item."""
        self.stream.wait_event(self.last_but_one)
        with torch.cuda.stream(self.stream):
            result = self.work(item)
        self.steps.wait_stream(self.stream)
        for tensor in result.values():
            if isinstance(tensor, Tensor) and tensor.is_cuda:
                tensor.record_stream(self.steps)  # its memory is free again when the step is over, not before
        self.last_but_one = self.steps.record_event()
        return result
