"""What a loader's workers do: decode originals, stack them, and never stumble over a bad file twice."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from upreid.data.augment.geometry import resize_whole
from upreid.data.augment.photometric import normalise
from upreid.data.decode import UnreadableImage, decode_bytes
from upreid.data.records import Record
from upreid.data.sources.source import Source, place
from upreid.errors import DataError
from upreid.runtime.console import say
from upreid.types import ImageBatch, Preprocess

SKIP_LIMIT = 0.01
"""Share of a source that may be unreadable before a run stops."""
NAMED = 5
"""Number of files that an error names."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A file that could not be read; `reason` is a sentence that begins with its name."""

    index: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A decoded original, and the unreadable files that were passed over to find it."""

    pixels: UInt8[np.ndarray, "height width 3"]
    file_size: tuple[int, int]
    index: int
    epoch: int
    skipped: tuple[Skipped, ...] = ()


class OriginalImages(Dataset[Sample]):
    """Unlabelled images by (epoch, index), at up to twice `height` x `width`.

    An unreadable file is replaced by the next readable one (index + 1, ..., around the end): a decision that depends
    on the files alone, not on the worker or the batch. The search ends when more files have failed than
    `limit` allows; then the sample is one black pixel that nobody will train on, because the same failures
    travel in `skipped`, and `SkipLedger.add` stops the run before the step.
    """

    def __init__(self, source: Source, *, height: int, width: int, limit: float = SKIP_LIMIT) -> None:
        self.source, self.target = source, (height, width)
        self.num_tolerated = int(limit * len(source))
        self.failed: set[int] = set()  # of this worker: bounds the search, changes no outcome

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        """Decode image `index` for `epoch`; `key` is (epoch, index)."""
        epoch, wanted = key
        skipped: list[Skipped] = []
        for step in range(len(self.source)):
            index = (wanted + step) % len(self.source)
            try:
                content = self.source.read(index)
                pixels, file_size = decode_bytes(content, place(self.source, index), target=self.target)
            except UnreadableImage as error:
                skipped.append(Skipped(index=index, reason=str(error)))
                self.failed.add(index)
                if len(self.failed) > self.num_tolerated:
                    break
            else:
                return Sample(pixels=pixels, file_size=file_size, index=index, epoch=epoch, skipped=tuple(skipped))
        black = np.zeros((1, 1, 3), dtype=np.uint8)
        return Sample(pixels=black, file_size=(1, 1), index=wanted, epoch=epoch, skipped=tuple(skipped))


def collate(samples: Sequence[Sample]) -> ImageBatch:
    """Put originals of different sizes on one canvas, as large as the largest of them."""
    extents = [sample.pixels.shape[:2] for sample in samples]
    height, width = (max(sizes) for sizes in zip(*extents, strict=True))
    canvas = torch.zeros(len(samples), 3, height, width, dtype=torch.uint8)
    for row, sample in zip(canvas.numpy(), samples, strict=True):
        row[:, : sample.pixels.shape[0], : sample.pixels.shape[1]] = sample.pixels.transpose(2, 0, 1)
    return ImageBatch(
        pixels=canvas,
        extents=torch.tensor(extents),
        file_sizes=torch.tensor([sample.file_size for sample in samples]),
        indices=torch.tensor([sample.index for sample in samples]),
        epoch=samples[0].epoch,
        skipped=tuple((skip.index, skip.reason) for sample in samples for skip in sample.skipped),
    )


class SkipLedger:
    """A count of unreadable files, each once, over all epochs and resumed runs, which stops the run over the limit.

    `total`: number of images in the source; `limit`: the share that may fail; `known`: `state()` of an earlier run.
    """

    def __init__(self, total: int, limit: float = SKIP_LIMIT, known: Sequence[Sequence[Any]] = ()) -> None:
        self.total, self.limit = total, limit
        self.reasons: dict[int, str] = {int(index): reason for index, reason in known}

    def add(self, skipped: Sequence[tuple[int, str]]) -> list[str]:
        """Return the sentences about files not known so far, for the log.

        Raises `DataError` once more than `limit` of the images are unreadable; what the log does not have yet is said first.
        """
        new = {index: reason for index, reason in skipped if index not in self.reasons}
        self.reasons |= new
        if len(self.reasons) > self.limit * self.total:
            first = list(self.reasons.values())[:NAMED]
            more = f"; and {len(self.reasons) - NAMED} more, named in the log" if len(self.reasons) > NAMED else ""
            if more:
                for reason in new.values():
                    say(f"skipped {reason}")
            raise DataError(
                f"{len(self.reasons)} of {self.total} images cannot be read, over the limit of {self.limit:.1%}; "
                f"repair or remove them, or raise the limit: {'; '.join(first)}{more}"
            )
        return list(new.values())

    def state(self) -> list[tuple[int, str]]:
        """Return what a resumed run needs to know, as plain values."""
        return list(self.reasons.items())


@dataclass(frozen=True, kw_only=True)
class LabelledSample:
    """Network input of one labelled image, and the unreadable files that were passed over to find it."""

    pixels: Float[Tensor, "3 height width"]
    index: int
    """Place of the image that was read among the records."""
    skipped: tuple[Skipped, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LabelledBatch:
    """Network input of some labelled images."""

    images: Float[Tensor, "batch 3 height width"]
    indices: Int64[Tensor, " batch"]
    """Place of each image among the records: that of its replacement where a file could not be read."""
    skipped: tuple[tuple[int, str], ...] = ()
    """Unreadable files met while making this batch, as `SkipLedger.add` takes them."""

    def pin_memory(self) -> "LabelledBatch":
        """Pin the pixels; torch's loader calls this, and would pass over a class without it."""
        return replace(self, images=self.images.pin_memory())


class LabelledImages(Dataset[Tensor]):
    """Network input by index, for evaluation: exactly the un-augmented `original` of pre-training.

    Here nothing may be skipped, because a ranking with images left out is another benchmark: an unreadable file
    raises `DataError`.
    """

    def __init__(self, records: Sequence[Record], preprocess: Preprocess) -> None:
        self.records, self.preprocess = records, preprocess

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Float[Tensor, "3 height width"]:
        """Decode, resize and normalise one image."""
        try:
            return read_input(self.records[index], self.preprocess)
        except UnreadableImage as error:
            raise DataError(f"cannot read image {error}; repair it, or remove it from the data set") from error


class LabelledTrainingImages(Dataset[LabelledSample]):
    """Network input of labelled images by index, for training.

    An unreadable file is replaced by the next readable image of the same person (around the end of that person's list): a
    decision that depends on the files alone, not on the worker or the batch. The search ends when more files have failed
    than the share `limit` allows; then the sample is a black picture that nobody will train on, because the same failures
    travel in `skipped`, and `SkipLedger.add` stops the run before the step.
    """

    def __init__(self, records: Sequence[Record], preprocess: Preprocess, *, limit: float = SKIP_LIMIT) -> None:
        self.records, self.preprocess = records, preprocess
        self.num_tolerated = int(limit * len(records))
        self.failed: set[int] = set()  # of this worker: bounds the search, changes no outcome
        self.places: dict[int | None, list[int]] = {}
        for index, record in enumerate(records):
            self.places.setdefault(record.person, []).append(index)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> LabelledSample:
        """Decode, resize and normalise image `index`, or the one that replaces it.

        Raises `DataError` where no image of a person can be read.
        """
        person = self.records[index].person
        places = self.places[person]
        start = bisect_left(places, index)
        skipped: list[Skipped] = []
        for candidate in (*places[start:], *places[:start]):
            try:
                pixels = read_input(self.records[candidate], self.preprocess)
            except UnreadableImage as error:
                skipped.append(Skipped(index=candidate, reason=str(error)))
                self.failed.add(candidate)
                if len(self.failed) > self.num_tolerated:
                    black = torch.zeros(3, self.preprocess.height, self.preprocess.width)
                    return LabelledSample(pixels=black, index=index, skipped=tuple(skipped))
            else:
                return LabelledSample(pixels=pixels, index=candidate, skipped=tuple(skipped))
        raise DataError(
            f"none of the {len(places)} training images of person {person} can be read, such as {skipped[0].reason}; "
            f"repair them, or leave this person out of the training set"
        )


def collate_labelled(samples: Sequence[LabelledSample]) -> LabelledBatch:
    """Stack the network input of labelled images."""
    return LabelledBatch(
        images=torch.stack([sample.pixels for sample in samples]),
        indices=torch.tensor([sample.index for sample in samples]),
        skipped=tuple((skip.index, skip.reason) for sample in samples for skip in sample.skipped),
    )


def read_input(record: Record, preprocess: Preprocess) -> Float[Tensor, "3 height width"]:
    """Decode, resize and normalise a labelled image; `UnreadableImage` where it is no picture."""
    pixels, _ = decode_bytes(record.read(), str(record.path), target=preprocess.decoded_for)
    return network_input(pixels, preprocess)


def network_input(
    pixels: UInt8[np.ndarray, "picture_height picture_width 3"], preprocess: Preprocess
) -> Float[Tensor, "3 height width"]:
    """Resize and normalise decoded pixels."""
    canvas = torch.tensor(pixels).permute(2, 0, 1)[None].contiguous()
    size, extents = (preprocess.height, preprocess.width), torch.tensor([pixels.shape[:2]])
    whole = resize_whole(canvas, extents, *size, preprocess.interpolation)
    return normalise(whole, preprocess.mean, preprocess.std)[0]
