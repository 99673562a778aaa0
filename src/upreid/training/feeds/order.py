"""Which images each step looks at: a function of (seed, step), so that resuming needs an integer."""

from collections.abc import Iterator

from upreid.runtime.distributed import World
from upreid.runtime.seed import permutation


class StepBatches:
    """For each step from `first` to `last`, this rank's part of the batch as (epoch, index) pairs.

    Every epoch is a new permutation of all images, the same on every rank; what is left over after the last
    whole batch of an epoch waits for another epoch's order.
    """

    def __init__(self, num_images: int, batch: int, *, seed: int, first: int, last: int, world: World) -> None:
        self.num_images, self.batch, self.seed = num_images, batch, seed
        self.first, self.last, self.world = first, last, world
        self.per_epoch = num_images // batch

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for epoch in range(self.first // self.per_epoch, -(-self.last // self.per_epoch)):
            order = permutation(self.seed, epoch, self.num_images, purpose="order")
            begin = max(self.first - epoch * self.per_epoch, 0)
            end = min(self.last - epoch * self.per_epoch, self.per_epoch)
            for step in range(begin, end):
                whole = order[step * self.batch : (step + 1) * self.batch]
                yield [(epoch, int(index)) for index in whole[self.world.share(self.batch)]]
