"""Candidates that take turns, so that whatever else the machine does hits them alike; ratios are medians over the rounds.

On a CPU, seconds are CPU seconds of this process: waiting for other programs does not count. On a GPU they are the time from
an idle device to an idle device.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

Work = Callable[[], object]
Seconds = dict[str, list[float]]
"""Seconds of each candidate in each round."""


def seconds_of(work: Work, device: torch.device, repeats: int = 1) -> float:
    """Do the work so many times in a row; return the seconds of one time."""
    on_gpu, clock = device.type == "cuda", time.perf_counter if device.type == "cuda" else time.process_time
    if on_gpu:
        torch.cuda.synchronize(device)
    started = clock()
    for _ in range(repeats):
        work()
    if on_gpu:
        torch.cuda.synchronize(device)
    return (clock() - started) / repeats


def take_turns(candidates: Mapping[str, Work], rounds: int, device: torch.device, repeats: int = 1) -> Seconds:
    """Run every candidate once to warm up, then `repeats` times in each round."""
    for work in candidates.values():
        work()
    seconds: Seconds = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, work in candidates.items():
            seconds[name].append(seconds_of(work, device, repeats))
    return seconds


def ratio(seconds: Seconds, name: str, baseline: str) -> float:
    """Return how many times the baseline's seconds a candidate takes, in the median round."""
    return statistics.median(ours / theirs for ours, theirs in zip(seconds[name], seconds[baseline], strict=True))


def peak_work(device: torch.device, dtype: torch.dtype) -> dict[str, tuple[Work, float]]:
    """Return a large product and a wide convolution by name, with their floating-point operations.

    There are two because a CPU's libraries differ: oneDNN's convolutions can outrun MKL's product.
    """
    size, repeats = (2048, 1) if device.type == "cpu" else (8192, 20)
    left, right, out = (torch.randn(size, size, device=device).to(dtype) for _ in range(3))
    images = torch.randn(32 * repeats, 256, 32, 32, device=device).to(dtype)
    kernel = torch.randn(256, 256, 3, 3, device=device).to(dtype)

    def multiply() -> None:
        for _ in range(repeats):
            torch.mm(left, right, out=out)

    @torch.no_grad()
    def convolve() -> None:
        torch.conv2d(images, kernel)

    return {
        "matrix product": (multiply, 2.0 * repeats * size**3),
        "3x3 convolution": (convolve, 2.0 * len(images) * 30 * 30 * kernel.numel()),
    }


def operations(work: Work) -> float:
    """Count the floating-point operations of convolutions and matrix products, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def peak_memory(work: Work, device: torch.device) -> float:
    """Measure the MiB of tensors that exist at once while the work is done, above what existed before."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    with silent_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = profiler.profiler.kineto_results.events()  # pyright: ignore[reportOptionalMemberAccess]
    held = peak = 0
    for event in sorted((event for event in events if event.name() == "[memory]"), key=lambda event: event.start_ns()):
        held += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue] - not in torch's stub
        peak = max(peak, held)
    return peak / 2**20


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Silence the C++ side of the profiler, which reports at every start that there is no GPU."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
