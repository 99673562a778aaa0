"""Where batches come from: for every step, this rank's part of it, and what is needed to go on from any step."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from upreid.types import Views


@runtime_checkable
class Feed(Protocol):
    """Gives the batches of any steps, as a function of (seed, step) alone, and knows its images by a fingerprint."""

    batch: int
    """Images per step, over all ranks."""
    num_images: int
    """Images that it draws from."""
    fingerprint: str
    """Of the images and their order: a run goes on with the same ones only."""
    steps_per_epoch: int
    """Steps in which every image is shown about once."""

    def batches(self, first: int, last: int) -> Iterator[Any]:
        """Yield this rank's part of the steps from `first` to `last`, as far as it is made on the host."""
        ...

    def prepare(self, item: Any) -> Views:
        """Bring what `batches` yielded to the device, as the method looks at it; must not wait for the device."""
        ...

    def report(self) -> dict[str, Any]:
        """Return what the journal is to hold of the preparation of the next step, once; mostly nothing."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what it remembers, as plain values."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned in an earlier run."""
        ...
