"""The one place where data loaders are made: batches of a dataset, decoded in processes beside the step."""

from collections.abc import Callable, Iterable
from typing import Any

from torch.utils.data import DataLoader, Dataset

PREFETCH = 2
"""Batches that each worker has ready, where the caller does not say."""


def make_loader(
    dataset: Dataset[Any],
    *,
    workers: int,
    batch_size: int | None = None,
    batch_sampler: Iterable[Any] | None = None,
    collate: Callable[[Any], Any] | None = None,
    pin: bool = False,
    prefetch: int = PREFETCH,
) -> Iterable[Any]:
    """Return the batches of `dataset`: of `batch_size` items in order, or of the items that `batch_sampler` lists.

    `workers` processes make them, each up to `prefetch` batches ahead; with 0 workers this process does. `collate` turns a list
    of items into a batch, and `pin` keeps batches in memory from which a GPU can copy while it computes.
    """
    how = {"batch_size": batch_size} if batch_sampler is None else {"batch_sampler": batch_sampler}
    return DataLoader(
        dataset,
        **how,  # pyright: ignore[reportArgumentType]
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        prefetch_factor=prefetch if workers else None,
    )
