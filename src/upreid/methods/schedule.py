"""Schedules: pure functions of the step number, so that resuming needs an integer."""

import math


def warmup_cosine(step: int, *, total: int, warmup: int) -> float:
    """Factor on the learning rate: linear from `1 / warmup` to 1, then half a cosine to 0 at `total`."""
    if step < warmup:
        return (step + 1) / warmup
    return cosine(step, first=warmup, total=total)


def warm_up(step: int, *, length: int, start: float) -> float:
    """Factor on the learning rate: linear from `start` to 1 at step `length`."""
    return start + (1.0 - start) * step / length if step < length else 1.0


def cosine(step: int, *, first: int, total: int, last: float = 0.0) -> float:
    """Factor on the learning rate: 1 until `first`, then half a cosine to `last` at `total`."""
    progress = min(max(step - first, 0) / max(total - first, 1), 1.0)
    return last + (1.0 - last) * 0.5 * (1.0 + math.cos(math.pi * progress))


def staircase(step: int, *, milestones: tuple[int, ...], factor: float = 0.1) -> float:
    """Factor on the learning rate: 1, then times `factor` from each milestone on."""
    return factor ** sum(step >= milestone for milestone in milestones)


def window(begin: float, end: float, total: int) -> range:
    """Return the steps between two fractions of a training."""
    return range(round(begin * total), round(end * total))


def ramp(step: int, length: int) -> float:
    """Factor on a loss weight: linear from 0 to 1 over `length` steps; 1 at once where `length` is 0."""
    return 1.0 if length == 0 else min(step / length, 1.0)
